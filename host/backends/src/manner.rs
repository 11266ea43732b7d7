//! How a batch of writes is executed, on every kind of database that has side tables.

use switchover_core::capabilities::{Fence, Side, Token};
#[cfg(any(feature = "sqlite", feature = "mysql"))]
use switchover_core::capabilities::{Write, WriteOutcome};

/// How a batch is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// The session rows alone, under a fence if there is one.
    Plain(Option<Fence>),
    /// As [`SideTables::write_marked`](switchover_core::capabilities::SideTables::write_marked).
    Marked(Side, Fence),
}

/// Side tables are used that are not there.
#[cfg(any(feature = "sqlite", feature = "mysql"))]
pub(crate) const UNPREPARED: &str =
    "the side tables of migrations are not prepared: `switchover migrate init` makes them";

/// Whether a write is refused, so that its key gets no mark and keeps the one that it has. A delete never is.
#[cfg(any(feature = "sqlite", feature = "mysql"))]
pub(crate) fn is_refused(write: &Write, outcome: &WriteOutcome) -> bool {
    match outcome {
        WriteOutcome::Done(_) => false,
        WriteOutcome::Exists => true,
        WriteOutcome::Missing => !matches!(write, Write::Delete(_)),
    }
}

/// A token that no other mark has.
pub(crate) fn token() -> Token {
    let random = getrandom::u64().expect("the operating system's random source answers");
    Token(i64::from_ne_bytes(random.to_ne_bytes()))
}
