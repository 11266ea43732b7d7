//! Metrics of the hosts of this process, for the recorder that the service installs with the facade of the crate
//! `metrics`. Without a recorder they cost next to nothing.
//!
//! A task of each host publishes once a second what the host has counted since, so no call pays for a metric. Hosts of
//! one process are added up. No label has values that a user or a session decides.

mod names;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};

pub use self::names::{ALL, Kind, Metric};

/// Tells the recorder what each metric means. A host does this when it is built; call it if the recorder is installed
/// later.
pub fn describe() {
    ALL.iter().for_each(Metric::describe);
}

impl Metric {
    /// Tells the recorder what it means.
    pub fn describe(&self) {
        let Self { name, kind, what, .. } = self;
        match kind {
            Kind::Counter => describe_counter!(*name, *what),
            Kind::Gauge => describe_gauge!(*name, *what),
            Kind::Seconds => describe_histogram!(*name, Unit::Seconds, *what),
        }
    }
}

/// How a change of the policy ended.
pub(crate) fn policy_changed(result: &'static str) {
    counter!("switchover_policy_changes_total", "result" => result).increment(1);
}

/// This host does a job of the migration, or no longer.
pub(crate) fn job_held(job: &'static str, held: bool) {
    gauge!("switchover_migration_job_held", "kind" => job).set(f64::from(u8::from(held)));
}

/// A job of this host has done so many rows.
pub(crate) fn job_rows(job: &'static str, rows: u64) {
    counter!("switchover_migration_job_rows_total", "kind" => job).increment(rows);
}
