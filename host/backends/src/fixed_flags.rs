//! Flags that never change.

use std::sync::Arc;

use switchover_core::capabilities::{FlagSnapshot, Flags};
use tokio::sync::watch;

/// Flags that keep their values while the host lives: those of a configuration, or none.
pub struct FixedFlags {
    snapshot: watch::Sender<Arc<FlagSnapshot>>,
    summary: &'static str,
}

impl FixedFlags {
    /// Takes the flags. `summary` says for people where they come from.
    pub fn new<N: Into<String>, V: Into<String>>(
        flags: impl IntoIterator<Item = (N, V)>,
        summary: &'static str,
    ) -> Self {
        let snapshot: FlagSnapshot = flags.into_iter().collect();
        Self { snapshot: watch::Sender::new(Arc::new(snapshot)), summary }
    }

    /// A source in which no flag is set.
    pub fn none() -> Self {
        Self::new::<String, String>([], "no flags")
    }
}

impl Flags for FixedFlags {
    fn subscribe(&self) -> watch::Receiver<Arc<FlagSnapshot>> {
        self.snapshot.subscribe()
    }

    fn summary(&self) -> String {
        self.summary.to_owned()
    }
}
