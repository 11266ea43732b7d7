//! Reads rows of one database by their keys, a few at a time, so that few payloads are in memory.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use switchover::capabilities::{Database, Read, ReadOutcome, Unreadable};
use switchover::{Limits, Session, SessionKey};

use crate::place::tool_deadline;

/// If the payloads of one look are larger than this, the next look takes fewer keys.
const LOOK_BYTES: usize = 4 << 20;
/// The number of keys of the first look, and the most of any look.
const KEYS_FIRST: usize = 16;
const KEYS_MAX: usize = 500;

/// What a database has under a key: a session, or an unreadable row.
type Row = Result<Session, Unreadable>;

/// How many keys the next look takes.
pub(crate) struct Stride(usize);

impl Default for Stride {
    fn default() -> Self {
        Self(KEYS_FIRST)
    }
}

impl Stride {
    /// Takes the keys of the next look from the front.
    pub(crate) fn take<'a, T>(&self, all: &mut &'a [T]) -> Option<&'a [T]> {
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

/// The unexpired and the unreadable rows under `keys`.
pub(crate) async fn look(
    database: &dyn Database,
    keys: &[SessionKey],
    stride: &mut Stride,
    limits: &Limits,
) -> Result<HashMap<SessionKey, Row>> {
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let reads = keys.iter().cloned().map(Read::Load).collect();
    let outcomes = database.read(reads, None, tool_deadline(limits.read_deadline)).await;
    let outcomes = outcomes.with_context(|| database.summary())?;
    if outcomes.len() != keys.len() {
        bail!("{} answered {} of {} questions", database.summary(), outcomes.len(), keys.len());
    }
    let mut found = HashMap::with_capacity(outcomes.len());
    for (key, outcome) in keys.iter().zip(outcomes) {
        match outcome {
            ReadOutcome::Session(None) => {}
            ReadOutcome::Session(Some(session)) => {
                found.insert(key.clone(), Ok(session));
            }
            ReadOutcome::Unreadable(row) => {
                found.insert(key.clone(), Err(row));
            }
            ReadOutcome::Exists(_) => bail!("{} answered another question", database.summary()),
        }
    }
    stride.took(&found);
    Ok(found)
}
