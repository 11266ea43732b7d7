//! Flags: named switches and values that operators set.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

/// All flags at one moment. A call keeps the snapshot that it started with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlagSnapshot {
    values: BTreeMap<String, String>,
}

impl FlagSnapshot {
    /// Whether a flag is on: its value is `true`. A flag that nobody set is off.
    pub fn enabled(&self, name: &str) -> bool {
        self.value(name) == Some("true")
    }

    /// The text of a flag; `None`: nobody set it.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// All names and values, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for FlagSnapshot {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(flags: I) -> Self {
        Self { values: flags.into_iter().map(|(name, value)| (name.into(), value.into())).collect() }
    }
}

/// A source of flags. It has read its first snapshot before it exists: a source that cannot be read at start is an error of its
/// constructor, never "off". One that goes away later leaves the last snapshot.
pub trait Flags: Send + Sync {
    /// The latest snapshot, and every later one. The receiver must not end while the source lives.
    fn subscribe(&self) -> watch::Receiver<Arc<FlagSnapshot>>;

    /// For people: where the flags come from.
    fn summary(&self) -> String;
}

/// Why a source of flags could not be read.
#[derive(Debug)]
pub struct FlagError {
    /// Which source, and what to do.
    pub message: String,
}

impl fmt::Display for FlagError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for FlagError {}
