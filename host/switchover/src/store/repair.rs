//! Repairs after unknown outcomes: the key is copied again under home's lock as soon as the databases answer.

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use switchover_core::SessionKey;
use switchover_core::sync::Mutex;
use switchover_runtime::limits::{REPAIRS_AT_ONCE_MAX, REPAIRS_PENDING_MAX};
use switchover_runtime::{Gate, Ticket};
use tokio::sync::{Semaphore, watch};

use super::Store;
use super::route::Route;

const BACKOFF_FIRST: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

type Repair = (Route, SessionKey);

/// The keys that wait for their repair.
pub(super) struct Repairs {
    /// How many unknown outcomes each key has had since its repair began. One that comes during a copy needs another
    /// copy.
    pending: Mutex<HashMap<Repair, u64>>,
    count: watch::Sender<usize>,
    /// Raised to try all waiting repairs at once.
    rounds: watch::Sender<u64>,
    at_once: Semaphore,
}

impl Default for Repairs {
    fn default() -> Self {
        let at_once = Semaphore::new(REPAIRS_AT_ONCE_MAX);
        Self { pending: Mutex::default(), count: watch::Sender::new(0), rounds: watch::Sender::new(0), at_once }
    }
}

impl Repairs {
    /// Adds an unknown outcome. Returns whether its key needs a new task.
    fn add(&self, repair: &Repair) -> bool {
        let mut pending = self.pending();
        if let Some(outcomes) = pending.get_mut(repair) {
            *outcomes += 1;
            return false;
        }
        let added = pending.len() < REPAIRS_PENDING_MAX;
        if added {
            pending.insert(repair.clone(), 1);
        }
        self.count.send_replace(pending.len());
        added
    }

    fn outcomes(&self, repair: &Repair) -> u64 {
        self.pending().get(repair).copied().unwrap_or_default()
    }

    fn pending(&self) -> MutexGuard<'_, HashMap<Repair, u64>> {
        self.pending.lock()
    }
}

/// A repair that is under way. It is dropped however its task ends, and then the key is no longer pending.
struct Pending {
    store: Arc<Store>,
    repair: Repair,
}

impl Drop for Pending {
    fn drop(&mut self) {
        let mut pending = self.store.repairs.pending();
        pending.remove(&self.repair);
        self.store.repairs.count.send_replace(pending.len());
    }
}

impl Store {
    /// How many keys wait for their repair.
    pub(crate) fn repairs_pending(&self) -> usize {
        *self.repairs.count.borrow()
    }

    /// Waits until no key waits for its repair, at most `patience`.
    pub(crate) async fn repairs_done(&self, patience: Duration) {
        let mut count = self.repairs.count.subscribe();
        let _some_are_left = tokio::time::timeout(patience, count.wait_for(|count| *count == 0)).await;
    }

    /// Tries all waiting repairs once more, through a gate that is closed and drained. Unknown outcomes also arise
    /// while the gate drains, and once it is retired they cannot be repaired. Takes at most one write deadline, and no
    /// time if no repair waits.
    pub(crate) async fn settle_last(&self, gate: &Gate) {
        if self.repairs_pending() == 0 {
            return;
        }
        gate.let_settle(true);
        self.repairs.rounds.send_modify(|rounds| *rounds += 1);
        self.repairs_done(self.limits.now().write_deadline).await;
        gate.let_settle(false);
    }

    /// Repairs a key in the background, under the flags and the policy of its write. Once these change, another
    /// database may be home, and a copy would overwrite a newer row.
    pub(super) fn repair_later(self: &Arc<Self>, ticket: &Ticket, route: &Route, key: SessionKey) {
        let repair = (route.clone(), key);
        if !self.repairs.add(&repair) {
            return;
        }
        let pending = Pending { store: Arc::clone(self), repair };
        let gate = ticket.gate();
        tokio::spawn(async move {
            if repair_until_done(&pending, &gate).await {
                pending.store.counters.repaired();
            } else {
                pending.store.counters.repair_abandoned();
                let home = &pending.repair.0.home;
                tracing::warn!(%home, "gave up repairing a key after an unknown outcome; its next write settles it");
            }
        });
    }
}

async fn repair_until_done(Pending { store, repair }: &Pending, gate: &Arc<Gate>) -> bool {
    let (route, key) = repair;
    let give_up = Instant::now() + store.limits.now().repair_patience;
    let mut backoff = BACKOFF_FIRST;
    let mut rounds = store.repairs.rounds.subscribe();
    while !gate.is_retired() && Instant::now() < give_up {
        let _a_round_begins = tokio::time::timeout(backoff, rounds.changed()).await;
        backoff = (backoff * 2).min(BACKOFF_MAX);
        let Ok(_turn) = store.repairs.at_once.acquire().await else { return false };
        // The gate is closed for a change that may still fail: try again later.
        let Some(_ticket) = gate.enter_to_settle() else { continue };
        let outcomes = store.repairs.outcomes(repair);
        let copied = store.copy_alone(route.home.as_str(), &route.target(), key.clone()).await.is_ok();
        if copied && store.repairs.outcomes(repair) == outcomes {
            return true;
        }
    }
    false
}
