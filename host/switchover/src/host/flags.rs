//! Changes of flags. New flags are tried, and come into force once the calls under the old flags have ended.

use std::sync::{Arc, Weak};
use std::time::Duration;

use switchover_core::capabilities::FlagSnapshot;
use switchover_runtime::{Change, Gate, SwapError, Version};
use tokio::sync::watch;

use super::Host;

/// The first pause after a failed change of flags, before it is tried again.
const FLAGS_RETRY: Duration = Duration::from_secs(1);
/// The longest pause: each one is twice as long as the pause before.
const FLAGS_RETRY_MAX: Duration = Duration::from_secs(60);

impl Host {
    pub(super) async fn apply_flags(&self) -> Result<Arc<FlagSnapshot>, SwapError> {
        if self.membership.is_some() {
            // They come with an epoch.
            return Ok(self.slot.flags());
        }
        let latest = || Arc::clone(&self.latest_flags.borrow());
        if *self.slot.flags() != *latest() {
            self.store.repairs_done(self.limits.now().repair_patience).await;
        }
        self.slot.change_flags(latest, self).await
    }

    /// Waits for repairs before a change that may make another database home, so that unknown outcomes are settled
    /// under the old rules if the databases answer. Repairs that are left are given up when the era ends.
    pub(super) async fn settle_repairs(&self, next: &Version) {
        if !self.slot.version().may_overlap(next) {
            self.store.repairs_done(self.limits.now().repair_patience).await;
        }
    }
}

impl Change for Host {
    fn drain_wait(&self) -> Duration {
        self.limits.now().drain_wait
    }

    async fn try_out(&self, version: &Arc<Version>, flags: &Arc<FlagSnapshot>) -> Result<(), SwapError> {
        let tried = self.loader.try_out(version, flags).await;
        if tried.is_err() {
            // The running policy continues under the flags in force, and its loads are looked up in advance again.
            version.expect_look_first();
        }
        tried
    }

    fn insists_on_flags(&self, error: SwapError) -> Result<(), SwapError> {
        if !self.insist_on_flags {
            return Err(error);
        }
        tracing::error!(
            "new flags come into force although the running policy fails under them (`insist` is set): {error}"
        );
        Ok(())
    }

    async fn settle(&self, gate: &Gate) {
        self.store.settle_last(gate).await;
    }
}

/// Puts new snapshots in force until the host or the source is gone.
pub(super) async fn follow_flags(host: Weak<Host>, mut latest: watch::Receiver<Arc<FlagSnapshot>>) {
    while latest.changed().await.is_ok() {
        let mut pause = FLAGS_RETRY;
        loop {
            let Some(host) = host.upgrade() else { return };
            // This applies the latest snapshot and skips those in between.
            match host.apply_flags().await {
                Ok(_) => break,
                Err(SwapError::Closed) => return,
                Err(error) => tracing::warn!("new flags are not in force yet: {error}"),
            }
            drop(host);
            // Each try closes the gate for a while, so the pauses grow.
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(FLAGS_RETRY_MAX);
        }
    }
}
