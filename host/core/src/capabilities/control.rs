//! The control tables of migrations: the control document, the hosts, the jobs, the suspensions of the cache, and the
//! log of decisions.
//!
//! `docs/protocol.md` says what each is for. The protocol needs nothing of this database but its compare-and-set. While
//! it is down, no host starts and no epoch changes; nothing else stops.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::{Cursor, DatabaseError, Epoch};
use crate::Timestamp;

/// The control document of a migration: what is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The name of the migration.
    pub migration: Arc<str>,
    /// Grows with each change of the document, whatever changes. A compare-and-set compares it.
    pub version: u64,
    /// The epoch in force.
    pub epoch: Epoch,
    /// Its phase, by the operator's word.
    pub phase: String,
    /// The profile, by the operator's word.
    pub profile: String,
    /// Which policy answers, by its name; the hosts know where to find it.
    pub policy: String,
    /// The flags of the policy, beside phase and profile: lines of `name=value`.
    pub flags: String,
    /// The highest epoch that was sealed; zero: none.
    pub sealed: Epoch,
    /// The epoch that settling made; `None`: not settled.
    pub settled: Option<Epoch>,
    /// The `settled` under which a verification was whole; `None`: none was.
    pub verified: Option<Epoch>,
    /// The `epoch` of `mirror` under which a backfill reached the last key; `None`: none did.
    pub backfilled: Option<Epoch>,
    /// Why the jobs that copy rest, in the operator's words; `None`: they do not.
    pub held: Option<String>,
    /// How many rows a second the jobs may copy or compare; `None`: as many as the databases bear.
    pub rate: Option<u64>,
    /// The tables that sessions move between, for people.
    pub old: String,
    /// As `old`.
    pub new: String,
    /// When the epoch came into force, by this database's clock.
    pub since: Timestamp,
    /// The migration that follows this one; `None`: none.
    pub continued_by: Option<String>,
}

/// One start of one host, as the control tables know it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// The migration that it takes part in.
    pub migration: Arc<str>,
    /// The host's name; one process at a time has it.
    pub host: Arc<str>,
    /// Random for each start of the process.
    pub incarnation: Arc<str>,
}

/// What a host reads each second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat {
    /// The control document.
    pub document: Document,
    /// Whether the host's row still names this incarnation. If not, another process has the name, or the row is gone.
    pub is_member: bool,
    /// Whether a host keeps the fleet from its cache.
    pub cache_suspended: bool,
}

/// A host, as the operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRow {
    /// Which host.
    pub member: Member,
    /// The last epoch that it acknowledged.
    pub acknowledged: Epoch,
    /// How long its lease lasts yet; `None`: it has run out.
    pub lease_left: Option<Duration>,
    /// The epoch in which it was given up; `None`: barriers wait for it.
    pub given_up: Option<Epoch>,
    /// What it says of itself: its program, and why it does not acknowledge.
    pub about: String,
}

/// Why a host was not given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivingUp {
    /// It is given up.
    Done,
    /// Its lease has not run out: it may still be running.
    Alive,
    /// It has acknowledged meanwhile, has started again, or is gone.
    Changed,
}

/// How far a job has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Where it goes on; `None`: at the beginning.
    pub position: Option<Cursor>,
    /// How many rows it has done.
    pub done: u64,
    /// About how many there are; `None`: it has not counted them.
    pub total: Option<u64>,
    /// What it found, and why it waits, if it does: JSON of the job's own, without keys.
    pub note: String,
}

/// A job, as the operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRow {
    /// Its name.
    pub job: String,
    /// Who does it, or did it last.
    pub holder: Member,
    /// How long its holder's lease lasts yet; `None`: nobody does it.
    pub lease_left: Option<Duration>,
    /// Under which epoch it began.
    pub epoch: Epoch,
    /// How far it has come.
    pub progress: Progress,
    /// When it began, by this database's clock.
    pub began: Timestamp,
    /// When its holder last reported.
    pub reported: Timestamp,
}

/// A decision, with the guards that it was made by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The epoch in force when it was made.
    pub epoch: Epoch,
    /// What was decided, and by whom.
    pub decision: String,
    /// The guards, each with its verdict: a line each.
    pub guards: String,
}

/// A decision of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedDecision {
    /// When, by this database's clock.
    pub at: Timestamp,
    /// The decision.
    pub decision: Decision,
}

/// The control tables in one database. Every function ends at its deadline, even if the server does not answer, and is
/// safe to repeat. Times are by this database's clock.
///
/// Errors: [`DatabaseError::Unavailable`], [`DatabaseError::Timeout`] and [`DatabaseError::UnknownOutcome`] as for
/// sessions; [`DatabaseError::Corrupt`] if the tables are missing or not of this version.
///
/// Cancel safety: what writes may still happen when its future is dropped.
#[async_trait]
pub trait Control: Send + Sync {
    /// The statements that would make what is missing; empty: everything is there.
    async fn missing(&self, deadline: Instant) -> Result<Vec<String>, DatabaseError>;

    /// Makes what is missing, and changes nothing that is there. Returns what it executed.
    async fn prepare(&self, deadline: Instant) -> Result<Vec<String>, DatabaseError>;

    /// Writes the first document of a migration, and the decision. Its `version` and `since` are set here. Returns
    /// `false` if there is one already; then nothing is written.
    async fn create(&self, document: Document, decision: Decision, deadline: Instant) -> Result<bool, DatabaseError>;

    /// The document of a migration; `None`: there is no such migration.
    async fn document(&self, migration: Arc<str>, deadline: Instant) -> Result<Option<Document>, DatabaseError>;

    /// Writes `next` if the document still has the version that `next` has, and the decision, if there is one, in the
    /// same transaction. The new version is one higher, and `since` is now if the epoch changes. Returns `false` if the
    /// document has changed; then nothing is written.
    async fn replace(
        &self,
        next: Document,
        decision: Option<Decision>,
        deadline: Instant,
    ) -> Result<bool, DatabaseError>;

    /// The names of all migrations, in their order.
    async fn migrations(&self, deadline: Instant) -> Result<Vec<Arc<str>>, DatabaseError>;

    /// Writes the host's own row with a new incarnation. Whoever had the name before loses it. The row keeps nothing of
    /// before.
    async fn enter(
        &self,
        member: Member,
        acknowledged: Epoch,
        lease: Duration,
        about: String,
        deadline: Instant,
    ) -> Result<(), DatabaseError>;

    /// Reads what a host reads each second, in one statement. `None`: there is no such migration. A suspension of the
    /// cache counts until `suspended_for` after its lease.
    async fn beat(
        &self,
        member: Member,
        suspended_for: Duration,
        deadline: Instant,
    ) -> Result<Option<Beat>, DatabaseError>;

    /// Renews the host's lease, and writes what it says of itself. Returns `false` if the row no longer names this
    /// incarnation.
    async fn renew(
        &self,
        member: Member,
        lease: Duration,
        about: String,
        deadline: Instant,
    ) -> Result<bool, DatabaseError>;

    /// Acknowledges an epoch, and cancels that the host was given up. Returns `false` if the row no longer names this
    /// incarnation. An acknowledgement never falls.
    async fn acknowledge(&self, member: Member, epoch: Epoch, deadline: Instant) -> Result<bool, DatabaseError>;

    /// Removes the row of a host in which nothing runs any more.
    async fn leave(&self, member: Member, deadline: Instant) -> Result<(), DatabaseError>;

    /// The hosts of a migration, in the order of their names.
    async fn hosts(&self, migration: Arc<str>, deadline: Instant) -> Result<Vec<HostRow>, DatabaseError>;

    /// Gives up a host in an epoch, if its lease has run out and it still has not acknowledged that epoch. No barrier
    /// waits for it until it acknowledges again.
    async fn give_up(&self, member: Member, epoch: Epoch, deadline: Instant) -> Result<GivingUp, DatabaseError>;

    /// Takes a job if nobody holds it, if its holder's lease has run out, or if this host holds it, also in an earlier
    /// process of its name. A job that was begun under another epoch begins anew, with no progress. Returns the progress so far; `None`: somebody else
    /// holds it.
    async fn take_job(
        &self,
        job: &str,
        member: Member,
        epoch: Epoch,
        lease: Duration,
        deadline: Instant,
    ) -> Result<Option<Progress>, DatabaseError>;

    /// Renews the lease of a job and reports its progress. Returns `false` if this member no longer holds it under this
    /// epoch: then somebody else does it.
    async fn keep_job(
        &self,
        job: &str,
        member: Member,
        epoch: Epoch,
        lease: Duration,
        progress: Progress,
        deadline: Instant,
    ) -> Result<bool, DatabaseError>;

    /// Reports the last progress of a job and gives it back, so that others may take it at once.
    async fn leave_job(
        &self,
        job: &str,
        member: Member,
        epoch: Epoch,
        progress: Progress,
        deadline: Instant,
    ) -> Result<(), DatabaseError>;

    /// The jobs of a migration, in the order of their names.
    async fn jobs(&self, migration: Arc<str>, deadline: Instant) -> Result<Vec<JobRow>, DatabaseError>;

    /// Keeps the fleet from its cache until the lease ends, for this incarnation of this host; renews it, if it does
    /// already.
    async fn suspend_cache(&self, member: Member, lease: Duration, deadline: Instant) -> Result<(), DatabaseError>;

    /// Ends the suspension of this incarnation.
    async fn end_suspension(&self, member: Member, deadline: Instant) -> Result<(), DatabaseError>;

    /// The latest decisions of a migration, the newest first.
    async fn log(
        &self,
        migration: Arc<str>,
        limit: u32,
        deadline: Instant,
    ) -> Result<Vec<LoggedDecision>, DatabaseError>;

    /// Names the database for people, without passwords.
    fn summary(&self) -> String;

    /// Closes the connection.
    async fn close(&self);
}
