//! What became of a command, or would become of it.

use serde::Serialize;
use switchover::capabilities::{Document, Epoch};
use switchover::migration::{Finding, Guard, Phase};
use utoipa::ToSchema;

use super::{GuardShown, findings as shown, is_open};

/// A command that was made.
#[derive(Debug, Serialize, ToSchema)]
pub struct Done {
    /// `true`.
    ok: bool,
}

impl Done {
    /// It was.
    pub const YES: Self = Self { ok: true };
}

/// A step that was looked at, and not made.
#[derive(Debug, Serialize, ToSchema)]
pub struct Looked {
    /// Whether it would be made once the epoch in force is sealed.
    pub ok: bool,
    /// Where it leads. The phase in force: there is nothing to do, or `mirror` would be settled.
    to: &'static str,
    /// Its guards, up to the first that forbids it.
    guards: Vec<GuardShown>,
}

/// A step to `to` with these guards, of which these would be overridden.
pub fn looked(to: Phase, findings: &[Finding], overridden: &[Guard]) -> Looked {
    Looked { ok: is_open(findings, overridden), to: to.as_str(), guards: shown(findings) }
}

/// An epoch that a command has put in force, or found in force.
#[derive(Debug, Serialize, ToSchema)]
pub struct Made {
    /// As `sealed`.
    ok: bool,
    /// The epoch.
    epoch: u64,
    /// Whether every host has acknowledged it. If not, the hosts seal it by themselves.
    sealed: bool,
    /// The guards that were checked.
    guards: Vec<GuardShown>,
    /// What the seal waits for, a line each.
    waits_for: Vec<String>,
}

/// An epoch; it is sealed if it waits for nothing.
pub fn made(epoch: Epoch, findings: &[Finding], waits_for: Vec<String>) -> Made {
    let sealed = waits_for.is_empty();
    Made { ok: sealed, epoch: epoch.0, sealed, guards: shown(findings), waits_for }
}

/// What the jobs that copy are told.
#[derive(Debug, Serialize, ToSchema)]
pub struct Copying {
    /// `true`.
    ok: bool,
    /// Why they rest; `null`: they may go on.
    held: Option<String>,
    /// How many rows a second each job may copy or compare; `null`: as many as the databases bear.
    rate: Option<u64>,
}

/// What the control document tells the jobs.
pub fn copying(document: Document) -> Copying {
    Copying { ok: true, held: document.held, rate: document.rate }
}

/// A statement, and where it is executed.
#[derive(Debug, Serialize, ToSchema)]
pub struct Statement {
    /// The database, without its password.
    pub database: String,
    /// The statement.
    pub statement: String,
}

/// What the beginning of a migration executed, or would execute.
#[derive(Debug, Serialize, ToSchema)]
pub struct Begun {
    /// `true`.
    ok: bool,
    /// The name of the migration.
    migration: String,
    /// The statements, in their order; none: everything is there.
    pub statements: Vec<Statement>,
    /// The phase in force; only where the migration was begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    phase: Option<String>,
    /// The epoch in force; only where the migration was begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
}

/// What would be executed for the migration of this name.
pub fn planned(migration: &str, statements: Vec<(String, String)>) -> Begun {
    let statement = |(database, statement)| Statement { database, statement };
    let statements = statements.into_iter().map(statement).collect();
    Begun { ok: true, migration: migration.to_owned(), statements, phase: None, epoch: None }
}

/// What was executed for the migration that has this document.
pub fn begun(document: Document, statements: Vec<(String, String)>) -> Begun {
    let (phase, epoch) = (Some(document.phase), Some(document.epoch.0));
    Begun { phase, epoch, ..planned(&document.migration, statements) }
}
