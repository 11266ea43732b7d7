//! The rows of the control tables as values of the capability.

use std::sync::Arc;
use std::time::Duration;

use switchover_core::Timestamp;
use switchover_core::capabilities::{
    Cursor, DatabaseError, Decision, Document, Epoch, HostRow, JobRow, LoggedDecision, Member, Progress,
};

use super::port::{Trouble, Value};

/// The values of a row, taken one after the other.
pub(super) struct Columns(std::vec::IntoIter<Value>);

impl Columns {
    pub(super) fn of(row: Vec<Value>) -> Self {
        Self(row.into_iter())
    }

    pub(super) fn number_or_null(&mut self) -> Result<Option<u64>, Trouble> {
        match self.0.next() {
            Some(Value::Int(Some(number))) => u64::try_from(number).map(Some).map_err(|_| wrong("is below zero")),
            Some(Value::Int(None) | Value::Null) => Ok(None),
            _ => Err(wrong("is no whole number")),
        }
    }

    pub(super) fn number(&mut self) -> Result<u64, Trouble> {
        self.number_or_null()?.ok_or_else(|| wrong("is NULL"))
    }

    pub(super) fn text_or_null(&mut self) -> Result<Option<String>, Trouble> {
        match self.0.next() {
            Some(Value::Text(text)) => Ok(text),
            Some(Value::Null) => Ok(None),
            _ => Err(wrong("is no text")),
        }
    }

    pub(super) fn text(&mut self) -> Result<String, Trouble> {
        self.text_or_null()?.ok_or_else(|| wrong("is NULL"))
    }

    fn name(&mut self) -> Result<Arc<str>, Trouble> {
        Ok(self.text()?.into())
    }

    fn epoch(&mut self) -> Result<Epoch, Trouble> {
        Ok(Epoch(self.number()?))
    }

    fn epoch_or_null(&mut self) -> Result<Option<Epoch>, Trouble> {
        Ok(self.number_or_null()?.map(Epoch))
    }

    fn instant(&mut self) -> Result<Timestamp, Trouble> {
        Ok(Timestamp::from_micros(self.number()?))
    }

    pub(super) fn document(&mut self) -> Result<Document, Trouble> {
        Ok(Document {
            migration: self.name()?,
            version: self.number()?,
            epoch: self.epoch()?,
            phase: self.text()?,
            profile: self.text()?,
            policy: self.text()?,
            flags: self.text()?,
            sealed: self.epoch()?,
            settled: self.epoch_or_null()?,
            verified: self.epoch_or_null()?,
            backfilled: self.epoch_or_null()?,
            held: self.text_or_null()?,
            rate: self.number_or_null()?,
            old: self.text()?,
            new: self.text()?,
            since: self.instant()?,
            continued_by: self.text_or_null()?,
        })
    }

    /// The columns of a host, and then the present time.
    pub(super) fn host(&mut self) -> Result<HostRow, Trouble> {
        let member = Member { migration: self.name()?, host: self.name()?, incarnation: self.name()? };
        let (acknowledged, lease_until) = (self.epoch()?, self.number()?);
        let (given_up, about, now) = (self.epoch_or_null()?, self.text()?, self.number()?);
        Ok(HostRow { member, acknowledged, lease_left: left(lease_until, now), given_up, about })
    }

    pub(super) fn progress(&mut self) -> Result<Progress, Trouble> {
        let position = self.text_or_null()?.map(|text| from_hex(&text)).transpose()?;
        Ok(Progress { position, done: self.number()?, total: self.number_or_null()?, note: self.text()? })
    }

    /// The columns of a job, and then the present time.
    pub(super) fn job(&mut self) -> Result<JobRow, Trouble> {
        let (migration, job) = (self.name()?, self.text()?);
        let holder = Member { migration, host: self.name()?, incarnation: self.name()? };
        let (lease_until, epoch, progress) = (self.number()?, self.epoch()?, self.progress()?);
        let (began, reported, now) = (self.instant()?, self.instant()?, self.number()?);
        Ok(JobRow { job, holder, lease_left: left(lease_until, now), epoch, progress, began, reported })
    }

    pub(super) fn logged(&mut self) -> Result<LoggedDecision, Trouble> {
        let at = self.instant()?;
        let decision = Decision { epoch: self.epoch()?, decision: self.text()?, guards: self.text()? };
        Ok(LoggedDecision { at, decision })
    }
}

fn left(until: u64, now: u64) -> Option<Duration> {
    until.checked_sub(now).filter(|left| *left > 0).map(Duration::from_micros)
}

fn wrong(what: &str) -> Trouble {
    let message = format!("a column of the control tables {what}: a newer program has made them, or they were changed");
    Trouble::Refused(DatabaseError::Corrupt { message })
}

/// A document as the values of its columns, in their order, with these two instead of its own.
pub(super) fn of_document(document: Document, version: u64) -> Vec<Value> {
    let epoch = |epoch: Option<Epoch>| Value::int_or_null(epoch.map(|epoch| epoch.0));
    vec![
        Value::text(&*document.migration),
        Value::int(version),
        Value::int(document.epoch.0),
        Value::text(document.phase),
        Value::text(document.profile),
        Value::text(document.policy),
        Value::text(document.flags),
        Value::int(document.sealed.0),
        epoch(document.settled),
        epoch(document.verified),
        epoch(document.backfilled),
        Value::Text(document.held),
        Value::int_or_null(document.rate),
        Value::text(document.old),
        Value::text(document.new),
        Value::int(document.since.as_micros()),
        Value::Text(document.continued_by),
    ]
}

pub(super) fn of_progress(progress: Progress) -> Vec<Value> {
    let position = progress.position.map(|position| to_hex(position.expose()));
    vec![
        Value::Text(position),
        Value::int(progress.done),
        Value::int_or_null(progress.total),
        Value::text(progress.note),
    ]
}

/// Bytes of a cursor may be no text.
fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Result<Cursor, Trouble> {
    let byte = |at| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let bytes: Option<Vec<u8>> = (0..text.len()).step_by(2).map(byte).collect();
    bytes.map(Cursor::new).ok_or_else(|| wrong("is no position"))
}
