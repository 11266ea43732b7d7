//! What operators ask for, as JSON: where a migration stands, and how two databases compare. `switchover migrate --json`
//! and the admin API give the same.

use chrono::DateTime;
use serde_json::{Value, json};
use switchover::Timestamp;
use switchover::capabilities::{Clock as _, Epoch, HostRow, JobRow, SystemClock};
use switchover::migration::{
    Comparison, Difference, Finding, Guard, Phase, SHOWN_MAX, Seen, SideStatus, Status, Verdict,
};

/// An instant, to the second.
pub fn utc(at: Timestamp) -> String {
    let at = i64::try_from(at.as_micros()).ok().and_then(DateTime::from_timestamp_micros).unwrap_or_default();
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A phase by its word.
///
/// # Errors
///
/// The phases that there are.
pub fn phase(word: &str) -> Result<Phase, String> {
    let known = Phase::ALL.map(Phase::as_str).join(", ");
    Phase::parse(word).ok_or_else(|| format!("`{word:.32}` is no phase; the phases are {known}"))
}

/// A guard by its word.
///
/// # Errors
///
/// The guards that can be overridden.
pub fn guard(word: &str) -> Result<Guard, String> {
    let soft = || Guard::ALL.into_iter().filter(|guard| !guard.is_hard()).map(Guard::as_str).collect::<Vec<_>>();
    let found = Guard::ALL.into_iter().find(|guard| guard.as_str() == word);
    found.ok_or_else(|| format!("`{word:.32}` is no guard; what can be overridden is {}", soft().join(", ")))
}

/// The guards of a step, with what they say.
pub fn guards(findings: &[Finding]) -> Value {
    let guard = |finding: &Finding| {
        json!({
            "guard": finding.guard.as_str(),
            "hard": finding.guard.is_hard(),
            "blocks": finding.verdict != Verdict::Green,
            "says": finding.to_string(),
        })
    };
    findings.iter().map(guard).collect()
}

/// Whether a step with these guards would be made, if these of them are overridden.
pub fn is_open(findings: &[Finding], overridden: &[Guard]) -> bool {
    let is_passed = |finding: &Finding| !finding.blocks() && overridden.contains(&finding.guard);
    findings.iter().all(|finding| finding.verdict == Verdict::Green || is_passed(finding))
}

/// The hosts of a migration.
pub fn hosts(status: &Status) -> Value {
    json!({
        "ok": status.waits_for.is_empty(),
        "epoch": status.document.epoch.0,
        "hosts": each_host(status),
    })
}

/// How many keys wait for a copy; `null` where a database does not say.
pub fn marks(status: &Status) -> Value {
    let known = |side: &SideStatus| side.marks.as_ref().ok().copied();
    let (old, new) = (known(&status.old), known(&status.new));
    json!({"ok": old.is_some() && new.is_some(), "old": old, "new": new})
}

fn each_host(status: &Status) -> Value {
    let host = |row: &HostRow| {
        json!({
            "host": &*row.member.host,
            "acknowledged": row.acknowledged.0,
            "lease_left_s": row.lease_left.map(|left| left.as_secs_f64()),
            "given_up": row.given_up.map(|epoch| epoch.0),
            "about": row.about,
        })
    };
    status.hosts.iter().map(host).collect()
}

/// Where a migration stands.
pub fn status(status: &Status) -> Value {
    let document = &status.document;
    let epoch = |epoch: Option<Epoch>| epoch.map(|epoch| epoch.0);
    let side = |side: &SideStatus| {
        json!({
            "database": side.summary,
            "fence": side.fence.as_ref().ok().copied().flatten().map(|epoch| epoch.0),
            "marks": side.marks.as_ref().ok(),
            "error": side.fence.as_ref().err().or_else(|| side.marks.as_ref().err()),
        })
    };
    let job = |job: &JobRow| {
        json!({
            "job": job.job,
            "host": &*job.holder.host,
            "runs": job.lease_left.is_some(),
            "epoch": job.epoch.0,
            "done": job.progress.done,
            "total": job.progress.total,
            "note": job.progress.note,
            "began": utc(job.began),
            "reported": utc(job.reported),
        })
    };
    let edges: Vec<_> = status
        .edges
        .iter()
        .map(|edge| match &edge.findings {
            Ok(findings) => json!({"to": edge.to.as_str(), "guards": guards(findings)}),
            Err(error) => json!({"to": edge.to.as_str(), "error": error}),
        })
        .collect();
    let log: Vec<_> = status
        .log
        .iter()
        .map(|logged| {
            json!({
                "at": utc(logged.at),
                "epoch": logged.decision.epoch.0,
                "decision": logged.decision.decision,
                "guards": logged.decision.guards.lines().collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "ok": status.is_sealed() && !status.has_red(),
        "at": utc(SystemClock.now()),
        "migration": &*document.migration,
        "phase": document.phase,
        "profile": document.profile,
        "policy": document.policy,
        "epoch": document.epoch.0,
        "sealed": document.sealed.0,
        "settled": epoch(document.settled),
        "verified": epoch(document.verified),
        "backfilled": epoch(document.backfilled),
        "since": utc(document.since),
        "held": document.held,
        "rate": document.rate,
        "waits_for": status.waits_for,
        "way_back": status.way_back(),
        "old": side(&status.old),
        "new": side(&status.new),
        "hosts": each_host(status),
        "jobs": status.jobs.iter().map(job).collect::<Vec<_>>(),
        "edges": edges,
        "log": log,
    })
}

/// How two databases compare. It names sessions by a hash of their keys.
pub fn comparison(comparison: &Comparison) -> Value {
    let rows = |seen: &Seen| -> Vec<_> {
        seen.shown.iter().map(|row| json!({"session": row.row, "what": row.what})).collect()
    };
    let shown = comparison.different.iter().take(SHOWN_MAX);
    let shown: Vec<_> =
        shown.map(|(key, kind)| json!({"session": key.short_hash(), "difference": kind.as_str()})).collect();
    json!({
        "ok": comparison.is_alike(),
        "old_rows": comparison.old.rows,
        "new_rows": comparison.new.rows,
        "old_expired_rows": comparison.old.expired,
        "new_expired_rows": comparison.new.expired,
        "unreadable": comparison.old.unreadable + comparison.new.unreadable,
        "old_unreadable": comparison.old.unreadable,
        "new_unreadable": comparison.new.unreadable,
        "unreadable_rows": {"old": rows(&comparison.old), "new": rows(&comparison.new)},
        "equal": comparison.equal,
        "gone": comparison.gone,
        "only_old": comparison.count(Difference::OnlyOld),
        "only_new": comparison.count(Difference::OnlyNew),
        "payload_differs": comparison.count(Difference::Payload),
        "expiry_differs": comparison.count(Difference::Expiry),
        "column_differs": comparison.count(Difference::Column),
        "unsettled": comparison.count(Difference::Unsettled),
        "last_only_old_expires_at": comparison.last_only_old.map(utc),
        "differences": shown,
    })
}
