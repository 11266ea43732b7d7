//! Where a migration stands, for the operator: read from the control tables and from both databases, each by itself, so
//! that one that does not answer hides nothing of the others.

use std::sync::Arc;
use std::time::Instant;

use switchover_core::capabilities::{Document, Epoch, HostRow, JobRow, LoggedDecision};
use switchover_protocol::{Direction, Finding, Guard, Phase, Side, Verdict, edges_from};

use super::controller::{Controller, waits_for};
use super::document::{phase, profile};
use super::error::MigrationError;
use super::member::deadline;

/// How many decisions of the log a status has.
const DECISIONS: u32 = 10;
/// More than anybody decides.
const EVERY_DECISION: u32 = 1_000_000;

/// Where a migration stands.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// The control document.
    pub document: Document,
    /// Its phase.
    pub phase: Phase,
    /// Its hosts.
    pub hosts: Vec<HostRow>,
    /// What the seal of the epoch in force waits for; empty: it is sealed, or about to be.
    pub waits_for: Vec<String>,
    /// Its jobs: copies, backfill, verification.
    pub jobs: Vec<JobRow>,
    /// The old database.
    pub old: SideStatus,
    /// The new one.
    pub new: SideStatus,
    /// The steps that can follow.
    pub edges: Vec<EdgeStatus>,
    /// The latest decisions, the newest first; all of them in evidence.
    pub log: Vec<LoggedDecision>,
}

/// What one of the two databases says.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SideStatus {
    /// The database, for people.
    pub summary: String,
    /// Where its fence stands; the error if it does not say.
    pub fence: Result<Option<Epoch>, String>,
    /// How many of its keys have a mark; the error if it does not say.
    pub marks: Result<u64, String>,
}

/// A step that can follow.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EdgeStatus {
    /// Where it leads.
    pub to: Phase,
    /// Whether it goes forwards or back, or settles.
    pub direction: Direction,
    /// Its guards, up to the first that forbids it; the error if one could not be checked. Guards that need a walk over
    /// the table are left out: they are checked when the step is made.
    pub findings: Result<Vec<Finding>, String>,
}

impl Status {
    /// Whether nothing older than the epoch in force can happen any more.
    pub fn is_sealed(&self) -> bool {
        self.document.sealed == self.document.epoch
    }

    /// Until when the way back is open, in words.
    pub fn way_back(&self) -> &'static str {
        match self.phase {
            Phase::Off => "nothing has begun, so there is nothing to go back from",
            Phase::Invalidate | Phase::Mirror => "open: the old database decides, and has everything",
            Phase::Strict => "open: both databases have everything, and the old one decides",
            Phase::Cutover => "open: both databases have everything",
            Phase::Reverse => "open until `complete`: what the old database lacks is marked and copied",
            Phase::Complete => "closed: the old database is no longer written; begin a migration the other way",
        }
    }

    /// Whether a guard stops a step forwards, or something does not answer. A guard that is advice stops a step too, until
    /// the operator names it.
    pub fn has_red(&self) -> bool {
        self.edges.iter().filter(|edge| edge.direction != Direction::Back).any(|edge| {
            edge.findings
                .as_ref()
                .map_or(true, |findings| findings.iter().any(|finding| finding.verdict != Verdict::Green))
        })
    }
}

impl Controller {
    /// [`Controller::status`] with every decision since the beginning.
    ///
    /// # Errors
    ///
    /// As for [`Controller::status`].
    pub async fn evidence(&self) -> Result<Status, MigrationError> {
        let log = self.log(EVERY_DECISION).await?;
        Ok(Status { log, ..self.status().await? })
    }

    async fn log(&self, limit: u32) -> Result<Vec<LoggedDecision>, MigrationError> {
        let log = self.control.log(Arc::clone(&self.migration), limit, deadline()).await;
        log.map_err(|error| self.of_control(error))
    }

    /// Where the migration stands.
    ///
    /// # Errors
    ///
    /// [`MigrationError::NoSuchMigration`], [`MigrationError::Control`]. What a database does not say stands in the
    /// status as an error of its own.
    pub async fn status(&self) -> Result<Status, MigrationError> {
        let document = self.document().await?;
        let of_control = |error| self.of_control(error);
        let hosts = self.control.hosts(Arc::clone(&self.migration), deadline()).await.map_err(of_control)?;
        let jobs = self.control.jobs(Arc::clone(&self.migration), deadline()).await.map_err(of_control)?;
        let log = self.log(DECISIONS).await?;
        let phase = phase(&document)?;
        let (old, new) = tokio::join!(self.side_status(Side::Old, &document), self.side_status(Side::New, &document));
        let mut edges = Vec::new();
        for edge in edges_from(profile(&document)?, phase) {
            let findings = if edge.guards.contains(&Guard::LivingAtNew) {
                // A walk over the whole table: not for a look.
                Ok(Vec::new())
            } else {
                self.findings(&document, edge).await.map_err(|error| error.to_string())
            };
            edges.push(EdgeStatus { to: edge.to, direction: edge.direction(), findings });
        }
        let waits_for = if document.sealed == document.epoch { Vec::new() } else { waits_for(&hosts, document.epoch) };
        Ok(Status { document, phase, hosts, waits_for, jobs, old, new, edges, log })
    }

    async fn side_status(&self, side: Side, document: &Document) -> SideStatus {
        let fence = async {
            let patience = Instant::now() + super::member::CONTROL_PATIENCE;
            let fence = self.side_tables(side)?.fence(Arc::clone(&self.migration), patience).await;
            fence.map_err(|error| self.of_side(side, error))
        };
        let fence = fence.await.map_err(|error: MigrationError| error.to_string());
        let marks = self.marks(side, document).await.map_err(|error| error.to_string());
        SideStatus { summary: self.database(side).summary(), fence, marks }
    }
}
