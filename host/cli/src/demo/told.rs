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
    /// The new database became home between these instants. Writes that were acknowledged before are in the old
    /// database too.
    pub(crate) cutover: Period,
    /// When both databases were written and the old one was still home.
    pub(crate) both_written: Period,
    /// When policies were swapped, rolled back or refused, and flags were set.
    pub(crate) changes: Vec<Changed>,
    pub(crate) swaps: u64,
    pub(crate) flag_changes: u64,
    pub(crate) policies_refused: u64,
    pub(crate) traffic_seconds: f64,
    /// The comparison of both databases after every session was carried over.
    pub(crate) comparison: Comparison,
    /// Sessions that are only in one database, under keys that no caller received: creates of unknown outcome.
    pub(crate) nameless_rows: u64,
    /// The host's own counts.
    pub(crate) counts: HostCounts,
    /// When the traffic had ended and everything was closed.
    pub(crate) ended: Micros,
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
}
