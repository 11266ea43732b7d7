//! The clocks of hosts in this process, which may go wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use switchover::Timestamp;
use switchover::capabilities::{Clock, SystemClock};

/// A clock that may be ahead of the machine's.
#[derive(Clone, Default)]
pub(crate) struct HostClock(Arc<AtomicU64>);

impl HostClock {
    /// Jumps ahead by so much; 0: back to the right time.
    ///
    /// A clock that is late serves ended sessions from the cache for as long as it is late: docs/warnings.md.
    pub(crate) fn jump(&self, ahead_us: u32) {
        self.0.store(u64::from(ahead_us), Ordering::SeqCst);
    }
}

impl Clock for HostClock {
    fn now(&self) -> Timestamp {
        let ahead = self.0.load(Ordering::SeqCst);
        Timestamp::from_micros(SystemClock.now().as_micros() + ahead)
    }
}
