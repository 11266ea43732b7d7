//! The payload of a session: bytes that only the application understands.

use std::fmt;
use std::sync::Arc;

/// The payload of a session. For Switchover it is opaque bytes; for Django it is a signed dictionary as text.
///
/// A table may not take every payload: its [`Layout`](crate::Layout) says which. The layout `django` takes text in
/// UTF-8 without NUL.
///
/// Cheap to clone. `Debug` prints only its length.
///
/// ```
/// # use switchover_core::Payload;
/// let text = Payload::from("{\"user\":7}");
/// assert_eq!(text.as_text(), Some("{\"user\":7}"));
/// let bytes = Payload::from(vec![0x81, 0, 0xff]);
/// assert_eq!((bytes.as_text(), bytes.len()), (None, 3));
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Payload(Arc<[u8]>);

impl Payload {
    /// A payload that holds a value as JSON.
    ///
    /// ```
    /// # use switchover_core::{NotJson, Payload};
    /// # fn main() -> Result<(), NotJson> {
    /// let payload = Payload::from_json(&("alice", 7))?;
    /// let (user, visits): (String, u32) = payload.to_json()?;
    /// assert_eq!((user.as_str(), visits), ("alice", 7));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`NotJson`] if the value cannot be JSON: a map whose keys are not texts, for example.
    #[cfg(feature = "serde")]
    pub fn from_json<T: serde::Serialize + ?Sized>(value: &T) -> Result<Self, NotJson> {
        // JSON escapes a NUL in a text, so every layout takes the payload.
        serde_json::to_string(value).map(Self::from).map_err(NotJson::of)
    }

    /// Reads the value from a payload that holds JSON.
    ///
    /// # Errors
    ///
    /// [`NotJson`] if the payload is not JSON, or not JSON of this type, as a payload written by Django for example.
    /// The error contains no part of the payload.
    #[cfg(feature = "serde")]
    pub fn to_json<T: serde::de::DeserializeOwned>(&self) -> Result<T, NotJson> {
        serde_json::from_slice(&self.0).map_err(NotJson::of)
    }

    /// Returns the payload itself. Never let it into a log, a metric or an error.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Returns the payload itself as text; `None` if it is not UTF-8. Never let it into a log, a metric or an error.
    pub fn as_text(&self) -> Option<&str> {
        str::from_utf8(&self.0).ok()
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

impl From<&[u8]> for Payload {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<&str> for Payload {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().into())
    }
}

impl From<String> for Payload {
    fn from(text: String) -> Self {
        Self(text.into_bytes().into())
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.len())
    }
}

/// Why a payload is not the expected JSON. It has the position at which reading stopped. If a value cannot be written
/// as JSON, line and column are 0.
#[cfg(feature = "serde")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotJson {
    /// The line, counted from 1.
    pub line: usize,
    /// The column, counted in bytes from 1.
    pub column: usize,
}

#[cfg(feature = "serde")]
impl NotJson {
    /// The message of serde may repeat what it found: only the place is kept.
    #[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
    fn of(error: serde_json::Error) -> Self {
        Self { line: error.line(), column: error.column() }
    }
}

#[cfg(feature = "serde")]
impl fmt::Display for NotJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { line: 0, .. } => f.write_str("the value cannot be written as JSON"),
            Self { line, column } => {
                write!(f, "the payload is not the JSON that is wanted: reading ended at line {line}, column {column}")
            }
        }
    }
}

#[cfg(feature = "serde")]
impl std::error::Error for NotJson {}

#[cfg(all(test, feature = "serde"))]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn json_goes_in_and_comes_out_and_no_error_repeats_it() {
        let payload = Payload::from_json(&BTreeMap::from([("user", "ali\0ce")])).unwrap();
        assert_eq!(payload.to_json::<BTreeMap<String, String>>().unwrap()["user"], "ali\0ce");
        assert!(!payload.expose().contains(&0));

        for text in ["{\"user\":\"secret0word\"}", "secret0word", "{\"user\":\"secret0word", "[\"secret0word\",1]", ""]
        {
            let error = Payload::from(text).to_json::<Vec<u32>>().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
        }
        let unwritable = BTreeMap::from([((1, "secret0word"), 2)]);
        let error = Payload::from_json(&unwritable).unwrap_err();
        assert_eq!(error.to_string(), "the value cannot be written as JSON");
    }
}
