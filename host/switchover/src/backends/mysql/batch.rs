//! A batch of writes as the statements of one transaction: lock what is there, then one statement for each kind of write.

use std::collections::HashMap;

use crate::backends::django_time;
use crate::capabilities::{Write, WriteOutcome};
use crate::session::{Session, SessionKey, Timestamp};

/// What a batch does, once its rows are locked.
#[derive(Default)]
pub(super) struct Plan<'b> {
    pub(super) insert: Vec<Values<'b>>,
    pub(super) upsert: Vec<Values<'b>>,
    pub(super) touch: Vec<Values<'b>>,
    pub(super) delete: Vec<&'b str>,
    /// In the order of the batch.
    pub(super) outcomes: Vec<WriteOutcome>,
}

/// The values of a row.
#[derive(Clone)]
pub(super) struct Values<'b> {
    pub(super) key: &'b str,
    pub(super) payload: &'b str,
    pub(super) expires_at: String,
}

impl<'b> Values<'b> {
    pub(super) fn of(session: &'b Session) -> Self {
        Self {
            key: session.key.expose(),
            payload: session.payload.expose(),
            expires_at: django_time::to_text(session.expires_at),
        }
    }

    fn expiry_alone(key: &'b SessionKey, expires_at: Timestamp) -> Self {
        Self { key: key.expose(), payload: "", expires_at: django_time::to_text(expires_at) }
    }
}

impl<'b> Plan<'b> {
    /// `locked`: the rows that the batch found, by key, byte for byte.
    pub(super) fn of(batch: &'b [Write], locked: &HashMap<SessionKey, Session>) -> Self {
        let mut plan = Self::default();
        for write in batch {
            let row = locked.get(write.key());
            let outcome = plan.add(write, row);
            plan.outcomes.push(outcome);
        }
        // The order in which every host takes its locks.
        for rows in [&mut plan.insert, &mut plan.upsert, &mut plan.touch] {
            rows.sort_unstable_by_key(|values| values.key);
        }
        plan.delete.sort_unstable();
        plan
    }

    fn add(&mut self, write: &'b Write, row: Option<&Session>) -> WriteOutcome {
        match (write, row) {
            (Write::Insert(_), Some(_)) => WriteOutcome::Exists,
            (Write::Insert(session), None) => {
                self.insert.push(Values::of(session));
                WriteOutcome::Done(Some(session.clone()))
            }
            (Write::Update(session), Some(_)) | (Write::Upsert(session), _) => {
                self.upsert.push(Values::of(session));
                WriteOutcome::Done(Some(session.clone()))
            }
            (Write::Touch(key, expires_at), Some(row)) => {
                self.touch.push(Values::expiry_alone(key, *expires_at));
                WriteOutcome::Done(Some(Session { expires_at: row.expires_at.max(*expires_at), ..row.clone() }))
            }
            (Write::Delete(key), Some(_)) => {
                self.delete.push(key.expose());
                WriteOutcome::Done(None)
            }
            (Write::Lock(_), Some(row)) => WriteOutcome::Done(Some(row.clone())),
            (Write::Update(_) | Write::Touch(..) | Write::Delete(_) | Write::Lock(_), None) => WriteOutcome::Missing,
        }
    }
}
