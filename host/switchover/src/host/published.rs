//! Publishes once a second what a host has counted, for [`crate::metrics`].

use std::sync::{Arc, Weak};
use std::time::Duration;

use metrics::{counter, gauge, histogram};
use switchover_runtime::counters::{CallCounts, CallKind, HostCounts, Latencies};

use super::{Host, Switchover};
use crate::migration::Phase;

/// How often a host publishes.
const EACH: Duration = Duration::from_secs(1);

/// Starts the task that publishes. It ends when the host is gone or closed.
pub(super) fn start(host: &Arc<Host>) {
    crate::metrics::describe();
    tokio::spawn(publish_each(Arc::downgrade(host)));
}

async fn publish_each(host: Weak<Host>) {
    let mut last = Counted::default();
    loop {
        tokio::time::sleep(EACH).await;
        let Some(host) = host.upgrade().map(|host| Switchover { host }) else { return };
        let now = Counted { counts: host.counts(), calls: Some(host.call_counts()) };
        now.publish_since(&last);
        last = now;
        publish_state(&host);
        if host.host.slot.is_closed() {
            return;
        }
    }
}

/// What a host has counted.
#[derive(Default)]
struct Counted {
    counts: HostCounts,
    calls: Option<[CallCounts; CallKind::ALL.len()]>,
}

impl Counted {
    fn publish_since(&self, last: &Self) {
        let since = |of: fn(&HostCounts) -> u64| of(&self.counts).saturating_sub(of(&last.counts));
        counter!("switchover_cache_lookups_total", "result" => "hit").increment(since(|counts| counts.cache_hits));
        counter!("switchover_cache_lookups_total", "result" => "miss").increment(since(|counts| counts.cache_misses));
        counter!("switchover_cache_failures_total").increment(since(|counts| counts.cache_failures));
        counter!("switchover_database_operations_total", "kind" => "read")
            .increment(since(|counts| counts.database_reads));
        counter!("switchover_database_operations_total", "kind" => "write")
            .increment(since(|counts| counts.database_writes));
        counter!("switchover_mirror_failures_total").increment(since(|counts| counts.best_effort_failures));
        counter!("switchover_unknown_outcomes_total").increment(since(|counts| counts.unknown_outcomes));
        counter!("switchover_repairs_total", "result" => "repaired").increment(since(|counts| counts.repaired));
        counter!("switchover_repairs_total", "result" => "abandoned")
            .increment(since(|counts| counts.repairs_abandoned));
        counter!("switchover_new_keys_left_total").increment(since(|counts| counts.new_keys_left));
        counter!("switchover_calls_refused_total").increment(since(|counts| counts.overloaded));
        counter!("switchover_policy_denied_total").increment(since(|counts| counts.denied));
        counter!("switchover_policy_log_lines_dropped_total").increment(since(|counts| counts.log_lines_dropped));
        for (at, now) in self.calls.iter().flatten().enumerate() {
            publish_calls(now, last.calls.as_ref().map(|calls| &calls[at]));
        }
    }
}

fn publish_calls(now: &CallCounts, last: Option<&CallCounts>) {
    let call = now.kind.as_str();
    let ended = |counts: &CallCounts| [counts.answered, counts.failed, counts.unknown];
    let ended_before = last.map_or([0; 3], ended);
    for ((outcome, now), before) in ["answered", "failed", "unknown"].into_iter().zip(ended(now)).zip(ended_before) {
        counter!("switchover_calls_total", "call" => call, "outcome" => outcome).increment(now.saturating_sub(before));
    }
    let durations = histogram!("switchover_call_duration_seconds", "call" => call);
    let none = Latencies::default();
    let before = last.map_or(&none, |last| &last.latencies);
    let mut longest = Duration::ZERO;
    for ((bound, calls), (_, calls_before)) in now.latencies.buckets().zip(before.buckets()) {
        longest = bound.unwrap_or(longest * 2);
        let since = calls.saturating_sub(calls_before);
        if since > 0 {
            durations.record_many(longest.as_secs_f64(), usize::try_from(since).unwrap_or(usize::MAX));
        }
    }
}

/// What is so at this moment.
fn publish_state(host: &Switchover) {
    let readiness = host.readiness();
    gauge!("switchover_ready").set(f64::from(u8::from(readiness.is_ready())));
    gauge!("switchover_repairs_pending").set(host.repairs_pending() as f64);
    let policy = host.policy();
    gauge!("switchover_calls_in_flight").set(policy.in_flight as f64);
    gauge!("switchover_policy_faults").set(policy.faults as f64);
    let Some(membership) = &host.host.membership else { return };
    let (document, asked_at) = {
        let place = membership.place();
        let place = place.borrow();
        (Arc::clone(&place.document), place.asked_at)
    };
    for phase in Phase::ALL {
        let is_in_force = phase.as_str() == document.phase;
        gauge!("switchover_migration_phase", "phase" => phase.as_str()).set(f64::from(u8::from(is_in_force)));
    }
    if let Some(epochs) = readiness.epochs {
        let epochs = [
            ("in-force", epochs.in_force),
            ("loaded", epochs.loaded),
            ("acknowledged", epochs.acknowledged),
            ("sealed", document.sealed),
        ];
        for (what, epoch) in epochs {
            gauge!("switchover_migration_epoch", "epoch" => what).set(epoch.0 as f64);
        }
    }
    gauge!("switchover_migration_document_age_seconds").set(asked_at.elapsed().as_secs_f64());
}
