//! Sessions and leases of the fakes.

use std::fmt;

use switchover_guest::{Error, ErrorCode, Instant, Result, Session};

use super::text;

/// A session of the fakes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FakeSession {
    pub(super) key: String,
    pub(super) payload: String,
    pub(super) expires_at: Instant,
    pub(super) readable: bool,
}

impl FakeSession {
    /// A session whose payload the policy may not read.
    pub fn new(key: impl Into<String>, payload: impl Into<String>, expires_at: Instant) -> Self {
        Self { key: key.into(), payload: payload.into(), expires_at, readable: false }
    }

    /// The key that it is tied to.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The payload as text, for traces: asks for no grant.
    pub fn text(&self) -> &str {
        &self.payload
    }
}

impl Session for FakeSession {
    fn expires_at(&self) -> Instant {
        self.expires_at
    }

    fn size(&self) -> u32 {
        u32::try_from(self.payload.len()).unwrap_or(u32::MAX)
    }

    fn payload(&self) -> Result<Vec<u8>> {
        if self.readable {
            Ok(self.payload.clone().into_bytes())
        } else {
            Err(Error::new(ErrorCode::Denied, "the policy was not granted `payload`"))
        }
    }
}

/// `expires=+60s payload=v1`
impl fmt::Display for FakeSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expires={} payload={}", text::instant(self.expires_at), self.payload)
    }
}

/// The right to fill one key of the fakes' cache once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FakeLease {
    pub(super) key: String,
    pub(super) number: u64,
}

impl FakeLease {
    /// The lease of a key with this number, for a host that hands out numbers.
    pub fn new(key: impl Into<String>, number: u64) -> Self {
        Self { key: key.into(), number }
    }

    /// Its number; no two leases of the same fakes have the same.
    pub fn number(&self) -> u64 {
        self.number
    }
}
