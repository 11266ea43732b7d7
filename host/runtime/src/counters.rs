//! What the host counts. Numbers alone: nothing here can hold a key.

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
    /// Operations of the cache that failed or did not answer in time; the calls went on.
    pub cache_failures: u64,
    /// Writes whose outcome was not known.
    pub unknown_outcomes: u64,
    /// Unknown outcomes after which home and mirrors were brought to the same row again.
    pub repaired: u64,
    /// Unknown outcomes that were given up: the databases did not answer for long, or flags changed.
    pub repairs_abandoned: u64,
    /// Writes to a best-effort mirror that failed.
    pub best_effort_failures: u64,
    /// New keys of `cycle_key` that nobody was told, since somebody logged out meanwhile, and that could not be deleted: each is a row
    /// until it expires.
    pub new_keys_left: u64,
    /// Requests of policies that were denied.
    pub denied: u64,
    /// Log lines of policies that were over their limit.
    pub log_lines_dropped: u64,
    /// Calls that were refused as overloaded.
    pub overloaded: u64,
    /// Calls of the policy that ended, of every kind: `Switchover::call_counts` tells them apart.
    pub calls: u64,
    /// Those of them that failed.
    pub calls_failed: u64,
    /// Look-ups that found an entry in the cache.
    pub cache_hits: u64,
    /// Look-ups that found none. What failed is in `cache_failures`.
    pub cache_misses: u64,
    /// Reads that databases were asked for, one for each session and database.
    pub database_reads: u64,
    /// Saves, touches and deletes that databases were asked for, one for each, however many mirrors it has.
    pub database_writes: u64,
}

macro_rules! counters {
    ($($name:ident: $method:ident),* $(,)?) => {
        #[derive(Debug, Default)]
        /// The counters of one host.
        pub struct Counters { calls: Calls, $($name: AtomicU64),* }

        impl Counters {
            $(
            /// One more of what [`HostCounts`] has under this name.
            pub fn $method(&self) {
                self.$name.fetch_add(1, Ordering::Relaxed);
            })*

            /// All of them as they are now.
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

/// What happens in every call, or oftener: counted where threads are not in each other's way.
impl Counters {
    /// A call of the policy ended; `unknown`: it failed and may have written.
    pub fn call_ended(&self, kind: CallKind, took: Duration, failed: bool, unknown: bool) {
        self.calls.ended(kind, took, failed, unknown);
    }

    /// One more question to the cache or to a database.
    pub fn asked(&self, what: Asked) {
        self.calls.asked(what);
    }

    /// The calls by kind.
    pub fn calls(&self) -> [CallCounts; CallKind::ALL.len()] {
        self.calls.by_kind()
    }
}
