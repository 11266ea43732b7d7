//! What the host counts. The counters are only numbers: nothing here can hold a key.

mod calls;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use self::calls::Asked;
use self::calls::Calls;
pub use self::calls::{CallCounts, CallKind, Latencies};

/// Counters of one host, since it was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostCounts {
    /// Operations of the cache that failed or did not answer in time. The calls continued without them.
    pub cache_failures: u64,
    /// Writes whose outcome was not known.
    pub unknown_outcomes: u64,
    /// Repairs after unknown outcomes that succeeded: home and mirrors have the same row again.
    pub repaired: u64,
    /// Repairs after unknown outcomes that were given up: the databases did not answer for too long, or flags changed.
    pub repairs_abandoned: u64,
    /// Copies to best-effort mirrors that failed.
    pub best_effort_failures: u64,
    /// New keys of `cycle_key` that no caller got, because the session was logged out in the meantime, and that could
    /// not be deleted. Each is a row until it expires.
    pub new_keys_left: u64,
    /// Requests of policies that were denied.
    pub denied: u64,
    /// Log lines of policies that exceeded their limit.
    pub log_lines_dropped: u64,
    /// Calls that were refused as overloaded.
    pub overloaded: u64,
    /// Calls of the policy that ended, of every kind. `Switchover::call_counts` has them by kind.
    pub calls: u64,
    /// Calls of the policy that failed.
    pub calls_failed: u64,
    /// Look-ups that found an entry in the cache.
    pub cache_hits: u64,
    /// Look-ups that found no entry. Failed ones count in `cache_failures`.
    pub cache_misses: u64,
    /// Reads that databases were asked for, one for each session and database.
    pub database_reads: u64,
    /// Saves, touches and deletes that databases were asked for. Each counts once, also with several mirrors.
    pub database_writes: u64,
}

macro_rules! counters {
    ($($name:ident: $method:ident),* $(,)?) => {
        #[derive(Debug, Default)]
        /// The counters of one host.
        pub struct Counters { calls: Calls, $($name: AtomicU64),* }

        impl Counters {
            $(
            #[doc = concat!("Adds one to [`HostCounts::", stringify!($name), "`].")]
            pub fn $method(&self) {
                self.$name.fetch_add(1, Ordering::Relaxed);
            })*

            /// The present values of all counters.
            pub fn snapshot(&self) -> HostCounts {
                let by_kind = self.calls.by_kind();
                HostCounts {
                    calls: by_kind.iter().map(|counts| counts.latencies.count()).sum(),
                    calls_failed: by_kind.iter().map(|counts| counts.failed + counts.unknown).sum(),
                    cache_hits: self.calls.sum_asked(Asked::CacheHit),
                    cache_misses: self.calls.sum_asked(Asked::CacheMiss),
                    database_reads: self.calls.sum_asked(Asked::DatabaseRead),
                    database_writes: self.calls.sum_asked(Asked::DatabaseWrite),
                    $($name: self.$name.load(Ordering::Relaxed)),*
                }
            }
        }
    };
}

counters! {
    cache_failures: cache_failed,
    unknown_outcomes: outcome_unknown,
    repaired: repaired,
    repairs_abandoned: repair_abandoned,
    best_effort_failures: best_effort_failed,
    new_keys_left: new_key_left,
    denied: denied,
    log_lines_dropped: log_line_dropped,
    overloaded: overloaded,
}

/// Events that happen in every call, or more often. They are counted on cache lines that threads do not share.
impl Counters {
    /// Counts a call of the policy that ended. `unknown` means that it failed and may have written.
    pub fn call_ended(&self, kind: CallKind, took: Duration, failed: bool, unknown: bool) {
        self.calls.ended(kind, took, failed, unknown);
    }

    /// Counts a question to the cache or to a database.
    pub fn asked(&self, what: Asked) {
        self.calls.asked(what);
    }

    /// The calls by kind.
    pub fn calls(&self) -> [CallCounts; CallKind::ALL.len()] {
        self.calls.by_kind()
    }
}
