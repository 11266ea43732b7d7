//! The slot that holds the running policy: how it is swapped, and what may overlap.
//!
//! An era is one snapshot of flags with policies that may overlap: policies of one protocol, with the same settings and
//! databases. Within an era a swap is one pointer store. Between eras nothing overlaps: the old era closes, its calls
//! and writes end, the new era opens. Calls that arrive in between wait. Otherwise a call that began with a flag off
//! could write one database after another call wrote both, and the next read would find the older row.
//!
//! In a migration each epoch is an era, and two of them may overlap: the databases themselves keep the calls of two
//! neighbouring epochs apart. The next era opens first, then the last one is drained.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use switchover_core::capabilities::{Fence, FlagSnapshot};
use switchover_core::sync::Mutex;
use tokio::sync::watch;

use crate::call::Admission;
use crate::error::SwapError;
use crate::gate::Gate;
use crate::version::Version;

/// One snapshot of flags with policies that may overlap.
struct Era {
    flags: Arc<FlagSnapshot>,
    policy: ArcSwap<Version>,
    gate: Arc<Gate>,
    fence: Option<Fence>,
}

impl Era {
    fn new(flags: Arc<FlagSnapshot>, policy: Arc<Version>, fence: Option<Fence>) -> Arc<Self> {
        Arc::new(Self { flags, policy: ArcSwap::new(policy), gate: Gate::open(), fence })
    }
}

/// What an admitted call runs under, from its start to its end.
#[derive(Clone)]
pub struct Entry {
    /// The call's ticket and flags.
    pub admission: Admission,
    /// The policy that answers the call.
    pub version: Arc<Version>,
}

/// The running policy and flags of one host.
pub struct Slot {
    era: ArcSwap<Era>,
    /// The gates of earlier epochs in which something may still run.
    earlier: Mutex<Vec<Arc<Gate>>>,
    previous: Mutex<Option<Arc<Version>>>,
    /// Held by a change, so that only one runs at a time.
    changing: tokio::sync::Mutex<()>,
    opened: watch::Sender<u64>,
    closed: AtomicBool,
    /// How many idle instances a replaced version keeps, so that going back to it is instant.
    warm_instances: usize,
}

impl Slot {
    /// A slot whose first era has these flags, this policy and this epoch.
    pub fn new(flags: Arc<FlagSnapshot>, policy: Arc<Version>, fence: Option<Fence>, warm_instances: usize) -> Self {
        Self {
            era: ArcSwap::new(Era::new(flags, policy, fence)),
            earlier: Mutex::default(),
            previous: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
            opened: watch::Sender::new(0),
            closed: AtomicBool::new(false),
            warm_instances,
        }
    }

    /// Admits a call at once. `None` while a change is under way, or after the slot was closed.
    pub fn try_enter(&self) -> Option<Entry> {
        let era = self.era.load();
        let ticket = era.gate.enter()?;
        let admission = Admission { ticket, flags: Arc::clone(&era.flags), fence: era.fence.clone() };
        Some(Entry { admission, version: era.policy.load_full() })
    }

    /// Admits a call as soon as no change is under way. `None` if the slot was closed.
    pub async fn enter(&self) -> Option<Entry> {
        let mut opened = self.opened.subscribe();
        loop {
            opened.mark_unchanged();
            if self.is_closed() {
                return None;
            }
            if let Some(entry) = self.try_enter() {
                return Some(entry);
            }
            opened.changed().await.ok()?;
        }
    }

    /// Whether the host was closed.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// The running version.
    pub fn version(&self) -> Arc<Version> {
        self.era.load().policy.load_full()
    }

    /// The version that a roll-back goes to.
    pub fn previous(&self) -> Option<Arc<Version>> {
        self.previous.lock().clone()
    }

    /// The flags in force.
    pub fn flags(&self) -> Arc<FlagSnapshot> {
        Arc::clone(&self.era.load().flags)
    }

    /// Calls and writes under way in this era.
    pub fn in_flight(&self) -> usize {
        self.era.load().gate.in_flight()
    }

    /// The epoch of new calls; `None` if the host takes part in no migration.
    pub fn fence(&self) -> Option<Fence> {
        self.era.load().fence.clone()
    }

    /// Begins the next epoch of a migration. New calls run under it at once; those of earlier epochs go on. Then
    /// [`Slot::earlier_ended`] waits for these.
    pub async fn open_next(
        &self,
        flags: Arc<FlagSnapshot>,
        policy: Arc<Version>,
        fence: Fence,
        change: &impl Change,
    ) -> Result<(), SwapError> {
        let _one = self.changing.lock().await;
        change.try_out(&policy, &flags).await?;
        if self.is_closed() {
            return Err(SwapError::Closed);
        }
        policy.expect_look_first();
        policy.linked().runner.keep_idle(usize::MAX);
        let running = self.version();
        if !Arc::ptr_eq(&running, &policy) {
            running.linked().runner.keep_idle(self.warm_instances);
            *self.previous.lock() = Some(running);
        }
        // The new era is there before the gate of the last one closes, so a call that finds a closed gate finds an open
        // one next.
        let last = self.era.swap(Era::new(flags, policy, Some(fence)));
        self.earlier.lock().push(Arc::clone(&last.gate));
        last.gate.close();
        last.gate.retire();
        self.opened.send_modify(|eras| *eras += 1);
        Ok(())
    }

    /// Waits until nothing of an earlier epoch runs any more. Returns `false` if something still does after `wait`.
    pub async fn earlier_ended(&self, wait: Duration) -> bool {
        let gates = self.earlier.lock().clone();
        let drained = async {
            for gate in &gates {
                gate.drain(Duration::MAX).await;
            }
        };
        if tokio::time::timeout(wait, drained).await.is_err() {
            return false;
        }
        self.earlier.lock().retain(|gate| !gates.iter().any(|ended| Arc::ptr_eq(gate, ended)));
        true
    }

    /// How much of earlier epochs runs yet.
    pub fn earlier_in_flight(&self) -> usize {
        self.earlier.lock().iter().map(|gate| gate.in_flight()).sum()
    }

    /// Publishes a policy. If it may overlap with the running one, this happens at once. Otherwise the calls under the
    /// old policy end first.
    pub async fn publish(&self, next: Arc<Version>, change: &impl Change) -> Result<(), SwapError> {
        let _one = self.changing.lock().await;
        self.publish_alone(next, change).await
    }

    /// Publishes the previous policy.
    pub async fn roll_back(&self, change: &impl Change) -> Result<Arc<Version>, SwapError> {
        let _one = self.changing.lock().await;
        let previous = self.previous().ok_or(SwapError::NoPrevious)?;
        self.publish_alone(Arc::clone(&previous), change).await?;
        Ok(previous)
    }

    /// Puts the latest flags in force, after the running policy was tried under them and the calls under the old flags
    /// have ended. `latest` is called when it is this change's turn, because a change that waited must not put older
    /// flags in force again.
    pub async fn change_flags(
        &self,
        latest: impl Fn() -> Arc<FlagSnapshot>,
        change: &impl Change,
    ) -> Result<Arc<FlagSnapshot>, SwapError> {
        let _one = self.changing.lock().await;
        let latest = latest();
        if *self.flags() != *latest {
            let running = self.version();
            let tried = change.try_out(&running, &latest).await;
            tried.or_else(|error| change.insists_on_flags(error))?;
            self.next_era(Arc::clone(&latest), running, change).await?;
        }
        Ok(latest)
    }

    /// Stops admitting calls and waits for those already admitted. Returns whether all of them have ended.
    pub async fn close(&self, change: &impl Change) -> bool {
        let _one = self.changing.lock().await;
        self.closed.store(true, Ordering::SeqCst);
        let era = self.era.load_full();
        era.gate.close();
        self.opened.send_modify(|eras| *eras += 1);
        let drained = era.gate.drain(change.drain_wait()).await && self.earlier_ended(change.drain_wait()).await;
        if drained {
            change.settle(&era.gate).await;
        }
        era.gate.retire();
        drained && era.gate.drain(change.drain_wait()).await
    }

    async fn publish_alone(&self, next: Arc<Version>, change: &impl Change) -> Result<(), SwapError> {
        // The flags may have changed since the policy was loaded and tried.
        change.try_out(&next, &self.flags()).await?;
        let running = self.version();
        if running.may_overlap(&next) {
            if self.is_closed() {
                return Err(SwapError::Closed);
            }
            next.expect_look_first();
            self.era.load().policy.store(Arc::clone(&next));
        } else {
            self.next_era(self.flags(), Arc::clone(&next), change).await?;
        }
        next.linked().runner.keep_idle(usize::MAX);
        running.linked().runner.keep_idle(self.warm_instances);
        *self.previous.lock() = Some(running);
        Ok(())
    }

    async fn next_era(
        &self,
        flags: Arc<FlagSnapshot>,
        policy: Arc<Version>,
        change: &impl Change,
    ) -> Result<(), SwapError> {
        if self.is_closed() {
            return Err(SwapError::Closed);
        }
        let closing = Closing { slot: self, era: self.era.load_full() };
        let gate = &closing.era.gate;
        gate.close();
        let drained = || async {
            let drained = gate.drain(change.drain_wait()).await;
            if drained { Ok(()) } else { Err(SwapError::NotDrained { in_flight: gate.in_flight() }) }
        };
        drained().await?;
        change.settle(gate).await;
        // Repairs may have entered while calls could not, so wait for these too.
        drained().await?;
        gate.retire();
        // Under other flags a policy may ask in another order.
        policy.expect_look_first();
        self.era.store(Era::new(flags, policy, closing.era.fence.clone()));
        Ok(())
    }
}

/// What a change needs from the host around the slot.
pub trait Change: Sync {
    /// How long the change waits for earlier calls to end.
    fn drain_wait(&self) -> Duration;

    /// Tries a version under flags, unless its last passed trial was under the same flags.
    fn try_out(
        &self,
        version: &Arc<Version>,
        flags: &Arc<FlagSnapshot>,
    ) -> impl Future<Output = Result<(), SwapError>> + Send;

    /// Called when the running policy fails its trial under new flags. `Ok` if the flags come into force nevertheless;
    /// otherwise `error`.
    fn insists_on_flags(&self, error: SwapError) -> Result<(), SwapError>;

    /// Settles unknown outcomes of an era whose calls have ended.
    fn settle(&self, gate: &Gate) -> impl Future<Output = ()> + Send;
}

/// A change that has closed the gate. Dropping it admits calls again, under the new era or the old one. This happens
/// however the change ends, also when its future is dropped.
struct Closing<'a> {
    slot: &'a Slot,
    era: Arc<Era>,
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        if Arc::ptr_eq(&self.era, &self.slot.era.load()) {
            self.era.gate.let_settle(false);
            self.era.gate.reopen();
        }
        self.slot.opened.send_modify(|eras| *eras += 1);
    }
}
