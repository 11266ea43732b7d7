//! A host: databases, cache, flags and a policy, built once and shared by all tasks of a service.

mod admission;
mod builder;
mod check;
mod flags;
mod work;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use switchover_contract::Description;
use switchover_core::DatabaseName;
use switchover_core::capabilities::{FlagSnapshot, Flags};
use switchover_runtime::call::Environment;
use switchover_runtime::counters::{CallCounts, CallKind, HostCounts};
use switchover_runtime::{Limits, Loader, Policy, PolicyStatus, PolicyVersion, Slot, SwapError};
use tokio::sync::{Semaphore, watch};

pub(crate) use self::admission::Admitted;
pub use self::builder::Builder;
pub use self::check::DatabaseCheck;
pub(crate) use self::work::to_the_end;
use crate::store::Store;

/// A session store whose policy can be swapped while it runs. Cheap to clone; all clones are one host.
///
/// It needs a multi-threaded tokio runtime. Dropping the last clone lets calls under way end; [`Switchover::close`] waits for them.
#[derive(Clone)]
pub struct Switchover {
    pub(crate) host: Arc<Host>,
}

pub(crate) struct Host {
    pub(crate) store: Arc<Store>,
    environment: Arc<Environment>,
    limits: Limits,
    slot: Slot,
    loader: Loader,
    places: Semaphore,
    waiting: AtomicUsize,
    latest_flags: watch::Receiver<Arc<FlagSnapshot>>,
    insist_on_flags: bool,
    // Keeps the source alive, and with it its watcher.
    _flags: Arc<dyn Flags>,
}

impl Switchover {
    /// A host from code.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Loads a policy, tries it, and takes it into use. Calls under way end under the version they began with.
    ///
    /// Between policies of the same protocol, with the same settings and databases, no call waits. Any other swap lets the calls under
    /// the old policy end first; calls that arrive meanwhile wait. Swaps are made one after another. Costs the compilation of the component, unless it ran
    /// before on this host.
    ///
    /// Cancel safety: dropped before it ends, either version may be running; [`Switchover::policy`] tells which.
    ///
    /// # Errors
    ///
    /// With any error the policy that was running goes on. [`SwapError::Rejected`] says what is wrong with the new one;
    /// [`SwapError::NotDrained`]: calls under the old one did not end in time.
    pub async fn swap_policy(&self, policy: Policy) -> Result<PolicyVersion, SwapError> {
        let next = self.host.loader.load(&policy, self.host.slot.flags()).await?;
        self.host.settle_repairs(&next).await;
        self.host.slot.publish(Arc::clone(&next), &*self.host).await?;
        tracing::info!(policy = %next.id(), "a policy was taken into use");
        Ok(next.id().clone())
    }

    /// Goes back to the previous policy, which was kept warm: nothing is loaded or compiled. If flags have changed since it ran, it is tried
    /// under them first. Twice is there and back.
    ///
    /// # Errors
    ///
    /// [`SwapError::NoPrevious`] before the first swap; else as [`Switchover::swap_policy`].
    pub async fn rollback_policy(&self) -> Result<PolicyVersion, SwapError> {
        if let Some(previous) = self.host.slot.previous() {
            self.host.settle_repairs(&previous).await;
        }
        let version = self.host.slot.roll_back(&*self.host).await?;
        tracing::info!(policy = %version.id(), "rolled back to the previous policy");
        Ok(version.id().clone())
    }

    /// What runs now.
    pub fn policy(&self) -> PolicyStatus {
        let version = self.host.slot.version();
        let previous = self.host.slot.previous();
        PolicyStatus::of(&version, previous.as_deref(), self.host.slot.in_flight())
    }

    /// What the running policy says of itself.
    pub fn description(&self) -> Description {
        self.host.slot.version().description().clone()
    }

    /// The flags in force.
    pub fn flags(&self) -> Arc<FlagSnapshot> {
        self.host.slot.flags()
    }

    /// Waits until the latest snapshot of the flags' source is in force. The host does that by itself soon after each change; this
    /// is for those who want to know when. The running policy is tried under the new flags first.
    ///
    /// # Errors
    ///
    /// With any error the flags that were in force stay, and the host tries again by itself. [`SwapError::Rejected`]: the running policy
    /// fails its trial under the new flags; swap in one that does not, or set the flags back. [`SwapError::NotDrained`]: calls under
    /// the old flags did not end in time.
    pub async fn apply_flags(&self) -> Result<Arc<FlagSnapshot>, SwapError> {
        self.host.apply_flags().await
    }

    /// What this host has counted since it was built.
    pub fn counts(&self) -> HostCounts {
        self.host.store.counters().snapshot()
    }

    /// The calls of the policy by kind, how they ended and how long they took, since this host was built. Cost: some thousand
    /// additions, no lock, and nothing that calls wait for.
    pub fn call_counts(&self) -> [CallCounts; CallKind::ALL.len()] {
        self.host.store.counters().calls()
    }

    /// How many keys wait to be brought to the same row in home and mirrors after an unknown outcome.
    pub fn repairs_pending(&self) -> usize {
        self.host.store.repairs_pending()
    }

    /// The databases, for people.
    pub fn databases(&self) -> Vec<(DatabaseName, String)> {
        self.host.store.databases().map(|(name, database)| (name.clone(), database.summary())).collect()
    }

    /// Settles unknown outcomes, lets no call in any more ([`Error::Closed`](crate::Error::Closed)), waits for those under way, each within `drain_wait`,
    /// and closes the databases.
    pub async fn close(&self) {
        self.host.store.repairs_done(self.host.limits.drain_wait).await;
        if !self.host.slot.close(&*self.host).await {
            tracing::warn!("closed although calls were still under way");
        }
        self.host.store.close().await;
    }
}

impl std::fmt::Debug for Switchover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Switchover").field("policy", &self.policy().version).finish_non_exhaustive()
    }
}
