//! A database of sessions: reads, writes and held writes, each a batch, so that many waiting operations share a round trip.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;

use super::statistics::Statistics;
use crate::{Session, SessionKey, Timestamp, short_hash};

/// The number that grows with each change of phase, flags or policy. A database whose fence is higher refuses the operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u64);

/// One read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// The session, unless it has ended by the database's clock.
    Load(SessionKey),
    /// Whether there is a row, also one that has ended.
    Exists(SessionKey),
}

/// What a read found, in the order of the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// Of [`Read::Load`]. The key of the row was compared byte for byte.
    Session(Option<Session>),
    /// Of [`Read::Exists`].
    Exists(bool),
    /// There is a row, and it cannot be read. The rest of the batch is as good as without it.
    Unreadable(Unreadable),
}

/// One write. No two of a batch may have the same key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Inserts; a row under this key, expired or not, is [`WriteOutcome::Exists`].
    Insert(Session),
    /// Updates payload and expiry; no row under this key is [`WriteOutcome::Missing`].
    Update(Session),
    /// Inserts or updates: for mirrors and copies alone.
    Upsert(Session),
    /// Moves the expiry to a later instant, never to an earlier one; no row is [`WriteOutcome::Missing`].
    Touch(SessionKey, Timestamp),
    /// Deletes; no row is [`WriteOutcome::Missing`].
    Delete(SessionKey),
    /// Locks the row and leaves it as it is; no row is [`WriteOutcome::Missing`].
    Lock(SessionKey),
}

impl Write {
    /// The key it writes.
    pub fn key(&self) -> &SessionKey {
        match self {
            Self::Insert(session) | Self::Update(session) | Self::Upsert(session) => &session.key,
            Self::Touch(key, _) | Self::Delete(key) | Self::Lock(key) => key,
        }
    }

    /// Bytes of payload that it carries.
    pub fn payload_len(&self) -> usize {
        match self {
            Self::Insert(session) | Self::Update(session) | Self::Upsert(session) => session.payload.len(),
            Self::Touch(..) | Self::Delete(_) | Self::Lock(_) => 0,
        }
    }
}

/// What a write did, in the order of the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// It was done. The row as it is after the write, expired or not, to be carried to a mirror: of [`Database::hold`] always, of
    /// [`Database::write`] unless it would have to be read for that. `None` after a delete.
    Done(Option<Session>),
    /// A row is under this key already. Nothing was written.
    Exists,
    /// No row is under this key. Nothing was written.
    Missing,
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

/// A row that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The short hash of its key, as [`SessionKey::short_hash`] makes it, whatever the bytes of the key are.
    pub row: String,
    /// What is wrong with it, in half a sentence: "has a payload that is not text".
    pub what: String,
}

impl Unreadable {
    /// A row by the bytes of its key, and what is wrong with it.
    pub fn new(key: &[u8], what: impl Into<String>) -> Self {
        Self { row: short_hash(key), what: what.into() }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the row {} {}", self.row, self.what)
    }
}

impl From<Unreadable> for DatabaseError {
    fn from(row: Unreadable) -> Self {
        Self::Corrupt { message: row.to_string() }
    }
}

/// Where a scan goes on: behind a row, by the bytes of its key, which may be no session key at all. `Debug` prints a short hash.
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
pub struct Identity(String);

impl Identity {
    /// Of a kind of database, and of what tells one table of that kind from every other.
    pub fn new(kind: &str, parts: &[&str]) -> Self {
        Self(std::iter::once(kind).chain(parts.iter().copied()).collect::<Vec<_>>().join("\n"))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", short_hash(self.0.as_bytes()))
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

/// A database of sessions. Every function ends at `deadline`, whatever the server does.
///
/// `epoch` goes with each operation so that a database with a fence can refuse it; `None`: the caller takes part in no migration.
///
/// Cancel safety: a write whose future is dropped may still happen. The host never drops one: each runs in a task of its own.
#[async_trait]
pub trait Database: Send + Sync {
    /// Reads, in no particular order and without a transaction over the batch.
    async fn read(
        &self,
        batch: Vec<Read>,
        epoch: Option<Epoch>,
        deadline: Instant,
    ) -> Result<Vec<ReadOutcome>, DatabaseError>;

    /// Writes and commits. When it returns, the writes are durable, all of them or none.
    async fn write(
        &self,
        batch: Vec<Write>,
        epoch: Option<Epoch>,
        deadline: Instant,
    ) -> Result<Vec<WriteOutcome>, DatabaseError>;

    /// Writes without commit: the rows of the batch are locked until [`Held::commit`] or [`Held::roll_back`], at most until
    /// `deadline`, when it rolls back by itself. An error means that nothing is held and nothing was written.
    async fn hold(
        &self,
        batch: Vec<Write>,
        epoch: Option<Epoch>,
        deadline: Instant,
    ) -> Result<Box<dyn Held>, DatabaseError>;

    /// Deletes at most `limit` rows whose expiry is earlier than `before` and than now by the database's clock; `None`: than now.
    async fn delete_expired(
        &self,
        before: Option<Timestamp>,
        limit: u32,
        deadline: Instant,
    ) -> Result<u32, DatabaseError>;

    /// Reads at most `limit` rows behind `after`, `None`: from the first one, in the order in which the database sorts keys. A page holds
    /// about 4 MiB of payloads at most, and one row at least, so it may end before the limit. No row is passed over: what is not
    /// a session is expired or unreadable.
    async fn scan(&self, after: Option<Cursor>, limit: u32, deadline: Instant) -> Result<Scan, DatabaseError>;

    /// Which table this is; `None`: it cannot be told. Tools and hosts refuse to take one table for two.
    async fn identity(&self, _deadline: Instant) -> Result<Option<Identity>, DatabaseError> {
        Ok(None)
    }

    /// What keeps this table like another one behind the back of its applications, as far as this database tells.
    async fn feeds(&self, _deadline: Instant) -> Result<Feeds, DatabaseError> {
        let unknown = vec!["it does not tell whether it is replicated".to_owned()];
        Ok(Feeds { unknown, ..Feeds::default() })
    }

    /// Whether the columns that sessions need are Django's, and all rows can be seen. Further columns are no matter here, and neither is a
    /// table that is not there yet.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Corrupt`] with what is different, and the statement that mends it where there is one.
    async fn check_columns(&self, _deadline: Instant) -> Result<(), DatabaseError> {
        Ok(())
    }

    /// What [`Database::delete_expired`] with the same `before` has left, because others hold it or because its end cannot be read.
    async fn expired_left(&self, before: Option<Timestamp>, deadline: Instant) -> Result<ExpiredLeft, DatabaseError>;

    /// The statements that would make what is missing of the table and its indexes; empty: everything is there.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Corrupt`] if a table of that name is there and is not Django's.
    async fn missing_schema(&self, deadline: Instant) -> Result<Vec<String>, DatabaseError>;

    /// Makes what is missing of the table and its indexes, and changes nothing that is there. Answers what it did.
    async fn create_schema(&self, deadline: Instant) -> Result<Vec<String>, DatabaseError>;

    /// Counts what the table holds and asks how much room it takes, while it is in use; for tools. Cost: every row is looked at
    /// once, without a lock that a write would wait for, so its deadline is minutes rather than seconds on a large table.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Timeout`] at the deadline, with nothing counted; [`DatabaseError::Corrupt`] if there is no such table.
    async fn statistics(&self, deadline: Instant) -> Result<Statistics, DatabaseError>;

    /// Ends connections and waits for what is under way. Operations after it are [`DatabaseError::Unavailable`].
    async fn close(&self);

    /// For people: which database this is, without passwords ("sqlite at old.sqlite3, table django_session").
    fn summary(&self) -> String;
}

/// Writes that are done but not committed. Dropped without a decision, they are rolled back.
#[async_trait]
pub trait Held: Send {
    /// What each write did.
    fn outcomes(&self) -> &[WriteOutcome];

    /// Makes the writes durable. [`DatabaseError::UnknownOutcome`]: the commit was sent and did not answer.
    async fn commit(self: Box<Self>) -> Result<(), DatabaseError>;

    /// Undoes the writes and frees the locks.
    async fn roll_back(self: Box<Self>);
}

/// Why a database did not do what it was asked. No case holds a key or a payload.
///
/// It is exhaustive: a new case shall not compile until the host says what becomes of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseError {
    /// It could not be reached, or refused; nothing was written.
    Unavailable {
        /// What it said.
        message: String,
    },
    /// The deadline passed before anything was sent that could write.
    Timeout,
    /// A write or a commit was sent and its outcome is not known.
    UnknownOutcome {
        /// What happened instead of an answer.
        message: String,
    },
    /// Its queue is full.
    Overloaded,
    /// A row, or the table, is not what Django makes.
    Corrupt {
        /// What is wrong with it.
        message: String,
    },
    /// The caller's epoch is behind the fence.
    Fenced,
    /// Somebody else held the row for too long, or a deadlock was broken; nothing was written.
    Conflict {
        /// What it said.
        message: String,
    },
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable { message } => write!(f, "unavailable: {message}"),
            Self::Timeout => f.write_str("no answer before the deadline; nothing was written"),
            Self::UnknownOutcome { message } => write!(f, "the outcome of a write is not known: {message}"),
            Self::Overloaded => f.write_str("too many operations are waiting"),
            Self::Corrupt { message } => write!(f, "not a session table or row of Django's: {message}"),
            Self::Fenced => f.write_str("a newer epoch is in force"),
            Self::Conflict { message } => write!(f, "in conflict with another write: {message}"),
        }
    }
}

impl std::error::Error for DatabaseError {}

/// A database that is shared, with a tool that looks at it for example.
#[async_trait]
impl<D: Database + ?Sized> Database for Arc<D> {
    async fn read(
        &self,
        batch: Vec<Read>,
        epoch: Option<Epoch>,
        deadline: Instant,
    ) -> Result<Vec<ReadOutcome>, DatabaseError> {
        (**self).read(batch, epoch, deadline).await
    }

    async fn write(
        &self,
        batch: Vec<Write>,
        epoch: Option<Epoch>,
        deadline: Instant,
    ) -> Result<Vec<WriteOutcome>, DatabaseError> {
        (**self).write(batch, epoch, deadline).await
    }

    async fn hold(
        &self,
        batch: Vec<Write>,
        epoch: Option<Epoch>,
        deadline: Instant,
    ) -> Result<Box<dyn Held>, DatabaseError> {
        (**self).hold(batch, epoch, deadline).await
    }

    async fn delete_expired(
        &self,
        before: Option<Timestamp>,
        limit: u32,
        deadline: Instant,
    ) -> Result<u32, DatabaseError> {
        (**self).delete_expired(before, limit, deadline).await
    }

    async fn scan(&self, after: Option<Cursor>, limit: u32, deadline: Instant) -> Result<Scan, DatabaseError> {
        (**self).scan(after, limit, deadline).await
    }

    async fn identity(&self, deadline: Instant) -> Result<Option<Identity>, DatabaseError> {
        (**self).identity(deadline).await
    }

    async fn feeds(&self, deadline: Instant) -> Result<Feeds, DatabaseError> {
        (**self).feeds(deadline).await
    }

    async fn check_columns(&self, deadline: Instant) -> Result<(), DatabaseError> {
        (**self).check_columns(deadline).await
    }

    async fn expired_left(&self, before: Option<Timestamp>, deadline: Instant) -> Result<ExpiredLeft, DatabaseError> {
        (**self).expired_left(before, deadline).await
    }

    async fn missing_schema(&self, deadline: Instant) -> Result<Vec<String>, DatabaseError> {
        (**self).missing_schema(deadline).await
    }

    async fn create_schema(&self, deadline: Instant) -> Result<Vec<String>, DatabaseError> {
        (**self).create_schema(deadline).await
    }

    async fn statistics(&self, deadline: Instant) -> Result<Statistics, DatabaseError> {
        (**self).statistics(deadline).await
    }

    async fn close(&self) {
        (**self).close().await;
    }

    fn summary(&self) -> String {
        (**self).summary()
    }
}
