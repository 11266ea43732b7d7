//! How long calls took, with separate counts for calls that began around a swap or a change of flags.
//!
//! Calls are sorted by when they began, not by what they overlapped. A slow call overlaps more of everything, so the
//! calls that overlap a swap would look slow even if the swap cost nothing.

use hdrhistogram::Histogram;
use switchover_workload::history::{Action, Micros, Operation};

/// A call belongs to a change if it began at most this long before or after the change. A call that began before may
/// still be under way.
const AROUND_US: Micros = 50_000;
/// The longest latency that is recorded exactly.
const LATENCY_US_MAX: u64 = 60_000_000;
const SIGNIFICANT_DIGITS: u8 = 2;

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A policy was swapped, rolled back or refused.
    Policy,
    /// A flag was set.
    Flags,
}

/// A change, and its time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Changed {
    pub(crate) what: Change,
    pub(crate) from: Micros,
    pub(crate) to: Micros,
}

/// Latencies in microseconds.
pub(crate) struct Latencies {
    /// Calls away from any change.
    pub(crate) otherwise: Histogram<u64>,
    /// Calls around swaps.
    pub(crate) swaps: Histogram<u64>,
    /// Calls around changes of flags. Calls wait for these.
    pub(crate) flags: Histogram<u64>,
}

impl Latencies {
    /// Sorts the calls of a run.
    pub(crate) fn of<'a>(operations: impl Iterator<Item = &'a Operation>, changes: &[Changed]) -> Self {
        let histogram =
            || Histogram::new_with_max(LATENCY_US_MAX, SIGNIFICANT_DIGITS).expect("bounds that a histogram can have");
        let mut latencies = Self { otherwise: histogram(), swaps: histogram(), flags: histogram() };
        for operation in operations {
            // This is the second half of a call whose first half is in the history.
            if matches!(operation.action, Action::CycleFrom(_)) {
                continue;
            }
            let around = |change: &&Changed| {
                (change.from.saturating_sub(AROUND_US)..=change.to + AROUND_US).contains(&operation.invoked)
            };
            let histogram = match changes.iter().find(around).map(|change| change.what) {
                None => &mut latencies.otherwise,
                Some(Change::Policy) => &mut latencies.swaps,
                Some(Change::Flags) => &mut latencies.flags,
            };
            histogram.saturating_record(operation.returned - operation.invoked);
        }
        latencies
    }
}

#[cfg(test)]
mod tests {
    use switchover_workload::history::{HostId, KeyId, Outcome};

    use super::*;

    #[test]
    fn calls_belong_to_the_change_that_they_began_around() {
        let changes = [
            Changed { what: Change::Policy, from: 1_000_000, to: 1_002_000 },
            Changed { what: Change::Flags, from: 2_000_000, to: 2_002_000 },
        ];
        let call = |invoked| Operation {
            key: KeyId(0),
            host: HostId::default(),
            invoked,
            returned: invoked + 10,
            action: Action::Load,
            outcome: Outcome::Absent,
        };
        let calls = [100_000, 951_000, 1_052_000, 1_053_000, 2_001_000].map(call);
        let latencies = Latencies::of(calls.iter(), &changes);
        assert_eq!([latencies.otherwise.len(), latencies.swaps.len(), latencies.flags.len()], [2, 2, 1]);
        assert_eq!(latencies.swaps.max(), 10);
    }
}
