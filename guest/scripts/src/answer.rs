//! What a call of a policy came to.

use std::fmt;

use switchover_guest::{Description, Result, SaveOutcome};

use super::session::FakeSession;
use super::state::text_of;
use super::text::{self, or_none};

/// What a call of a policy came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Of `load`.
    Session(Result<Option<FakeSession>>),
    /// Of `save` and `touch`.
    Outcome(Result<SaveOutcome>),
    /// Of `delete` and `exists`.
    Truth(Result<bool>),
    /// Of `clear-expired`.
    Count(Result<u32>),
    /// Of `db-for-read` and `db-for-write`.
    Database(Result<Option<String>>),
    /// Of `allow-relation` and `allow-migrate`.
    Opinion(Result<Option<bool>>),
    /// Of `describe`.
    Description(Description),
    /// The policy did not answer: it trapped, or was stopped.
    Failed(String),
}

/// As a result in the output has it.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Session(answer) => show(answer, |found| or_none(found.as_ref().map(FakeSession::text).as_ref())),
            Self::Outcome(answer) => show(answer, |outcome| text::outcome(*outcome).to_owned()),
            Self::Truth(answer) => show(answer, bool::to_string),
            Self::Count(answer) => show(answer, u32::to_string),
            Self::Database(answer) => show(answer, |name| or_none(name.as_ref())),
            Self::Opinion(answer) => show(answer, |opinion| or_none(opinion.as_ref())),
            Self::Description(description) => describe(description),
            Self::Failed(why) => format!("failed: {why}"),
        };
        f.write_str(&text)
    }
}

fn show<T>(answer: &Result<T>, show: impl FnOnce(&T) -> String) -> String {
    answer.as_ref().map_or_else(text_of, show)
}

/// Without the version, which changes with every release.
fn describe(description: &Description) -> String {
    let Description { name, version: _, protocol, databases, flags, attributes } = description;
    let attributes: Vec<_> = attributes.iter().map(|(name, value)| format!("{name}:{value}")).collect();
    let (databases, flags, attributes) = (databases.join(","), flags.join(","), attributes.join(","));
    format!("name={name} protocol={protocol} databases={databases} flags={flags} attributes={attributes}")
}
