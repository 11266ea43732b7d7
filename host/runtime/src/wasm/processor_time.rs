//! How much processor time a call has used.
//!
//! The time of a slice is that of the thread, so a guest is not blamed for a machine that has no processor for it. Which
//! thread runs a guest changes only where the guest waits or yields; there the measurement begins anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The processor time of one call. Reading the clock is a system call, so it is read once a slice, and not by the calls
/// that end before.
#[derive(Default)]
pub(super) struct ProcessorTime {
    used: Duration,
    since: Since,
}

impl ProcessorTime {
    pub(super) fn reset(&mut self) {
        self.used = Duration::ZERO;
        self.since.forget();
    }

    /// Ends a slice in which the guest ran on one thread. Returns what the call has used so far.
    pub(super) fn count(&mut self) -> Duration {
        self.used += self.since.elapsed();
        self.used
    }

    /// Where the next slice begins.
    pub(super) fn since(&self) -> Since {
        self.since.clone()
    }
}

/// The time of the thread at which the slice began, in nanoseconds; 0: not measured.
#[derive(Clone, Default)]
pub(super) struct Since(Arc<AtomicU64>);

impl Since {
    /// A slice begins now, on this thread.
    pub(super) fn begin(&self) {
        self.0.store(of_thread(), Ordering::Relaxed);
    }

    fn forget(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    fn elapsed(&self) -> Duration {
        match self.0.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => Duration::from_nanos(of_thread().saturating_sub(since)),
        }
    }
}

/// The processor time of this thread, in nanoseconds.
#[cfg(unix)]
fn of_thread() -> u64 {
    use rustix::time::{ClockId, clock_gettime};
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let part = |value: i64| u64::try_from(value).unwrap_or_default();
    part(time.tv_sec) * 1_000_000_000 + part(time.tv_nsec)
}

/// The wall time, where there is no such clock.
#[cfg(not(unix))]
fn of_thread() -> u64 {
    static START: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
    u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1)
}
