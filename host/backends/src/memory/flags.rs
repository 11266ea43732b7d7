//! Flags that the program itself sets.

use std::sync::Arc;

use switchover_core::capabilities::{FlagSnapshot, Flags};
use tokio::sync::watch;

/// Flags set from code: `FlagSwitch::new([("migration_flag", "false")])`. A flag is on if its value is `true`.
///
/// Cheap to clone: all clones are one source.
#[derive(Clone, Debug)]
pub struct FlagSwitch {
    snapshot: Arc<watch::Sender<Arc<FlagSnapshot>>>,
}

impl FlagSwitch {
    /// A source that starts with these flags.
    pub fn new<N: Into<String>, V: Into<String>>(flags: impl IntoIterator<Item = (N, V)>) -> Self {
        let snapshot: FlagSnapshot = flags.into_iter().collect();
        Self { snapshot: Arc::new(watch::Sender::new(Arc::new(snapshot))) }
    }

    /// Sets one flag; the others keep their values.
    pub fn set(&self, name: impl Into<String>, value: impl Into<String>) {
        self.set_all([(name, value)]);
    }

    /// Sets several flags in one snapshot, so that nobody sees some of them without the others. The flags that are not
    /// named keep their values.
    pub fn set_all<N: Into<String>, V: Into<String>>(&self, flags: impl IntoIterator<Item = (N, V)>) {
        let flags: FlagSnapshot = flags.into_iter().collect();
        self.snapshot.send_modify(|snapshot| *snapshot = Arc::new(snapshot.iter().chain(flags.iter()).collect()));
    }
}

impl Flags for FlagSwitch {
    fn subscribe(&self) -> watch::Receiver<Arc<FlagSnapshot>> {
        self.snapshot.subscribe()
    }

    fn summary(&self) -> String {
        "flags set by the program".to_owned()
    }
}
