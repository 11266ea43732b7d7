//! Flags: named switches and values that operators set.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

/// All flags at one moment. A call uses one snapshot from its start to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlagSnapshot {
    values: BTreeMap<String, String>,
}

impl FlagSnapshot {
    /// Whether a flag is on, that is, whether its value is `true`. A flag that nobody has set is off.
    pub fn enabled(&self, name: &str) -> bool {
        self.value(name) == Some("true")
    }

    /// The text of a flag; `None` if nobody has set it.
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

/// A source of flags. Its constructor reads the first snapshot. So if the source cannot be read at the start, the
/// constructor fails; the flags are never taken as "off". If the source becomes unreadable later, the last snapshot
/// stays in force.
pub trait Flags: Send + Sync {
    /// Returns a receiver of the latest snapshot and of every later one. The channel must stay open while the source
    /// lives.
    fn subscribe(&self) -> watch::Receiver<Arc<FlagSnapshot>>;

    /// Names the source of the flags for people.
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
