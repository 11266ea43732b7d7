//! Every metric, by its name.

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Rises and falls.
    Gauge,
    /// A distribution of times, in seconds.
    Seconds,
}

/// A metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its labels, each with every value that it takes.
    pub labels: &'static [(&'static str, &'static [&'static str])],
    /// What it says.
    pub what: &'static str,
}

const CALLS: &[&str] = &["load", "create", "save", "touch", "delete", "exists", "clear-expired", "route"];
const JOBS: &[&str] = &["worker", "backfill", "verifier"];

/// Every metric of a host.
pub const ALL: &[Metric] = &[
    Metric {
        name: "switchover_calls_total",
        kind: Kind::Counter,
        labels: &[("call", CALLS), ("outcome", &["answered", "failed", "unknown"])],
        what: "Calls of the policy that ended. `failed` wrote nothing; `unknown` may have written.",
    },
    Metric {
        name: "switchover_call_duration_seconds",
        kind: Kind::Seconds,
        labels: &[("call", CALLS)],
        what: "How long calls took, from their admission to their answer. Each counts as the upper bound of one of 16 buckets.",
    },
    Metric {
        name: "switchover_calls_refused_total",
        kind: Kind::Counter,
        labels: &[],
        what: "Calls that were refused as overloaded.",
    },
    Metric { name: "switchover_calls_in_flight", kind: Kind::Gauge, labels: &[], what: "Calls under way." },
    Metric {
        name: "switchover_cache_lookups_total",
        kind: Kind::Counter,
        labels: &[("result", &["hit", "miss"])],
        what: "Look-ups in the cache that were answered.",
    },
    Metric {
        name: "switchover_cache_failures_total",
        kind: Kind::Counter,
        labels: &[],
        what: "Operations of the cache that failed or did not answer in time. The calls went on without them.",
    },
    Metric {
        name: "switchover_database_operations_total",
        kind: Kind::Counter,
        labels: &[("kind", &["read", "write"])],
        what: "Reads, and saves, touches and deletes, that databases were asked for.",
    },
    Metric {
        name: "switchover_mirror_failures_total",
        kind: Kind::Counter,
        labels: &[],
        what: "Copies to best-effort mirrors that failed.",
    },
    Metric {
        name: "switchover_unknown_outcomes_total",
        kind: Kind::Counter,
        labels: &[],
        what: "Writes whose outcome was not known.",
    },
    Metric {
        name: "switchover_repairs_total",
        kind: Kind::Counter,
        labels: &[("result", &["repaired", "abandoned"])],
        what: "Repairs after unknown outcomes that ended.",
    },
    Metric {
        name: "switchover_repairs_pending",
        kind: Kind::Gauge,
        labels: &[],
        what: "Keys that wait for their repair.",
    },
    Metric {
        name: "switchover_new_keys_left_total",
        kind: Kind::Counter,
        labels: &[],
        what: "New keys of `cycle_key` that no caller got and that could not be deleted.",
    },
    Metric {
        name: "switchover_policy_changes_total",
        kind: Kind::Counter,
        labels: &[("result", &["swapped", "rolled-back", "refused"])],
        what: "Changes of the policy, by how they ended.",
    },
    Metric {
        name: "switchover_policy_faults",
        kind: Kind::Gauge,
        labels: &[],
        what: "Faults of the policy that runs, such as traps, since it was taken into use.",
    },
    Metric {
        name: "switchover_policy_denied_total",
        kind: Kind::Counter,
        labels: &[],
        what: "Requests of policies that were denied.",
    },
    Metric {
        name: "switchover_policy_log_lines_dropped_total",
        kind: Kind::Counter,
        labels: &[],
        what: "Log lines of policies beyond their limit.",
    },
    Metric {
        name: "switchover_ready",
        kind: Kind::Gauge,
        labels: &[],
        what: "1 if the host is open and, in a migration, has acknowledged the epoch in force.",
    },
    Metric {
        name: "switchover_migration_phase",
        kind: Kind::Gauge,
        labels: &[("phase", &["off", "invalidate", "mirror", "strict", "cutover", "reverse", "complete"])],
        what: "1 for the phase in force as far as this host has read, 0 for the others.",
    },
    Metric {
        name: "switchover_migration_epoch",
        kind: Kind::Gauge,
        labels: &[("epoch", &["in-force", "loaded", "acknowledged", "sealed"])],
        what: "Epochs of the migration: in force, of this host's new calls, acknowledged by this host, sealed.",
    },
    Metric {
        name: "switchover_migration_document_age_seconds",
        kind: Kind::Gauge,
        labels: &[],
        what: "How long ago this host read the control document.",
    },
    Metric {
        name: "switchover_migration_job_held",
        kind: Kind::Gauge,
        labels: &[("kind", JOBS)],
        what: "1 if this host does the job.",
    },
    Metric {
        name: "switchover_migration_job_rows_total",
        kind: Kind::Counter,
        labels: &[("kind", JOBS)],
        what: "Rows that a job of this host has copied or compared.",
    },
];
