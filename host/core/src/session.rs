//! A session, the instant when it ends, and the alias of a database.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::{Others, Payload, SessionKey};

/// A point in time in microseconds since the Unix epoch, UTC: the precision of Django's column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(u64);

impl Timestamp {
    /// 9999-12-31 23:59:59.999999, the last instant that Django and every database can hold.
    pub const MAX: Self = Self(253_402_300_799_999_999);

    /// From microseconds since the Unix epoch; anything later than [`Timestamp::MAX`] becomes that.
    pub fn from_micros(micros: u64) -> Self {
        Self(micros).min(Self::MAX)
    }

    /// Microseconds since the Unix epoch.
    pub fn as_micros(self) -> u64 {
        self.0
    }

    /// The time `after` from this one.
    pub fn plus(self, after: Duration) -> Self {
        Self::from_micros(self.0.saturating_add(micros(after)))
    }

    /// The time `before` this one, at the earliest the Unix epoch.
    pub fn minus(self, before: Duration) -> Self {
        Self(self.0.saturating_sub(micros(before)))
    }

    /// How long from `earlier` to this one; zero if it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        Self::from_micros(micros(time.duration_since(UNIX_EPOCH).unwrap_or_default()))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// One session: a row of the table. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its key.
    pub key: SessionKey,
    /// What it holds.
    pub payload: Payload,
    /// When it ends; it is there while this is later than now.
    pub expires_at: Timestamp,
    /// What stands in the other columns of its row.
    pub others: Others,
}

impl Session {
    /// A session without other columns: as an application makes it.
    pub fn new(key: SessionKey, payload: Payload, expires_at: Timestamp) -> Self {
        Self { key, payload, expires_at, others: Others::default() }
    }
}

/// The alias of a database, as the operator configured it (`default`): 1 to 64 characters of `a-z A-Z 0-9 _ -`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DatabaseName(Arc<str>);

impl DatabaseName {
    /// Takes an alias.
    ///
    /// # Errors
    ///
    /// [`InvalidDatabaseName`] if it is empty, longer than 64 characters, or has other characters.
    pub fn parse(name: &str) -> Result<Self, InvalidDatabaseName> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if (1..=64).contains(&name.len()) && name.bytes().all(allowed) {
            Ok(Self(name.into()))
        } else {
            Err(InvalidDatabaseName { bytes: name.len(), at: name.bytes().position(|byte| !allowed(byte)) })
        }
    }

    /// What may be told of a text that was to be an alias: an address in its place may hold a password.
    pub fn shown(name: &str) -> &str {
        if Self::parse(name).is_ok() { name } else { "(no alias)" }
    }

    /// The alias as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// So that a map of databases is asked by the text that a policy gives.
impl Borrow<str> for DatabaseName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DatabaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is not the alias of a database. It does not repeat the text: an address in its place may hold a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidDatabaseName {
    bytes: usize,
    /// Where the first character stands that no alias has.
    at: Option<usize>,
}

impl fmt::Display for InvalidDatabaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the alias of a database has 1 to 64 characters of a-z, A-Z, 0-9, _ and -, ")?;
        match self.at {
            Some(at) => write!(f, "this one has another at byte {at}"),
            None => write!(f, "this one has {} bytes", self.bytes),
        }
    }
}

impl std::error::Error for InvalidDatabaseName {}
