//! A batch of writes as the statements of one transaction. It locks the existing rows, then has one statement for each
//! kind of write.

use std::collections::HashMap;

use switchover_core::capabilities::{Unreadable, Write, WriteOutcome};
use switchover_core::{Session, SessionKey, Value};

use crate::django_time;
use crate::others::{OtherColumn, values};

/// The rows that a batch found, by key, compared byte for byte; `None`: the row exists and was not read.
pub(super) type Locked = HashMap<SessionKey, Option<Result<Session, Unreadable>>>;

/// What a batch does once its rows are locked.
#[derive(Default)]
pub(super) struct Plan<'b> {
    pub(super) insert: Vec<Values<'b>>,
    pub(super) upsert: Vec<Values<'b>>,
    /// Pairs of key and end.
    pub(super) touch: Vec<(&'b str, String)>,
    pub(super) delete: Vec<&'b str>,
    /// The outcomes, in the order of the batch.
    pub(super) outcomes: Vec<WriteOutcome>,
}

/// The values of a row.
#[derive(Clone)]
pub(super) struct Values<'b> {
    pub(super) key: &'b str,
    pub(super) payload: &'b [u8],
    pub(super) expires_at: String,
    /// In the order of the columns; empty if the session has no other columns.
    pub(super) others: Vec<&'b Value>,
    bytes: usize,
}

impl<'b> Values<'b> {
    pub(super) fn of(session: &'b Session, columns: &[OtherColumn]) -> Result<Self, Unreadable> {
        let others = values(columns, &session.others);
        Ok(Self {
            key: session.key.expose(),
            payload: session.payload.expose(),
            expires_at: django_time::to_text(session.expires_at),
            others: others.map_err(|what| Unreadable::new(session.key.expose().as_bytes(), what))?.unwrap_or_default(),
            bytes: session.payload.len() + session.others.bytes(),
        })
    }

    /// The same row with an empty payload.
    pub(super) fn emptied(&self) -> Self {
        Self { payload: b"", bytes: self.bytes - self.payload.len(), ..self.clone() }
    }

    /// Whether it has values for the other columns.
    pub(super) fn is_whole(&self) -> bool {
        !self.others.is_empty()
    }
}

/// What the parameters of a row take in a statement besides its payload: key, end, lengths and types.
const ROW_BYTES: usize = 256;
/// What a statement takes besides its rows.
const STATEMENT_BYTES: usize = 1 << 10;

/// How many bytes one statement may carry. The server drops a connection that sends more than its `max_allowed_packet`.
#[derive(Clone, Copy)]
pub(super) struct Packet(usize);

impl Packet {
    pub(super) fn of_server(max_allowed_packet: u64) -> Self {
        Self(usize::try_from(max_allowed_packet).unwrap_or(usize::MAX))
    }

    fn room(self) -> usize {
        self.0.saturating_sub(STATEMENT_BYTES)
    }

    /// If a write of the batch is too large for any statement, returns a message that says so.
    pub(super) fn refuses(self, batch: &[Write]) -> Option<String> {
        let largest = batch.iter().map(Write::payload_len).max()?;
        (largest + ROW_BYTES > self.room()).then(|| {
            format!(
                "a payload of {largest} bytes is more than the server's max_allowed_packet of {} bytes takes",
                self.0
            )
        })
    }

    /// Takes as many of the first rows as one statement can carry, at most `most`. The others stay.
    pub(super) fn take<'r, 'b>(self, rows: &mut &'r [Values<'b>], most: usize) -> Option<&'r [Values<'b>]> {
        let (mut left, mut count) = (self.room(), 0);
        for values in rows.iter().take(most) {
            let needed = values.bytes + ROW_BYTES;
            // At least one: a row that is too large for any statement was refused before.
            if needed > left && count > 0 {
                break;
            }
            left = left.saturating_sub(needed);
            count += 1;
        }
        let (these, rest) = rows.split_at(count);
        *rows = rest;
        (!these.is_empty()).then_some(these)
    }
}

impl<'b> Plan<'b> {
    /// A row that cannot be read is an error only for a write that needs its contents.
    pub(super) fn of(batch: &'b [Write], locked: &Locked, columns: &[OtherColumn]) -> Result<Self, Unreadable> {
        let mut plan = Self::default();
        for write in batch {
            let outcome = plan.add(write, locked.get(write.key()), columns)?;
            plan.outcomes.push(outcome);
        }
        // The order in which every host takes its locks.
        for rows in [&mut plan.insert, &mut plan.upsert] {
            rows.sort_unstable_by_key(|values| (values.is_whole(), values.key));
        }
        plan.touch.sort_unstable();
        plan.delete.sort_unstable();
        Ok(plan)
    }

    fn add(
        &mut self,
        write: &'b Write,
        row: Option<&Option<Result<Session, Unreadable>>>,
        columns: &[OtherColumn],
    ) -> Result<WriteOutcome, Unreadable> {
        Ok(match (write, row) {
            (Write::Insert(_), Some(_)) => WriteOutcome::Exists,
            (Write::Insert(session), None) => {
                self.insert.push(Values::of(session, columns)?);
                WriteOutcome::Done(Some(session.clone()))
            }
            (Write::Update(session), Some(_)) | (Write::Upsert(session), _) => {
                self.upsert.push(Values::of(session, columns)?);
                WriteOutcome::Done(Some(session.clone()))
            }
            (Write::Touch(key, expires_at), Some(row)) => {
                let row = row.clone().transpose()?;
                self.touch.push((key.expose(), django_time::to_text(*expires_at)));
                let touched = |row: Session| Session { expires_at: row.expires_at.max(*expires_at), ..row };
                WriteOutcome::Done(row.map(touched))
            }
            (Write::Delete(key), Some(_)) => {
                self.delete.push(key.expose());
                WriteOutcome::Done(None)
            }
            (Write::Update(_) | Write::Touch(..) | Write::Delete(_), None) => WriteOutcome::Missing,
        })
    }
}
