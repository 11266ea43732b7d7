//! Counts calls by kind, outcome and time, and what they asked for, on cache lines that threads do not share.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// A thread counts in the shard of its number modulo this. There are as many shards as a host has busy cores. Together
/// they take 20 KiB.
const SHARDS: usize = 16;

/// A kind of call of the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CallKind {
    /// `Sessions::load`, and the first call of `cycle_key`.
    Load,
    /// `Sessions::create`, once for each key that was tried, and the second call of `cycle_key`.
    Create,
    /// `Sessions::save`.
    Save,
    /// `Sessions::touch`.
    Touch,
    /// `Sessions::delete`, and the last call of `cycle_key`.
    Delete,
    /// `Sessions::exists`.
    Exists,
    /// `Sessions::clear_expired`.
    ClearExpired,
    /// A question to the `Router`.
    Route,
}

impl CallKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Load,
        Self::Create,
        Self::Save,
        Self::Touch,
        Self::Delete,
        Self::Exists,
        Self::ClearExpired,
        Self::Route,
    ];

    /// The kind as a word, for the label of a metric.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Create => "create",
            Self::Save => "save",
            Self::Touch => "touch",
            Self::Delete => "delete",
            Self::Exists => "exists",
            Self::ClearExpired => "clear-expired",
            Self::Route => "route",
        }
    }
}

/// How the calls of one kind ended, since the host was built. It does not count a call that was refused before it
/// began, nor a load that ended because its caller went away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallCounts {
    /// The kind of call.
    pub kind: CallKind,
    /// Calls that returned an answer.
    pub answered: u64,
    /// Calls that failed and wrote nothing.
    pub failed: u64,
    /// Calls that failed and may have written.
    pub unknown: u64,
    /// How long all these calls took, from their admission to their answer.
    pub latencies: Latencies,
}

/// How long calls took, in buckets of fixed bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latencies {
    buckets: [u64; Self::BOUNDS.len() + 1],
    total_ns: u64,
}

impl Latencies {
    /// The longest time of each bucket. One more bucket holds the calls that took longer.
    pub const BOUNDS: [Duration; 15] = [
        Duration::from_micros(50),
        Duration::from_micros(100),
        Duration::from_micros(250),
        Duration::from_micros(500),
        Duration::from_millis(1),
        Duration::from_micros(2_500),
        Duration::from_millis(5),
        Duration::from_millis(10),
        Duration::from_millis(25),
        Duration::from_millis(50),
        Duration::from_millis(100),
        Duration::from_millis(250),
        Duration::from_millis(500),
        Duration::from_secs(1),
        Duration::from_millis(2_500),
    ];

    /// Each bucket's bound and number of calls. The last bucket has no bound, `None`.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<Duration>, u64)> {
        let bounds = Self::BOUNDS.into_iter().map(Some).chain([None]);
        bounds.zip(self.buckets)
    }

    /// The number of calls.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The time of all calls together.
    pub fn total(&self) -> Duration {
        Duration::from_nanos(self.total_ns)
    }

    /// A time that this share of the calls, 0.99 for example, did not exceed. It is the bound of a bucket. `None` if
    /// there was no call, or if the time is beyond the last bound.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let wanted = (self.count() as f64 * share.clamp(0.0, 1.0)).ceil().max(1.0);
        let mut seen = 0;
        let found = self.buckets().find(|(_, calls)| {
            seen += calls;
            seen as f64 >= wanted
        });
        found.and_then(|(bound, _)| bound)
    }
}

const BOUNDS_NS: [u64; Latencies::BOUNDS.len()] = {
    let mut bounds = [0; Latencies::BOUNDS.len()];
    let mut at = 0;
    while at < bounds.len() {
        bounds[at] = nanos(Latencies::BOUNDS[at]);
        at += 1;
    }
    bounds
};

/// Times beyond 584 years become the largest number.
const fn nanos(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1_000_000_000).saturating_add(time.subsec_nanos() as u64)
}

/// An event that may happen several times in a call.
#[derive(Clone, Copy)]
pub enum Asked {
    /// A look-up that found an entry.
    CacheHit,
    /// A look-up that found no entry.
    CacheMiss,
    /// A read of one session in one database.
    DatabaseRead,
    /// A write of one session.
    DatabaseWrite,
}

#[derive(Default)]
pub(super) struct Calls([Shard; SHARDS]);

/// The counts of one thread, or of a few. Aligned to 128 bytes, because processors fetch two cache lines of 64 at a
/// time.
#[derive(Default)]
#[repr(align(128))]
struct Shard {
    kinds: [Kind; CallKind::ALL.len()],
    asked: [AtomicU64; 4],
}

#[derive(Default)]
struct Kind {
    buckets: [AtomicU64; Latencies::BOUNDS.len() + 1],
    total_ns: AtomicU64,
    failed: AtomicU64,
    unknown: AtomicU64,
}

impl Calls {
    pub(super) fn ended(&self, kind: CallKind, took: Duration, failed: bool, unknown: bool) {
        let cells = &self.mine().kinds[kind as usize];
        let took = nanos(took);
        // This compares all bounds at once, without a branch.
        let bucket: usize = BOUNDS_NS.iter().map(|bound| usize::from(*bound < took)).sum();
        add(&cells.buckets[bucket], 1);
        add(&cells.total_ns, took);
        if unknown {
            add(&cells.unknown, 1);
        } else if failed {
            add(&cells.failed, 1);
        }
    }

    pub(super) fn asked(&self, what: Asked) {
        add(&self.mine().asked[what as usize], 1);
    }

    pub(super) fn sum_asked(&self, what: Asked) -> u64 {
        self.0.iter().map(|shard| read(&shard.asked[what as usize])).sum()
    }

    pub(super) fn by_kind(&self) -> [CallCounts; CallKind::ALL.len()] {
        CallKind::ALL.map(|kind| {
            let (mut latencies, mut failed, mut unknown) = (Latencies::default(), 0, 0);
            for cells in self.0.iter().map(|shard| &shard.kinds[kind as usize]) {
                for (sum, bucket) in latencies.buckets.iter_mut().zip(&cells.buckets) {
                    *sum += read(bucket);
                }
                latencies.total_ns = latencies.total_ns.saturating_add(read(&cells.total_ns));
                failed += read(&cells.failed);
                unknown += read(&cells.unknown);
            }
            // The counts change while they are read, so the sum and its parts may differ by a call.
            let answered = latencies.count().saturating_sub(failed + unknown);
            CallCounts { kind, answered, failed, unknown, latencies }
        })
    }

    fn mine(&self) -> &Shard {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static NUMBER: usize = THREADS.fetch_add(1, Ordering::Relaxed);
        }
        // A thread whose locals are already destroyed counts in the first shard.
        &self.0[NUMBER.try_with(|number| *number).unwrap_or(0) % SHARDS]
    }
}

impl std::fmt::Debug for Calls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.by_kind()).finish()
    }
}

fn add(cell: &AtomicU64, more: u64) {
    cell.fetch_add(more, Ordering::Relaxed);
}

fn read(cell: &AtomicU64) -> u64 {
    cell.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_threads_count_by_themselves_is_summed_up() {
        let calls = Calls::default();
        std::thread::scope(|scope| {
            for _ in 0..40 {
                scope.spawn(|| {
                    calls.ended(CallKind::Load, Duration::from_micros(50), false, false);
                    calls.ended(CallKind::Load, Duration::from_micros(51), true, false);
                    calls.ended(CallKind::Save, Duration::from_secs(9), true, true);
                    calls.asked(Asked::CacheHit);
                });
            }
        });
        let by_kind = calls.by_kind();
        let (load, save) = (by_kind[CallKind::Load as usize], by_kind[CallKind::Save as usize]);
        assert_eq!((load.kind, load.answered, load.failed, load.unknown), (CallKind::Load, 40, 40, 0));
        assert_eq!(load.latencies.buckets().take(2).map(|(_, calls)| calls).collect::<Vec<_>>(), [40, 40]);
        assert_eq!(load.latencies.total(), Duration::from_micros(101 * 40));
        assert_eq!((save.answered, save.failed, save.unknown), (0, 0, 40));
        assert_eq!((calls.sum_asked(Asked::CacheHit), calls.sum_asked(Asked::CacheMiss)), (40, 0));
    }

    #[test]
    fn quantile_is_the_bound_of_its_bucket() {
        let calls = Calls::default();
        let latencies = || calls.by_kind()[0].latencies;
        assert_eq!(latencies().quantile(0.5), None);
        for _ in 0..99 {
            calls.ended(CallKind::Load, Duration::from_micros(60), false, false);
        }
        calls.ended(CallKind::Load, Duration::from_secs(3), false, false);
        let quantiles = [0.0, 0.5, 0.99, 1.0].map(|share| latencies().quantile(share));
        let bound = Some(Duration::from_micros(100));
        assert_eq!(quantiles, [bound, bound, bound, None], "the last bucket has no bound");
        assert!(Latencies::BOUNDS.is_sorted());
    }
}
