//! One loaded version of a policy, and its counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use switchover_contract::Description;
use switchover_core::capabilities::FlagSnapshot;
use switchover_core::sync::Mutex;
use tokio::time::Instant;

use crate::call::{Admission, Environment, Freshness, Question};
use crate::error::{Error, PolicyFault};
use crate::run::Linked;
use crate::status::{PolicyStatus, PolicyVersion};

/// A loaded version of a policy. It is ready to run, runs, or is kept warm.
pub struct Version {
    id: PolicyVersion,
    description: Description,
    linked: Linked,
    calls: AtomicU64,
    faults: AtomicU64,
    traps: AtomicU64,
    in_flight: AtomicUsize,
    /// The flags of the last trial that it passed.
    tried: Mutex<Option<Arc<FlagSnapshot>>>,
}

impl Version {
    pub(crate) fn new(id: PolicyVersion, description: Description, linked: Linked) -> Self {
        Self {
            id,
            description,
            linked,
            calls: AtomicU64::new(0),
            faults: AtomicU64::new(0),
            traps: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            tried: Mutex::default(),
        }
    }

    /// The identity of this version.
    pub fn id(&self) -> &PolicyVersion {
        &self.id
    }

    /// The policy's description of itself.
    pub fn description(&self) -> &Description {
        &self.description
    }

    pub(crate) fn linked(&self) -> &Linked {
        &self.linked
    }

    /// Makes one call, which ends by `deadline`. It looks ahead, asks the policy, judges the answer and counts.
    ///
    /// # Errors
    ///
    /// See [`Error`]. An answer that no database has given is the policy's fault.
    pub async fn call<Q: Question>(
        &self,
        question: &Q,
        environment: &Arc<Environment>,
        admission: Admission,
        freshness: Freshness,
        deadline: Instant,
    ) -> Result<Q::Answer, Error> {
        let _counted = self.count_call();
        let mut call = self.linked.call(question, environment, admission, freshness);
        call.look_ahead(question.looked_for()).await;
        let answer = self.linked.ask(question, &Arc::new(call), deadline).await;
        answer.map_err(|refused| {
            if let Some(fault) = refused.fault() {
                self.count_fault(fault);
            }
            refused.of(&self.id)
        })
    }

    /// Forgets what its loads asked for first, because flags have changed or were to change.
    pub fn expect_look_first(&self) {
        self.linked.scope.expect_look_first();
    }

    /// Whether its last passed trial was under these flags.
    pub(crate) fn was_tried(&self, flags: &FlagSnapshot) -> bool {
        self.tried.lock().as_deref() == Some(flags)
    }

    /// Remembers that it passed its trial under these flags.
    pub(crate) fn passed(&self, flags: &Arc<FlagSnapshot>) {
        *self.tried.lock() = Some(Arc::clone(flags));
    }

    /// Whether calls of the two versions may run side by side under the same flags, because they make the same
    /// decisions for the same key.
    pub fn may_overlap(&self, other: &Self) -> bool {
        self.description.protocol == other.description.protocol
            && self.description.databases == other.description.databases
            && self.linked.scope.settings == other.linked.scope.settings
    }

    /// Counts a call until the guard is dropped.
    fn count_call(&self) -> CallCount<'_> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        CallCount(self)
    }

    fn count_fault(&self, fault: &PolicyFault) {
        self.faults.fetch_add(1, Ordering::Relaxed);
        if matches!(fault, PolicyFault::Trap { .. } | PolicyFault::CpuTime | PolicyFault::HostCalls) {
            self.traps.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl PolicyStatus {
    /// The status of a host with this running version, this previous one, and this much in flight.
    pub fn of(version: &Version, previous: Option<&Version>, in_flight: usize) -> Self {
        Self {
            version: version.id().clone(),
            previous: previous.map(|previous| previous.id().clone()),
            in_flight,
            calls_in_flight: version.in_flight.load(Ordering::Relaxed),
            calls: version.calls.load(Ordering::Relaxed),
            faults: version.faults.load(Ordering::Relaxed),
            traps: version.traps.load(Ordering::Relaxed),
        }
    }
}

/// A call that is counted as in flight.
struct CallCount<'a>(&'a Version);

impl Drop for CallCount<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
