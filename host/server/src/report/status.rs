//! Where a migration stands.

use serde::Serialize;
use switchover::capabilities::{Clock as _, Epoch, HostRow, JobRow, LoggedDecision, SystemClock};
use switchover::migration::{EdgeStatus, SideStatus, Status};
use utoipa::ToSchema;

use super::{GuardShown, findings, utc};

/// Where a migration stands.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Status)]
pub struct StatusShown {
    /// Whether the epoch is sealed, and no guard stops a step forwards.
    ok: bool,
    /// When it was asked for.
    at: String,
    /// The name of the migration.
    migration: String,
    /// The phase in force.
    phase: String,
    /// How idle sessions get into the new database.
    profile: String,
    /// The policy that answers.
    policy: String,
    /// The epoch in force.
    epoch: u64,
    /// The last epoch that is sealed.
    sealed: u64,
    /// The epoch in which `mirror` was settled.
    settled: Option<u64>,
    /// The settled epoch for which a verification was whole.
    verified: Option<u64>,
    /// The epoch in which the backfill reached the last key.
    backfilled: Option<u64>,
    /// When the epoch came into force.
    since: String,
    /// Why the jobs that copy rest; `null`: they may go on.
    held: Option<String>,
    /// How many rows a second each job may copy or compare; `null`: as many as the databases bear.
    rate: Option<u64>,
    /// What the seal waits for, a line each.
    waits_for: Vec<String>,
    /// Until when the way back is open.
    way_back: &'static str,
    /// The old database.
    old: SideShown,
    /// The new one.
    new: SideShown,
    /// The hosts.
    hosts: Vec<HostShown>,
    /// The jobs: copies, backfill, verification.
    jobs: Vec<JobShown>,
    /// The steps that can follow.
    edges: Vec<StepShown>,
    /// The latest decisions, the newest first; all of them in evidence.
    log: Vec<Decided>,
}

/// One of the two databases.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Side)]
pub struct SideShown {
    /// The database, without its password.
    database: String,
    /// Where its fence stands.
    fence: Option<u64>,
    /// How many of its keys wait for a copy.
    marks: Option<u64>,
    /// Why it does not say.
    error: Option<String>,
}

/// A host of the fleet.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Host)]
pub struct HostShown {
    /// Its name.
    host: String,
    /// The last epoch that it acknowledged.
    acknowledged: u64,
    /// How long its lease lasts yet; `null`: it has run out.
    lease_left_s: Option<f64>,
    /// The epoch for which it was given up.
    given_up: Option<u64>,
    /// What it says of itself.
    about: String,
}

/// A job of the hosts.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Job)]
pub struct JobShown {
    /// Its name.
    job: String,
    /// The host that does it, or did it last.
    host: String,
    /// Whether a host does it now.
    runs: bool,
    /// The epoch that it is for.
    epoch: u64,
    /// The rows that are done.
    done: u64,
    /// About how many there are.
    total: Option<u64>,
    /// What the host says of it.
    note: String,
    /// When it began.
    began: String,
    /// When the host last said how far it is.
    reported: String,
}

/// A step that can follow.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Step)]
pub struct StepShown {
    /// Where it leads.
    to: &'static str,
    /// Its guards.
    #[serde(skip_serializing_if = "Option::is_none")]
    guards: Option<Vec<GuardShown>>,
    /// Why they could not be checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// A line of the log of decisions.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Decision)]
pub struct Decided {
    /// When.
    at: String,
    /// The epoch in force then.
    epoch: u64,
    /// What was decided, and by whom.
    decision: String,
    /// What the guards said.
    guards: Vec<String>,
}

/// The hosts of a migration.
#[derive(Debug, Serialize, ToSchema)]
pub struct Hosts {
    /// Whether all have acknowledged the epoch in force.
    ok: bool,
    /// The epoch in force.
    epoch: u64,
    /// The hosts.
    hosts: Vec<HostShown>,
}

/// How many keys wait for a copy.
#[derive(Debug, Serialize, ToSchema)]
pub struct Marks {
    /// Whether both databases say it.
    ok: bool,
    /// At the old database; `null`: it does not say.
    old: Option<u64>,
    /// At the new one.
    new: Option<u64>,
}

/// The hosts of a migration.
pub fn hosts(status: &Status) -> Hosts {
    Hosts { ok: status.waits_for.is_empty(), epoch: status.document.epoch.0, hosts: each_host(status) }
}

/// How many keys wait for a copy.
pub fn marks(status: &Status) -> Marks {
    let known = |side: &SideStatus| side.marks.as_ref().ok().copied();
    let (old, new) = (known(&status.old), known(&status.new));
    Marks { ok: old.is_some() && new.is_some(), old, new }
}

/// Where a migration stands.
pub fn status(status: &Status) -> StatusShown {
    let document = &status.document;
    let number = |epoch: Option<Epoch>| epoch.map(|epoch| epoch.0);
    StatusShown {
        ok: status.is_sealed() && !status.has_red(),
        at: utc(SystemClock.now()),
        migration: document.migration.to_string(),
        phase: document.phase.clone(),
        profile: document.profile.clone(),
        policy: document.policy.clone(),
        epoch: document.epoch.0,
        sealed: document.sealed.0,
        settled: number(document.settled),
        verified: number(document.verified),
        backfilled: number(document.backfilled),
        since: utc(document.since),
        held: document.held.clone(),
        rate: document.rate,
        waits_for: status.waits_for.clone(),
        way_back: status.way_back(),
        old: side(&status.old),
        new: side(&status.new),
        hosts: each_host(status),
        jobs: status.jobs.iter().map(job).collect(),
        edges: status.edges.iter().map(step).collect(),
        log: status.log.iter().map(decided).collect(),
    }
}

fn side(side: &SideStatus) -> SideShown {
    SideShown {
        database: side.summary.clone(),
        fence: side.fence.as_ref().ok().copied().flatten().map(|epoch| epoch.0),
        marks: side.marks.as_ref().ok().copied(),
        error: side.fence.as_ref().err().or_else(|| side.marks.as_ref().err()).cloned(),
    }
}

fn each_host(status: &Status) -> Vec<HostShown> {
    let host = |row: &HostRow| HostShown {
        host: row.member.host.to_string(),
        acknowledged: row.acknowledged.0,
        lease_left_s: row.lease_left.map(|left| left.as_secs_f64()),
        given_up: row.given_up.map(|epoch| epoch.0),
        about: row.about.clone(),
    };
    status.hosts.iter().map(host).collect()
}

fn job(job: &JobRow) -> JobShown {
    JobShown {
        job: job.job.clone(),
        host: job.holder.host.to_string(),
        runs: job.lease_left.is_some(),
        epoch: job.epoch.0,
        done: job.progress.done,
        total: job.progress.total,
        note: job.progress.note.clone(),
        began: utc(job.began),
        reported: utc(job.reported),
    }
}

fn step(edge: &EdgeStatus) -> StepShown {
    let (guards, error) = match &edge.findings {
        Ok(found) => (Some(findings(found)), None),
        Err(error) => (None, Some(error.clone())),
    };
    StepShown { to: edge.to.as_str(), guards, error }
}

fn decided(logged: &LoggedDecision) -> Decided {
    Decided {
        at: utc(logged.at),
        epoch: logged.decision.epoch.0,
        decision: logged.decision.decision.clone(),
        guards: logged.decision.guards.lines().map(str::to_owned).collect(),
    }
}
