//! Reads and writes of sessions, their outcomes, and why a database made none of them.

use std::fmt;

use crate::{Session, SessionKey, Timestamp, Unfit, short_hash};

/// One read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// Loads the session, unless it has ended by the database's clock.
    Load(SessionKey),
    /// Asks whether there is a row. A row that has ended counts too.
    Exists(SessionKey),
}

/// The result of a read. Outcomes are in the order of the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// The result of [`Read::Load`]. The backend has compared the key of the row byte for byte.
    Session(Option<Session>),
    /// The result of [`Read::Exists`].
    Exists(bool),
    /// There is a row, but it cannot be read. This does not affect the rest of the batch.
    Unreadable(Unreadable),
}

/// One write. The writes of a batch must have different keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Inserts a row. The outcome is [`WriteOutcome::Exists`] if there is a row under this key, expired or not.
    Insert(Session),
    /// Updates payload and expiry. The outcome is [`WriteOutcome::Missing`] if there is no row under this key.
    Update(Session),
    /// Inserts or updates. Only mirrors and copies use it.
    Upsert(Session),
    /// Moves the expiry to a later instant, never to an earlier one. The outcome is [`WriteOutcome::Missing`] if there
    /// is no row.
    Touch(SessionKey, Timestamp),
    /// Deletes the row. The outcome is [`WriteOutcome::Missing`] if there is no row.
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

    /// How many bytes it carries in the payload and in the other columns.
    pub fn payload_len(&self) -> usize {
        match self {
            Self::Insert(session) | Self::Update(session) | Self::Upsert(session) => {
                session.payload.len() + session.others.bytes()
            }
            Self::Touch(..) | Self::Delete(_) => 0,
        }
    }
}

/// The result of a write. Outcomes are in the order of the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// The write was made. It has the row as it is after the write, expired or not, so that the row can be carried to a
    /// mirror. A transaction always returns the row. [`Database::write`](super::Database::write) leaves it out if that
    /// would take another read. After a delete it is `None`.
    Done(Option<Session>),
    /// There is already a row under this key. Nothing was written.
    Exists,
    /// There is no row under this key. Nothing was written.
    Missing,
}

/// A row that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The short hash of its key, as [`SessionKey::short_hash`] makes it. The key may be any bytes.
    pub row: String,
    /// What is wrong with it, in half a sentence: "has a payload that is not text".
    pub what: String,
}

impl Unreadable {
    /// Takes the bytes of the row's key, and what is wrong with the row.
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

/// Why a database did not do an operation. No variant holds a key or a payload.
///
/// The enum is exhaustive on purpose: after a new variant is added, the host must say how a call ends on it before it
/// compiles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseError {
    /// An argument is not valid: an address, a table's name, or a session that the layout cannot hold. The server was
    /// not asked.
    Invalid {
        /// What is wrong, and what to write instead.
        message: String,
    },
    /// The server could not be reached, or it refused. Nothing was written.
    Unavailable {
        /// The message of the server or of its driver.
        message: String,
    },
    /// The deadline passed before any statement that writes was sent.
    Timeout,
    /// A write or a commit was sent, and its outcome is not known.
    UnknownOutcome {
        /// What happened instead of an answer.
        message: String,
    },
    /// The queue of the database is full.
    Overloaded,
    /// A row or the table does not match the layout.
    Corrupt {
        /// What is wrong with it.
        message: String,
    },
    /// The caller's epoch is lower than the fence.
    Fenced,
    /// Somebody else held the row for too long, or the server broke a deadlock. Nothing was written.
    Conflict {
        /// The message of the server.
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
