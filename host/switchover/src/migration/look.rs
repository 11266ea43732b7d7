//! Reads rows of one database by their keys, a few at a time, so that few payloads are in memory.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use switchover_core::capabilities::{Database, DatabaseError, Read, ReadOutcome, Terms, Unreadable};
use switchover_core::{Session, SessionKey};
use switchover_runtime::Limits;

use super::error::CompareError;

/// If the payloads of one look are larger than this, the next look takes fewer keys.
const LOOK_BYTES: usize = 4 << 20;
/// The number of keys of the first look, and the most of any look.
const KEYS_FIRST: usize = 16;
const KEYS_MAX: usize = 500;

/// What a database has under a key.
pub type Row = Result<Session, Unreadable>;

/// How many keys the next look takes.
pub struct Stride(usize);

impl Default for Stride {
    fn default() -> Self {
        Self(KEYS_FIRST)
    }
}

impl Stride {
    /// Takes the keys of the next look from the front.
    pub fn take<'a, T>(&self, all: &mut &'a [T]) -> Option<&'a [T]> {
        if all.is_empty() {
            return None;
        }
        let (these, rest) = all.split_at(self.0.min(all.len()));
        *all = rest;
        Some(these)
    }

    /// Adapts to the payloads of a look.
    fn took(&mut self, rows: &HashMap<SessionKey, Row>) {
        let bytes: usize = rows.values().flatten().map(|session| session.payload.len()).sum();
        self.0 = if bytes > LOOK_BYTES { (self.0 / 2).max(1) } else { (self.0 * 2).min(KEYS_MAX) };
    }
}

/// The deadline of one step of a tool, from the deadline of a visitor. A tool may wait ten times as long as a visitor.
pub fn tool_deadline(of_a_visitor: Duration) -> Instant {
    Instant::now() + tool_patience(of_a_visitor)
}

/// How long one step of a tool may take.
pub fn tool_patience(of_a_visitor: Duration) -> Duration {
    of_a_visitor * 10
}

/// Reads the rows under `keys` that are unexpired, or that cannot be read.
///
/// # Errors
///
/// [`CompareError::Database`] if the database does not answer.
pub async fn look(
    database: &dyn Database,
    keys: &[SessionKey],
    stride: &mut Stride,
    limits: &Limits,
) -> Result<HashMap<SessionKey, Row>, CompareError> {
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let failed = |source| CompareError::Database { database: database.summary(), source };
    let reads = keys.iter().cloned().map(Read::Load).collect();
    let outcomes = database.read(reads, Terms::by(tool_deadline(limits.read_deadline))).await.map_err(failed)?;
    if outcomes.len() != keys.len() {
        let message = format!("it answered {} of {} questions", outcomes.len(), keys.len());
        return Err(failed(DatabaseError::Unavailable { message }));
    }
    let mut found = HashMap::with_capacity(outcomes.len());
    for (key, outcome) in keys.iter().zip(outcomes) {
        match outcome {
            ReadOutcome::Session(None) => {}
            ReadOutcome::Session(Some(session)) if session.others.unreadable().is_some() => {
                let column = session.others.unreadable().unwrap_or_default();
                let what = format!("has something else in its column {column} than the column's type says");
                found.insert(key.clone(), Err(Unreadable::new(key.expose().as_bytes(), what)));
            }
            ReadOutcome::Session(Some(session)) => {
                found.insert(key.clone(), Ok(session));
            }
            ReadOutcome::Unreadable(row) => {
                found.insert(key.clone(), Err(row));
            }
            ReadOutcome::Exists(_) => {
                let message = "it answered another question".to_owned();
                return Err(failed(DatabaseError::Unavailable { message }));
            }
        }
    }
    stride.took(&found);
    Ok(found)
}
