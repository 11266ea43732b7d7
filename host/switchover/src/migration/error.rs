//! Why two databases could not be compared, and why a step of a migration was not made.

use std::fmt;

use switchover_core::capabilities::DatabaseError;
use switchover_protocol::{Finding, Phase, Verdict};

/// Why two databases could not be compared.
#[derive(Debug)]
#[non_exhaustive]
pub enum CompareError {
    /// A database did not answer, or gave a wrong answer: check the database and compare again.
    Database {
        /// The database, for people.
        database: String,
        /// Its error.
        source: DatabaseError,
    },
    /// The new table cannot hold everything that the old one can: change it first.
    NotCarried {
        /// Which column, and what to do.
        message: String,
    },
    /// Too many sessions differ: wait until the migration has copied more.
    TooManyDifferences {
        /// The most differences that are looked at.
        max: usize,
    },
}

impl fmt::Display for CompareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database { database, source } => write!(f, "{database}: {source}"),
            Self::NotCarried { message } => f.write_str(message),
            Self::TooManyDifferences { max } => {
                write!(f, "more than {max} sessions differ: the migration has hardly begun; try again later")
            }
        }
    }
}

/// Without `source`: the text of a variant already has its cause.
impl std::error::Error for CompareError {}

/// Why a step of a migration was not made, named by who must act. Nothing was changed, unless the error says so.
#[derive(Debug)]
#[non_exhaustive]
pub enum MigrationError {
    /// There is no such migration in the control tables: name another one, or make it.
    NoSuchMigration {
        /// Its name.
        migration: String,
    },
    /// An argument is invalid: correct it.
    Invalid {
        /// What is wrong, and what to write instead.
        message: String,
    },
    /// The control document is not one that this program understands.
    Document {
        /// What it says.
        message: String,
    },
    /// The epoch in force is not sealed yet, so no guard can be checked: wait for the hosts that are named.
    NotSealed {
        /// What it waits for, a line each.
        waits_for: Vec<String>,
    },
    /// No edge leads from the phase in force to the one that was asked for.
    NoSuchStep {
        /// The phase in force.
        from: Phase,
        /// The phase that was asked for.
        to: Phase,
        /// The phases that can follow.
        open: Vec<Phase>,
    },
    /// The command has no step from the phase in force: give another one.
    NoStep {
        /// The phase in force.
        from: Phase,
        /// Why, as the end of a sentence.
        why: &'static str,
    },
    /// A guard is not green: do what it says, or wait.
    Red {
        /// The guards of the edge, as far as they were checked.
        findings: Vec<Finding>,
    },
    /// Somebody else changed the document at the same time: look at its status, and try again if it is still needed.
    Changed,
    /// One of the two databases did not answer, or refused.
    Database {
        /// The database, for people.
        database: String,
        /// Its error.
        source: DatabaseError,
    },
    /// The control database did not answer, or refused.
    Control {
        /// The database, for people.
        database: String,
        /// Its error.
        source: DatabaseError,
    },
}

impl fmt::Display for MigrationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchMigration { migration } => {
                write!(f, "there is no migration `{migration}` in the control tables; make it with `migrate init`")
            }
            Self::Invalid { message } | Self::Document { message } => f.write_str(message),
            Self::NotSealed { waits_for } => {
                write!(f, "the epoch in force is not sealed yet; it waits for {}", waits_for.join("; "))
            }
            Self::NoSuchStep { from, to, open } => {
                let open = open.iter().map(|phase| phase.as_str()).collect::<Vec<_>>();
                let open = if open.is_empty() { "nothing".to_owned() } else { open.join(", ") };
                write!(f, "no step leads from {from} to {to}; {from} can be followed by {open}")
            }
            Self::NoStep { from, why } => write!(f, "the migration is in `{from}`: {why}"),
            Self::Red { findings } => {
                f.write_str("a guard is not green")?;
                findings
                    .iter()
                    .filter(|finding| finding.verdict != Verdict::Green)
                    .try_for_each(|finding| write!(f, "; {}: {finding}", finding.guard))
            }
            Self::Changed => f.write_str("the control document was changed by somebody else; look at the status"),
            Self::Database { database, source } => write!(f, "{database}: {source}"),
            Self::Control { database, source } => write!(f, "control tables, {database}: {source}"),
        }
    }
}

/// Without `source`: the text of a variant already has its cause.
impl std::error::Error for MigrationError {}
