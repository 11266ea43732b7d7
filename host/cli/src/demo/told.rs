//! A finished run, for the audit and the report.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use switchover::HostCounts;
use switchover::migration::Comparison;
use switchover_workload::checker::History;
use switchover_workload::history::{Micros, Operation, Period};
use switchover_workload::table::Table;
use switchover_workload::traffic::Site;

use crate::demo::latency::Changed;

/// The figures of one step.
pub(crate) struct StepReport {
    pub(crate) title: &'static str,
    pub(crate) policy: String,
    pub(crate) routed_to: String,
    pub(crate) seconds: f64,
    pub(crate) calls: u64,
    pub(crate) failed: u64,
    pub(crate) unknown: u64,
}

/// A finished run, for the audit and the report.
pub(crate) struct Told {
    pub(crate) site: Arc<Site>,
    pub(crate) operations: Vec<Operation>,
    /// Before this instant the history has only the first sessions, as creates.
    pub(crate) traffic_began: Micros,
    pub(crate) steps: Vec<StepReport>,
    pub(crate) old: Table,
    pub(crate) new: Table,
    /// When policies were swapped, rolled back or refused, and flags or phases were changed.
    pub(crate) changes: Vec<Changed>,
    pub(crate) traffic_seconds: f64,
    /// The counts of all hosts together.
    pub(crate) counts: Counts,
    /// When the traffic had ended and everything was closed.
    pub(crate) ended: Micros,
    pub(crate) scheme: Scheme,
}

/// How the sessions were moved, with what only that scheme has.
pub(crate) enum Scheme {
    /// By the flags of 2016.
    Flags(ByFlags),
    /// By the phases of a migration, over a fleet.
    Phases(ByPhases),
}

/// A move by the flags of 2016.
pub(crate) struct ByFlags {
    /// The new database became home between these instants. Writes that were acknowledged before are in the old
    /// database too.
    pub(crate) cutover: Period,
    /// When both databases were written and the old one was still home.
    pub(crate) both_written: Period,
    pub(crate) swaps: u64,
    pub(crate) flag_changes: u64,
    pub(crate) policies_refused: u64,
    /// The comparison of both databases after every session was carried over.
    pub(crate) comparison: Comparison,
    /// Sessions that are only in one database, under keys that no caller received: creates of unknown outcome.
    pub(crate) nameless_rows: u64,
}

/// A move by phases.
#[derive(Default)]
pub(crate) struct ByPhases {
    pub(crate) steps_made: u64,
    pub(crate) steps_back: u64,
    /// Steps that a red guard forbade.
    pub(crate) steps_forbidden: u64,
    pub(crate) rows_copied: u64,
    pub(crate) rows_verified: u64,
    pub(crate) hosts_joined: u64,
    pub(crate) hosts_given_up: u64,
    /// Writes of the old table by a program that was forgotten, which the seal refused.
    pub(crate) writes_refused: u64,
    /// When some hosts read one database and some the other: from before the oldest call under way until the step was
    /// sealed.
    pub(crate) reads_moved: Vec<Period>,
}

/// What the hosts count, together.
#[derive(Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) new_keys_left: u64,
    pub(crate) cache_failures: u64,
    pub(crate) repaired: u64,
    pub(crate) repairs_abandoned: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, host: &HostCounts) {
        self.new_keys_left += host.new_keys_left;
        self.cache_failures += host.cache_failures;
        self.repaired += host.repaired;
        self.repairs_abandoned += host.repairs_abandoned;
    }
}

impl Told {
    /// The most sessions in each database under keys that no caller received: creates of unknown outcome, and new keys
    /// that could not be deleted again.
    pub(crate) fn nameless_max(&self) -> u64 {
        self.site.nameless.load(Ordering::Relaxed) + self.counts.new_keys_left
    }

    /// The history of every session.
    pub(crate) fn take_history(&mut self) -> History {
        History::new(std::mem::take(&mut self.operations))
    }

    /// Rows that differed where both databases had to be alike.
    pub(crate) fn row_differences(&self) -> u64 {
        match &self.scheme {
            Scheme::Flags(flags) => flags.comparison.differences(),
            Scheme::Phases(_) => 0,
        }
    }
}
