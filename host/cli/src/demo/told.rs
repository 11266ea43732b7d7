//! A run that came to its end, for the audit and the report.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use switchover::HostCounts;
use switchover::migration::Comparison;
use switchover_workload::checker::History;
use switchover_workload::history::{Micros, Operation, Period};
use switchover_workload::table::Table;
use switchover_workload::traffic::Site;

use crate::demo::latency::Changed;

/// What a step of the story took.
pub(crate) struct StepReport {
    pub(crate) title: &'static str,
    pub(crate) policy: String,
    pub(crate) routed_to: String,
    pub(crate) seconds: f64,
    pub(crate) calls: u64,
    pub(crate) failed: u64,
    pub(crate) unknown: u64,
}

/// A run that came to its end, for the audit and the report.
pub(crate) struct Told {
    pub(crate) site: Arc<Site>,
    pub(crate) operations: Vec<Operation>,
    /// What is in the history before this are the sessions that were there, as creates.
    pub(crate) traffic_began: Micros,
    pub(crate) steps: Vec<StepReport>,
    pub(crate) old: Table,
    pub(crate) new: Table,
    /// Between these instants the new database became home: what it was acknowledged before is in the old one too.
    pub(crate) cutover: Period,
    /// When both databases were written, and the old one was still home.
    pub(crate) both_written: Period,
    /// When policies were swapped, rolled back or refused, and flags were set.
    pub(crate) changes: Vec<Changed>,
    pub(crate) swaps: u64,
    pub(crate) flag_changes: u64,
    pub(crate) policies_refused: u64,
    pub(crate) traffic_seconds: f64,
    /// Both databases side by side, when every session had been carried over.
    pub(crate) comparison: Comparison,
    /// Sessions under keys that nobody was told, and that are in one database alone: creates of unknown outcome.
    pub(crate) nameless_rows: u64,
    /// What the host counted of itself.
    pub(crate) counts: HostCounts,
    /// When the traffic had ended and everything was closed.
    pub(crate) ended: Micros,
}

impl Told {
    /// Sessions that there may be in each database under keys that nobody was told: creates of unknown outcome, and new keys that
    /// could not be taken back.
    pub(crate) fn nameless_max(&self) -> u64 {
        self.site.nameless.load(Ordering::Relaxed) + self.counts.new_keys_left
    }

    /// Everything that happened to every session.
    pub(crate) fn take_history(&mut self) -> History {
        History::new(std::mem::take(&mut self.operations))
    }
}
