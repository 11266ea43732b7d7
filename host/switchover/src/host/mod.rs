//! A host: databases, cache, flags and a policy, built once and shared by all tasks of a service.

mod admission;
mod builder;
mod carried;
mod check;
mod chores;
mod epochs;
mod flags;
mod joined;
#[cfg(feature = "metrics")]
mod published;
mod readiness;
mod work;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use switchover_contract::Description;
use switchover_core::DatabaseName;
use switchover_core::capabilities::{FlagSnapshot, Flags};
use switchover_runtime::call::Environment;
use switchover_runtime::counters::{CallCounts, CallKind, HostCounts};
use switchover_runtime::{
    Limits, LimitsInForce, Loader, Policy, PolicyStatus, PolicyVersion, Slot, SwapError, Version,
};
use tokio::sync::{Semaphore, watch};

pub(crate) use self::admission::Admitted;
pub use self::builder::Builder;
use self::carried::ensure_carried;
pub use self::check::DatabaseCheck;
use self::epochs::Membership;
pub use self::readiness::{EpochsOfHost, Readiness};
pub(crate) use self::work::to_the_end;
use crate::error::FixedLimit;
use crate::migration::Controller;
use crate::store::Store;
use crate::trace::ChangeSpan;

/// A session store whose policy can be swapped while it runs. Cheap to clone; all clones are one host.
///
/// It needs a multi-threaded tokio runtime. When the last clone is dropped, calls under way still run to their end;
/// [`Switchover::close`] waits for them.
#[derive(Clone)]
pub struct Switchover {
    pub(crate) host: Arc<Host>,
}

pub(crate) struct Host {
    pub(crate) store: Arc<Store>,
    environment: Arc<Environment>,
    limits: LimitsInForce,
    slot: Slot,
    loader: Loader,
    places: Semaphore,
    waiting: AtomicUsize,
    latest_flags: watch::Receiver<Arc<FlagSnapshot>>,
    insist_on_flags: bool,
    /// The part that it takes in a migration.
    pub(crate) membership: Option<Arc<Membership>>,
    // Keeps the source and its watcher alive.
    _flags: Arc<dyn Flags>,
}

impl Switchover {
    /// A builder for a host.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Loads a policy, tries it, and takes it into use. Calls under way end under the version they began with.
    ///
    /// Between policies of the same protocol, with the same settings and databases, no call waits. Any other swap waits
    /// for the calls under the old policy to end, and calls that arrive in the meantime wait. Swaps are made one after
    /// another.
    ///
    /// Cost: the component is compiled, unless it is among the last four that this host compiled.
    ///
    /// Cancel safety: if the future is dropped before it ends, either version may be running; [`Switchover::policy`]
    /// shows which.
    ///
    /// # Errors
    ///
    /// After an error the policy that was running continues. [`SwapError::Rejected`] says what is wrong with the new
    /// one. [`SwapError::NotDrained`] means that calls under the old one did not end in time.
    /// [`SwapError::InMigration`]: the control document names the policy, for the whole fleet.
    pub async fn swap_policy(&self, policy: Policy) -> Result<PolicyVersion, SwapError> {
        let span = ChangeSpan::begin("swap");
        let swapped = span.around(pin!(self.host.swap(&policy))).await;
        self.host.changed(&span, &swapped);
        #[cfg(feature = "metrics")]
        crate::metrics::policy_changed(if swapped.is_ok() { "swapped" } else { "refused" });
        swapped
    }

    /// Goes back to the previous policy. It was kept warm, so nothing is loaded or compiled. If flags have changed
    /// since it ran, it is tried under them first. A second call goes forward again.
    ///
    /// # Errors
    ///
    /// [`SwapError::NoPrevious`] before the first swap; otherwise as for [`Switchover::swap_policy`].
    pub async fn rollback_policy(&self) -> Result<PolicyVersion, SwapError> {
        let span = ChangeSpan::begin("roll-back");
        let rolled_back = span.around(pin!(self.host.roll_back())).await;
        self.host.changed(&span, &rolled_back);
        #[cfg(feature = "metrics")]
        crate::metrics::policy_changed(if rolled_back.is_ok() { "rolled-back" } else { "refused" });
        rolled_back
    }

    /// Loads a policy and tries it under the flags in force, as [`Switchover::swap_policy`] would, and takes it into use
    /// nowhere. Returns what it says of itself. A component that is swapped in soon after is not compiled again.
    ///
    /// # Errors
    ///
    /// [`SwapError::Rejected`] says what is wrong with it.
    pub async fn try_policy(&self, policy: &Policy) -> Result<(PolicyVersion, Description), SwapError> {
        let tried = self.host.load(policy).await?;
        Ok((tried.id().clone(), tried.description().clone()))
    }

    /// The operator's end of the migration that this host takes part in, on the host's own connections; `None` without a
    /// migration. `by` says in the log who decides.
    pub fn controller(&self, by: impl Into<String>) -> Option<Controller> {
        self.host.controller(by.into())
    }

    /// Which policy runs now, and its counts.
    pub fn policy(&self) -> PolicyStatus {
        let version = self.host.slot.version();
        let previous = self.host.slot.previous();
        PolicyStatus::of(&version, previous.as_deref(), self.host.slot.in_flight())
    }

    /// The running policy's description of itself.
    pub fn description(&self) -> Description {
        self.host.slot.version().description().clone()
    }

    /// The limits in force.
    pub fn limits(&self) -> Arc<Limits> {
        self.host.limits.snapshot()
    }

    /// Puts other limits in force, for what begins from now on: a call that is under way ends under the limits that it
    /// began with, and an entry of the cache keeps its age. No call waits.
    ///
    /// # Errors
    ///
    /// [`FixedLimit`] names a limit that cannot change while the host runs. The old limits stay, all of them.
    pub fn change_limits(&self, limits: Limits) -> Result<(), FixedLimit> {
        FixedLimit::ensure_same(&self.host.limits.now(), &limits, self.host.membership.is_some())?;
        self.host.limits.change(limits);
        tracing::info!("other limits are in force");
        Ok(())
    }

    /// The flags in force.
    pub fn flags(&self) -> Arc<FlagSnapshot> {
        self.host.slot.flags()
    }

    /// Puts the latest snapshot of the flags' source in force, and returns when it is. The host does this by itself
    /// soon after each change; call this to know when it has happened. The running policy is tried under the new flags
    /// first.
    ///
    /// # Errors
    ///
    /// After an error the flags that were in force stay, and the host tries again by itself. [`SwapError::Rejected`]
    /// means that the running policy fails its trial under the new flags: swap in one that passes, or set the flags
    /// back. [`SwapError::NotDrained`] means that calls under the old flags did not end in time.
    pub async fn apply_flags(&self) -> Result<Arc<FlagSnapshot>, SwapError> {
        self.host.apply_flags().await
    }

    /// The counters of this host since it was built.
    pub fn counts(&self) -> HostCounts {
        self.host.store.counters().snapshot()
    }

    /// The calls of the policy by kind since this host was built: how they ended and how long they took. Cost: some
    /// thousand additions. It takes no lock, and no call waits for it.
    pub fn call_counts(&self) -> [CallCounts; CallKind::ALL.len()] {
        self.host.store.counters().calls()
    }

    /// How many keys wait for their repair after an unknown outcome. A repair brings home and mirrors to the same row.
    pub fn repairs_pending(&self) -> usize {
        self.host.store.repairs_pending()
    }

    /// The alias of each database, with a description for people.
    pub fn databases(&self) -> Vec<(DatabaseName, String)> {
        self.host.store.databases().map(|(name, database)| (name.clone(), database.summary())).collect()
    }

    /// Closes the host. In a migration it also removes its row from the control tables, so that no barrier waits for
    /// it. It waits for repairs, stops admitting calls (they fail with
    /// [`Error::Closed`](crate::Error::Closed)), waits for the calls under way, and closes the databases. Each wait
    /// takes at most `drain_wait`, and a last round of repairs at most `write_deadline`.
    pub async fn close(&self) {
        self.host.store.repairs_done(self.host.limits.now().drain_wait).await;
        let drained = self.host.slot.close(&*self.host).await;
        if !drained {
            tracing::warn!("closed although calls were still under way");
        }
        if let Some(membership) = &self.host.membership {
            if drained {
                membership.leave().await;
            }
            membership.migration.control.close().await;
        }
        self.host.store.close().await;
    }
}

impl Host {
    async fn swap(&self, policy: &Policy) -> Result<PolicyVersion, SwapError> {
        self.ensure_no_migration()?;
        let next = self.load(policy).await?;
        self.settle_repairs(&next).await;
        self.slot.publish(Arc::clone(&next), self).await?;
        tracing::info!(policy = %next.id(), "a policy was taken into use");
        Ok(next.id().clone())
    }

    async fn load(&self, policy: &Policy) -> Result<Arc<Version>, SwapError> {
        let loaded = self.loader.load(policy, self.slot.flags()).await?;
        ensure_carried(&self.store, policy, loaded.description(), self.limits.now().read_deadline).await?;
        Ok(loaded)
    }

    async fn roll_back(&self) -> Result<PolicyVersion, SwapError> {
        self.ensure_no_migration()?;
        if let Some(previous) = self.slot.previous() {
            self.settle_repairs(&previous).await;
        }
        let version = self.slot.roll_back(self).await?;
        tracing::info!(policy = %version.id(), "rolled back to the previous policy");
        Ok(version.id().clone())
    }

    fn changed(&self, span: &ChangeSpan, change: &Result<PolicyVersion, SwapError>) {
        if let Ok(version) = change {
            span.made(version, &self.slot.flags(), None);
        }
    }

    fn ensure_no_migration(&self) -> Result<(), SwapError> {
        match &self.membership {
            None => Ok(()),
            Some(membership) => Err(SwapError::InMigration { migration: membership.member.migration.to_string() }),
        }
    }
}

impl std::fmt::Debug for Switchover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Switchover").field("policy", &self.policy().version).finish_non_exhaustive()
    }
}
