//! Flags that change: tried, then in force once the calls under the old ones have ended.

use std::sync::{Arc, Weak};
use std::time::Duration;

use switchover_core::capabilities::{FlagSnapshot, Flags};
use switchover_runtime::{Change, Gate, SwapError, Version};
use tokio::sync::watch;

use super::Host;

/// How long after a change of flags that did not come about it is tried again.
const FLAGS_RETRY: Duration = Duration::from_secs(1);
const FLAGS_RETRY_MAX: Duration = Duration::from_secs(60);

impl Host {
    pub(super) async fn apply_flags(&self) -> Result<Arc<FlagSnapshot>, SwapError> {
        let latest = || Arc::clone(&self.latest_flags.borrow());
        if *self.slot.flags() != *latest() {
            self.store.repairs_done(self.limits.repair_patience).await;
        }
        self.slot.change_flags(latest, self).await
    }

    /// Before anything that may make another database home: unknown outcomes are settled under the old rules, as far as the
    /// databases answer. What is left is given up when the era ends.
    pub(super) async fn settle_repairs(&self, next: &Version) {
        if !self.slot.version().may_overlap(next) {
            self.store.repairs_done(self.limits.repair_patience).await;
        }
    }
}

impl Change for Host {
    fn drain_wait(&self) -> Duration {
        self.limits.drain_wait
    }

    async fn try_out(&self, version: &Arc<Version>, flags: &Arc<FlagSnapshot>) -> Result<(), SwapError> {
        let tried = self.loader.try_out(version, flags).await;
        if tried.is_err() {
            // The running policy goes on under the flags that it knows.
            version.expect_look_first();
        }
        tried
    }

    fn insists_on_flags(&self, error: SwapError) -> Result<(), SwapError> {
        if !self.insist_on_flags {
            return Err(error);
        }
        tracing::error!(
            "new flags are taken although the running policy fails under them, as this host was told to: {error}"
        );
        Ok(())
    }

    async fn settle(&self, gate: &Gate) {
        self.store.settle_last(gate).await;
    }
}

/// Puts every new snapshot in force, until the host or the source is gone.
pub(super) async fn follow_flags(host: Weak<Host>, mut latest: watch::Receiver<Arc<FlagSnapshot>>) {
    while latest.changed().await.is_ok() {
        let mut pause = FLAGS_RETRY;
        loop {
            let Some(host) = host.upgrade() else { return };
            // The latest is applied, whatever came in between.
            match host.apply_flags().await {
                Ok(_) => break,
                Err(SwapError::Closed) => return,
                Err(error) => tracing::warn!("new flags are not in force yet: {error}"),
            }
            drop(host);
            // Each try closes the gate for a while: ever more rarely.
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(FLAGS_RETRY_MAX);
        }
    }
}

/// No flag is set, for ever.
pub(super) struct NoFlags(watch::Sender<Arc<FlagSnapshot>>);

impl Default for NoFlags {
    fn default() -> Self {
        Self(watch::Sender::new(Arc::default()))
    }
}

impl Flags for NoFlags {
    fn subscribe(&self) -> watch::Receiver<Arc<FlagSnapshot>> {
        self.0.subscribe()
    }

    fn summary(&self) -> String {
        "no flags".to_owned()
    }
}
