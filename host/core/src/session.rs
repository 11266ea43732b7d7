//! A session, the time at which it ends, and the alias of a database.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::{Others, Payload, SessionKey};

/// A point in time in microseconds since the Unix epoch, UTC. Every layout keeps the end of a session to the
/// microsecond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(u64);

impl Timestamp {
    /// 9999-12-31 23:59:59.999999, the last instant that Django and every database can hold.
    pub const MAX: Self = Self(253_402_300_799_999_999);

    /// Makes an instant from microseconds since the Unix epoch. Anything later than [`Timestamp::MAX`] becomes
    /// [`Timestamp::MAX`].
    pub fn from_micros(micros: u64) -> Self {
        Self(micros).min(Self::MAX)
    }

    /// Returns the microseconds since the Unix epoch.
    pub fn as_micros(self) -> u64 {
        self.0
    }

    /// The instant that is `after` later than this one, at most [`Timestamp::MAX`].
    pub fn plus(self, after: Duration) -> Self {
        Self::from_micros(self.0.saturating_add(micros(after)))
    }

    /// The instant that is `before` earlier than this one, at the earliest the Unix epoch.
    pub fn minus(self, before: Duration) -> Self {
        Self(self.0.saturating_sub(micros(before)))
    }

    /// The time from `earlier` to this instant; zero if `earlier` is not earlier.
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
    /// Its content.
    pub payload: Payload,
    /// When it ends. The session exists while this is later than now.
    pub expires_at: Timestamp,
    /// The values of the other columns of its row.
    pub others: Others,
}

impl Session {
    /// Makes a session without other columns, as an application does.
    pub fn new(key: SessionKey, payload: Payload, expires_at: Timestamp) -> Self {
        Self { key, payload, expires_at, others: Others::default() }
    }
}

/// The alias of a database, as the operator configured it (`default`): 1 to 64 characters of `a-z A-Z 0-9 _ -`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DatabaseName(Arc<str>);

impl DatabaseName {
    /// Parses an alias.
    pub fn parse(name: &str) -> Result<Self, InvalidDatabaseName> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if (1..=64).contains(&name.len()) && name.bytes().all(allowed) {
            Ok(Self(name.into()))
        } else {
            Err(InvalidDatabaseName { bytes: name.len(), at: name.bytes().position(|byte| !allowed(byte)) })
        }
    }

    /// Returns what may be printed of a text that was meant as an alias: the text if it is an alias. Otherwise it may
    /// be an address that holds a password.
    pub fn shown(name: &str) -> &str {
        if Self::parse(name).is_ok() { name } else { "(no alias)" }
    }

    /// The alias as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// For look-ups in a map of databases by the text that a policy passes.
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

/// Why a text is not the alias of a database. It does not repeat the text, which may be an address that holds a
/// password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidDatabaseName {
    bytes: usize,
    /// The position of the first character that an alias cannot have.
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
