//! What the host counts. Numbers alone: nothing here can hold a key.

use std::sync::atomic::{AtomicU64, Ordering};

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
}

macro_rules! counters {
    ($($name:ident: $method:ident),* $(,)?) => {
        #[derive(Debug, Default)]
        pub(crate) struct Counters { $($name: AtomicU64),* }

        impl Counters {
            $(pub(crate) fn $method(&self) {
                self.$name.fetch_add(1, Ordering::Relaxed);
            })*

            pub(crate) fn snapshot(&self) -> HostCounts {
                HostCounts { $($name: self.$name.load(Ordering::Relaxed)),* }
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
