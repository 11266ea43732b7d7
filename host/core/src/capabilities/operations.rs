//! Reads and writes of sessions, what each comes to, and why none was made.

use std::fmt;

use crate::{Session, SessionKey, Timestamp, Unfit, short_hash};

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
}

impl Write {
    /// The key it writes.
    pub fn key(&self) -> &SessionKey {
        match self {
            Self::Insert(session) | Self::Update(session) | Self::Upsert(session) => &session.key,
            Self::Touch(key, _) | Self::Delete(key) => key,
        }
    }

    /// Bytes of payload that it carries, and of other columns.
    pub fn payload_len(&self) -> usize {
        match self {
            Self::Insert(session) | Self::Update(session) | Self::Upsert(session) => {
                session.payload.len() + session.others.bytes()
            }
            Self::Touch(..) | Self::Delete(_) => 0,
        }
    }
}

/// What a write did, in the order of the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// It was done. The row as it is after the write, expired or not, to be carried to a mirror: in a transaction always, of [`Database::write`](super::Database::write) unless it would have to be read for that. `None` after a delete.
    Done(Option<Session>),
    /// A row is under this key already. Nothing was written.
    Exists,
    /// No row is under this key. Nothing was written.
    Missing,
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

/// Why a database did not do what it was asked. No case holds a key or a payload.
///
/// It is exhaustive: a new case shall not compile until the host says what becomes of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseError {
    /// What it was asked with cannot be: an address, a table's name, a session that its layout cannot hold. Nothing was asked of the
    /// server.
    Invalid {
        /// What is wrong, and what to write instead.
        message: String,
    },
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
    /// A row, or the table, is not what its layout says.
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
            Self::Invalid { message } => f.write_str(message),
            Self::Unavailable { message } => write!(f, "unavailable: {message}"),
            Self::Timeout => f.write_str("no answer before the deadline; nothing was written"),
            Self::UnknownOutcome { message } => write!(f, "the outcome of a write is not known: {message}"),
            Self::Overloaded => f.write_str("too many operations are waiting"),
            Self::Corrupt { message } => write!(f, "not a session table or row of its layout: {message}"),
            Self::Fenced => f.write_str("a newer epoch is in force"),
            Self::Conflict { message } => write!(f, "in conflict with another write: {message}"),
        }
    }
}

impl std::error::Error for DatabaseError {}

impl From<Unfit> for DatabaseError {
    fn from(unfit: Unfit) -> Self {
        Self::Invalid { message: unfit.to_string() }
    }
}
