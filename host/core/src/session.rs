//! The words of a session: its key, its payload, its end. Each is parsed once, at the edge; inside, a wrong one cannot exist.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

/// The shortest key: Django refuses anything below (`SessionBase._validate_session_key`).
pub const KEY_LENGTH_MIN: usize = 8;
/// The longest key: Django's column is `varchar(40)`.
pub const KEY_LENGTH_MAX: usize = 40;
/// The length of a key that the host makes: 32 of 36 characters are 165 bits.
const KEY_LENGTH_NEW: usize = 32;
const KEY_ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// The key of a session: 8 to 40 characters of `a-z` and `0-9`.
///
/// It is a credential: whoever has it is logged in. `Display` and `Debug` print a short hash; [`SessionKey::expose`] gives the key.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionKey(Arc<String>);

impl SessionKey {
    /// Takes a key that came from outside, a cookie for example.
    ///
    /// # Errors
    ///
    /// [`InvalidKey`] if it could not be the key of any session: no database is asked about it then.
    pub fn parse(key: &str) -> Result<Self, InvalidKey> {
        if !(KEY_LENGTH_MIN..=KEY_LENGTH_MAX).contains(&key.len()) {
            return Err(InvalidKey::Length { bytes: key.len() });
        }
        match key.bytes().position(|byte| !(byte.is_ascii_lowercase() || byte.is_ascii_digit())) {
            Some(at) => Err(InvalidKey::Character { at }),
            None => Ok(Self(Arc::new(key.to_owned()))),
        }
    }

    /// A new key of 32 characters from the operating system's random source.
    pub fn random() -> Self {
        let mut key = String::with_capacity(KEY_LENGTH_NEW);
        while key.len() < KEY_LENGTH_NEW {
            let mut bytes = [0_u8; KEY_LENGTH_NEW];
            getrandom::fill(&mut bytes).expect("the operating system's random source answers");
            // 252 is the largest multiple of 36 in a byte: anything above would make some characters likelier.
            let characters = bytes.iter().filter(|byte| **byte < 252).map(|byte| KEY_ALPHABET[usize::from(byte % 36)]);
            key.extend(characters.take(KEY_LENGTH_NEW - key.len()).map(char::from));
        }
        Self(Arc::new(key))
    }

    /// The key itself. Never let it into a log, a metric or an error.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// For the bindings, which take an owned string wherever the contract has an alias of `string`.
    pub fn expose_string(&self) -> &String {
        &self.0
    }

    /// Twelve hexadecimal digits of its SHA-256: enough to compare two reports, useless to log in with.
    pub fn short_hash(&self) -> String {
        short_hash(self.0.as_bytes())
    }
}

/// Of the bytes of a key, also of one that is none.
pub fn short_hash(key: &[u8]) -> String {
    Sha256::digest(key).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionKey({})", self.short_hash())
    }
}

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short_hash())
    }
}

/// Why a text is not a session key. Neither case repeats the text, which may be a credential with a slip of the hand in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidKey {
    /// Not 8 to 40 characters long.
    Length {
        /// Its length in bytes.
        bytes: usize,
    },
    /// A character other than `a-z` and `0-9`.
    Character {
        /// Its place, counted in bytes from 0.
        at: usize,
    },
}

impl fmt::Display for InvalidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { bytes } => {
                write!(
                    f,
                    "a session key has {KEY_LENGTH_MIN} to {KEY_LENGTH_MAX} characters, this one has {bytes} bytes"
                )
            }
            Self::Character { at } => {
                write!(f, "a session key has only the characters a-z and 0-9, this one has another at byte {at}")
            }
        }
    }
}

impl std::error::Error for InvalidKey {}

/// What a session holds: opaque text to Switchover, a signed dictionary to Django.
///
/// It is UTF-8 without NUL, since Django's column is text in every database. Cheap to clone. `Debug` prints its length alone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Payload(Arc<str>);

impl Payload {
    /// Takes a payload.
    ///
    /// # Errors
    ///
    /// [`InvalidPayload`] if it holds a NUL, which PostgreSQL cannot store.
    pub fn parse(text: impl Into<Arc<str>>) -> Result<Self, InvalidPayload> {
        let text = text.into();
        match text.find('\0') {
            Some(at) => Err(InvalidPayload::Nul { at }),
            None => Ok(Self(text)),
        }
    }

    /// A payload that holds a value as JSON.
    ///
    /// ```
    /// # use switchover_core::{InvalidPayload, Payload};
    /// # fn main() -> Result<(), InvalidPayload> {
    /// let payload = Payload::from_json(&("alice", 7))?;
    /// let (user, visits): (String, u32) = payload.to_json()?;
    /// assert_eq!((user.as_str(), visits), ("alice", 7));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidPayload::NotJson`] if the value cannot be JSON: a map whose keys are no texts, for example.
    #[cfg(feature = "serde")]
    pub fn from_json<T: serde::Serialize + ?Sized>(value: &T) -> Result<Self, InvalidPayload> {
        // JSON writes a NUL of a text as an escape.
        serde_json::to_string(value).map_err(|error| not_json(&error)).and_then(Self::parse)
    }

    /// The value of a payload that holds JSON.
    ///
    /// # Errors
    ///
    /// [`InvalidPayload::NotJson`] if it is none, or of another type: one of Django's for example. Neither its content nor a part of it
    /// is in the error.
    #[cfg(feature = "serde")]
    pub fn to_json<T: serde::de::DeserializeOwned>(&self) -> Result<T, InvalidPayload> {
        serde_json::from_str(&self.0).map_err(|error| not_json(&error))
    }

    /// The payload itself. Never let it into a log, a metric or an error.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.len())
    }
}

/// The message of serde may repeat what it found.
#[cfg(feature = "serde")]
fn not_json(error: &serde_json::Error) -> InvalidPayload {
    InvalidPayload::NotJson { line: error.line(), column: error.column() }
}

/// Why a text cannot be a payload, or not the one that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidPayload {
    /// It holds a NUL.
    Nul {
        /// Its place, counted in bytes from 0.
        at: usize,
    },
    /// It is no JSON, or that of another type; of a value that cannot be written as JSON, line and column are 0.
    #[cfg(feature = "serde")]
    NotJson {
        /// The line where reading ended, counted from 1.
        line: usize,
        /// The column, counted in bytes from 1.
        column: usize,
    },
}

impl fmt::Display for InvalidPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nul { at } => {
                write!(f, "a payload is text without NUL, this one has one at byte {at}: encode it first")
            }
            #[cfg(feature = "serde")]
            Self::NotJson { line: 0, .. } => f.write_str("the value cannot be written as JSON"),
            #[cfg(feature = "serde")]
            Self::NotJson { line, column } => {
                write!(f, "the payload is not the JSON that is wanted: reading ended at line {line}, column {column}")
            }
        }
    }
}

impl std::error::Error for InvalidPayload {}

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

/// One session: a row of the table. Immutable, and cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its key.
    pub key: SessionKey,
    /// What it holds.
    pub payload: Payload,
    /// When it ends; it is there while this is later than now.
    pub expires_at: Timestamp,
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

#[cfg(all(test, feature = "serde"))]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn json_goes_in_and_comes_out_and_no_error_repeats_it() {
        let payload = Payload::from_json(&BTreeMap::from([("user", "ali\0ce")])).unwrap();
        assert_eq!(payload.to_json::<BTreeMap<String, String>>().unwrap()["user"], "ali\0ce");

        for text in ["{\"user\":\"secret0word\"}", "secret0word", "{\"user\":\"secret0word", "[\"secret0word\",1]", ""]
        {
            let error = Payload::parse(text).unwrap().to_json::<Vec<u32>>().unwrap_err();
            assert!(matches!(error, InvalidPayload::NotJson { .. }), "{text}");
            assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
        }
        let unwritable = BTreeMap::from([((1, "secret0word"), 2)]);
        let error = Payload::from_json(&unwritable).unwrap_err();
        assert_eq!(error.to_string(), "the value cannot be written as JSON");
    }
}
