//! One loaded version of a policy, and what it counts.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use switchover_contract::Description;

use super::runner::Runner;
use crate::capabilities::FlagSnapshot;
use crate::imports::PolicyScope;
use crate::version::PolicyVersion;

/// A version that is loaded: ready to run, running, or kept warm.
pub(crate) struct Version {
    pub(crate) id: PolicyVersion,
    pub(crate) description: Description,
    pub(crate) scope: Arc<PolicyScope>,
    pub(crate) runner: Arc<dyn Runner>,
    pub(crate) calls: AtomicU64,
    pub(crate) faults: AtomicU64,
    pub(crate) traps: AtomicU64,
    in_flight: AtomicUsize,
    /// The flags under which it was tried last, and passed.
    tried: Mutex<Option<Arc<FlagSnapshot>>>,
}

impl Version {
    pub(crate) fn new(
        id: PolicyVersion,
        description: Description,
        scope: Arc<PolicyScope>,
        runner: Arc<dyn Runner>,
    ) -> Self {
        Self {
            id,
            description,
            scope,
            runner,
            calls: AtomicU64::new(0),
            faults: AtomicU64::new(0),
            traps: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            tried: Mutex::default(),
        }
    }

    /// Whether it passed its trial under these flags.
    pub(crate) fn was_tried(&self, flags: &FlagSnapshot) -> bool {
        self.tried.lock().unwrap_or_else(PoisonError::into_inner).as_deref() == Some(flags)
    }

    /// Remembers that it did.
    pub(crate) fn passed(&self, flags: &Arc<FlagSnapshot>) {
        *self.tried.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(flags));
    }

    /// Whether calls of the two may run side by side under the same flags: they take the same decisions for the same key.
    pub(crate) fn may_overlap(&self, other: &Self) -> bool {
        self.description.protocol == other.description.protocol
            && self.description.databases == other.description.databases
            && self.scope.settings == other.scope.settings
    }

    /// Counts a call until the guard is dropped.
    pub(crate) fn count_call(&self) -> CallCount<'_> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        CallCount(self)
    }

    pub(crate) fn calls_in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }
}

/// A call that is counted as in flight.
pub(crate) struct CallCount<'a>(&'a Version);

impl Drop for CallCount<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
