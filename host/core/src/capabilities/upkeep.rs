//! What tools and sweepers need of a database: its rows in pages, its schema, its statistics.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;

use super::{DatabaseError, Statistics, Unreadable};
use crate::{Column, Session, Timestamp, short_hash};

/// How busy the server of a database is, so that jobs can give way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strain {
    /// Statements that run at this moment, beside the one that asks; `None`: the server does not tell this user.
    pub active: Option<u64>,
    /// How many bytes of the log the slowest replica has yet to replay; `None`: the server does not tell this user.
    pub behind: Option<u64>,
}

impl Strain {
    /// Of a database that nobody else uses, and that has no replica.
    pub const NONE: Self = Self { active: Some(0), behind: Some(0) };
}

/// A page of a table, for tools: verification, backfill. Every row of the page is in one of the first three.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Unexpired rows; there may be more although these are fewer than the limit.
    pub sessions: Vec<Session>,
    /// How many rows have ended.
    pub expired: u64,
    /// Rows that cannot be read, whether they live or not. They do not stop the scan.
    pub unreadable: Vec<Unreadable>,
    /// Where to go on; `None`: this was the last page.
    pub next: Option<Cursor>,
}

/// Where a scan goes on: behind a row, by the bytes of its key, which may be no session key at all. `Debug` prints a
/// short hash.
#[derive(Clone, PartialEq, Eq)]
pub struct Cursor(Arc<[u8]>);

impl Cursor {
    /// Of bytes that only the backend that made it understands.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes. Never let them into a log, a metric or an error: they are a key.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cursor({})", short_hash(&self.0))
    }
}

/// Which table of which server a database is: two that are equal are one table, reached in two ways.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    text: String,
    /// What takes one writer at a time.
    writer: Option<String>,
}

impl Identity {
    /// Of a kind of database, and of what tells one table of that kind from every other.
    pub fn new(kind: &str, parts: &[&str]) -> Self {
        let text = std::iter::once(kind).chain(parts.iter().copied()).collect::<Vec<_>>().join("\n");
        Self { text, writer: None }
    }

    /// Of a table in `place`, which takes one writer at a time, whatever the table.
    #[must_use]
    pub fn with_one_writer(self, place: &str) -> Self {
        Self { writer: Some(place.to_owned()), ..self }
    }

    /// Whether a transaction on one of the two tables keeps every write out of the other.
    pub fn shares_its_writer_with(&self, other: &Self) -> bool {
        self.writer.is_some() && self.writer == other.writer
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", short_hash(self.text.as_bytes()))
    }
}

/// What keeps two tables alike behind the back of their applications, as a database tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Feeds {
    /// What brings rows into this table from elsewhere: a subscription, a primary that it replicates.
    pub incoming: Vec<String>,
    /// What carries this table's rows elsewhere: a publication, a replica.
    pub outgoing: Vec<String>,
    /// What could not be asked, and why.
    pub unknown: Vec<String>,
}

/// Rows that a deletion of expired rows has left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExpiredLeft {
    /// Rows that have ended.
    pub expired: u64,
    /// Rows whose end cannot be read, so that nobody knows whether they have.
    pub unreadable: u64,
}

/// What one step of a sweep did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Rows that it deleted.
    pub deleted: u32,
    /// Rows that the database refuses to delete: a trigger keeps them, or a reference.
    pub refused: u32,
    /// Rows that others held.
    pub held: u32,
    /// Why the database refused the last of them.
    pub reason: Option<String>,
    /// Whether there may be more rows behind those that it tried.
    pub more: bool,
}

impl Swept {
    /// How many of the rows that it tried are still there: as many the next step passes.
    pub fn passed(&self) -> u64 {
        u64::from(self.refused) + u64::from(self.held)
    }
}

/// The table behind a database, for those who look after it. Every function ends at `deadline`, whatever the server
/// does.
///
/// Cancel safety: what writes may still happen when its future is dropped.
#[async_trait]
pub trait Upkeep: Send + Sync {
    /// One step of a sweep. It tries to delete at most `limit` rows whose expiry is earlier than `before` and than now
    /// by the database's clock; `None`: than now. It takes them in the order of their ends, and passes the first
    /// `passed`.
    ///
    /// A row that the database refuses to delete, or that others hold, does not keep the others from being deleted.
    ///
    /// # Errors
    ///
    /// Only if the step has deleted nothing before. It may have deleted more than it counts if the outcome of a
    /// statement is unknown.
    async fn sweep(
        &self,
        before: Option<Timestamp>,
        passed: u64,
        limit: u32,
        deadline: Instant,
    ) -> Result<Swept, DatabaseError>;

    /// Deletes at most `limit` of the rows that [`Upkeep::sweep`] deletes, and returns how many. It passes as many
    /// others as it can until `deadline`.
    ///
    /// # Errors
    ///
    /// Only if it has deleted nothing before.
    async fn delete_expired(
        &self,
        before: Option<Timestamp>,
        limit: u32,
        deadline: Instant,
    ) -> Result<u32, DatabaseError> {
        let (mut deleted, mut passed) = (0, 0);
        loop {
            match self.sweep(before, passed, limit - deleted, deadline).await {
                Ok(swept) => {
                    deleted += swept.deleted;
                    passed += swept.passed();
                    if deleted == limit || !swept.more {
                        return Ok(deleted);
                    }
                }
                Err(_) if deleted > 0 => return Ok(deleted),
                Err(error) => return Err(error),
            }
        }
    }

    /// What a whole sweep with the same `before` has left: rows that the database refuses to delete or that others
    /// hold, and rows whose end cannot be read.
    async fn expired_left(&self, before: Option<Timestamp>, deadline: Instant) -> Result<ExpiredLeft, DatabaseError>;

    /// Reads at most `limit` rows behind `after`, `None`: from the first one, in the order in which the database sorts
    /// keys. A page holds about 4 MiB of payloads at most, and one row at least, so it may end before the limit. No row
    /// is passed over: what is not a session is expired or unreadable.
    async fn scan(&self, after: Option<Cursor>, limit: u32, deadline: Instant) -> Result<Scan, DatabaseError>;

    /// How busy its server is.
    async fn strain(&self, _deadline: Instant) -> Result<Strain, DatabaseError> {
        Ok(Strain::NONE)
    }

    /// Which table this is; `None`: it cannot be told. Tools and hosts refuse to take one table for two.
    async fn identity(&self, _deadline: Instant) -> Result<Option<Identity>, DatabaseError> {
        Ok(None)
    }

    /// What keeps this table like another one behind the back of its applications, as far as this database tells.
    async fn feeds(&self, _deadline: Instant) -> Result<Feeds, DatabaseError> {
        let unknown = vec!["it does not tell whether it is replicated".to_owned()];
        Ok(Feeds { unknown, ..Feeds::default() })
    }

    /// The columns of the table beside those of a session, by name; empty also if there is no table. From then on they
    /// are read and written with each row.
    async fn other_columns(&self, _deadline: Instant) -> Result<Vec<Column>, DatabaseError> {
        Ok(Vec::new())
    }

    /// Whether the columns that sessions need are the layout's, and all rows can be seen. Further columns are no matter
    /// here, and neither is a table that is not there yet.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Corrupt`] with what is different, and the statement that mends it where there is one.
    async fn check_columns(&self, _deadline: Instant) -> Result<(), DatabaseError> {
        Ok(())
    }

    /// The statements that would make what is missing of the table and its indexes; empty: everything is there.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Corrupt`] if a table of that name is there and is not of the layout.
    async fn missing_schema(&self, deadline: Instant) -> Result<Vec<String>, DatabaseError>;

    /// Makes what is missing of the table and its indexes, and changes nothing that is there. Answers what it did.
    async fn create_schema(&self, deadline: Instant) -> Result<Vec<String>, DatabaseError>;

    /// Counts what the table holds and asks how much room it takes, while it is in use; for tools. Cost: every row is
    /// looked at once, without a lock that a write would wait for, so its deadline is minutes rather than seconds on a
    /// large table.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Timeout`] at the deadline, with nothing counted; [`DatabaseError::Corrupt`] if there is no such
    /// table.
    async fn statistics(&self, deadline: Instant) -> Result<Statistics, DatabaseError>;
}
