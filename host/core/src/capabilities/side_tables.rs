//! The side tables of a migration: its fence, and for each key the key lock, the mark and the number.
//!
//! `docs/protocol.md` says why each of them is there. Every function here is one step of that protocol at one database,
//! for many keys.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;

use super::{DatabaseError, Epoch, Fence, Transaction, Unreadable, Write, WriteOutcome};
use crate::{Session, SessionKey};

/// Which of the two databases of a migration this one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The database that has the key locks. Writers lock the session row before the key's row.
    Old,
    /// The other one.
    New,
}

/// Counts the statements that the database without the key lock has executed for a key. No row is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Number(pub u64);

/// What tells one mark from every other mark of the same key: random for each write that marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(pub i64);

/// A note that the other database may lack this row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The key of the row.
    pub key: SessionKey,
    /// The token of the write that marked it last.
    pub token: Token,
}

/// A session row and the mark of its key, read in one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkedRow {
    /// The row, expired or not; `None`: there is none.
    pub row: Result<Option<Session>, Unreadable>,
    /// The token of the mark; `None`: the key has no mark.
    pub token: Option<Token>,
}

/// What a key is locked for. It decides what the lock does besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LockPurpose {
    /// A write of both databases: session rows are locked before the keys' rows, and each key gets a new number.
    Write,
    /// A copy from old to new: each key gets a new number, and its session row is read without a lock.
    CopyToNew,
    /// A copy from new to old: session rows are locked before the keys' rows, and no number changes.
    CopyToOld,
}

/// A key to lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyLock {
    /// The key.
    pub key: SessionKey,
    /// The number that new is known to have; 0 at the first attempt. The key's next number is above it.
    pub known: Number,
}

/// A key that is locked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedKey {
    /// The number of this write or copy; under [`LockPurpose::CopyToOld`] the last one that was given.
    pub number: Number,
    /// Under [`LockPurpose::CopyToNew`] the session row, expired or not. Otherwise `None`: the row is not read.
    pub row: Option<Session>,
}

/// What became of a batch of writes with numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Numbered {
    /// Every number was higher than the last one, and the batch was executed. Outcomes are in the order of the batch.
    /// The number of a key is kept also if its outcome is `Missing` or `Exists`.
    Done(Vec<WriteOutcome>),
    /// Nothing was executed, and no number was raised. These are the keys whose number was too low, each with the
    /// number that it has here.
    Late(Vec<(SessionKey, Number)>),
}

/// A transaction at old, which can also hold key locks. [`Transaction::write`] removes the marks of the keys that it
/// writes; it leaves the mark of a key whose write is refused as `Missing` or `Exists`, except of a delete.
#[async_trait]
pub trait KeyTransaction: Transaction {
    /// Locks keys, absent ones too, in their order. It waits for every other writer and every copy of these keys. The
    /// keys must be different. Answers are in the order of the given keys. One round trip, and another to read rows.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Conflict`] if a key stays busy; then the transaction is over, and each key may be tried alone.
    async fn lock_keys(&mut self, keys: Vec<KeyLock>, purpose: LockPurpose) -> Result<Vec<LockedKey>, DatabaseError>;

    /// Removes the marks of keys that this transaction has locked, whatever their tokens. For copies from old to new:
    /// a write removes the marks by itself.
    async fn clear_locked(&mut self, keys: Vec<SessionKey>) -> Result<(), DatabaseError>;
}

/// The side tables beside a session table. Plain reads, writes and transactions honour a fence too, if their
/// [`Terms`](super::Terms) carry one; this trait has what they cannot express.
///
/// A step that takes a [`Fence`] fails with [`DatabaseError::Fenced`] if the fence of the migration in this database is
/// higher, or if there is none. A step that writes holds the fence's lock in shared mode to its end, so that a raise
/// waits for it. Every function ends at `deadline`, even if the server does not answer.
///
/// Errors besides: those of [`Database`](super::Database); [`DatabaseError::Corrupt`] if [`SideTables::prepare`] was
/// not called, or the columns of the session table have changed since.
///
/// Cancel safety: what writes may still happen when its future is dropped.
#[async_trait]
pub trait SideTables: Send + Sync {
    /// The statements that would make what is missing; empty: everything is there.
    async fn missing(&self, deadline: Instant) -> Result<Vec<String>, DatabaseError>;

    /// Makes what is missing, and changes nothing that is there. Returns what it executed. Safe to repeat.
    async fn prepare(&self, deadline: Instant) -> Result<Vec<String>, DatabaseError>;

    /// Makes the fence of a migration, at epoch 1, if there is none. Safe to repeat.
    async fn make_fence(&self, migration: Arc<str>, deadline: Instant) -> Result<(), DatabaseError>;

    /// Where the fence of a migration stands; `None`: there is none. Waits for no lock.
    async fn fence(&self, migration: Arc<str>, deadline: Instant) -> Result<Option<Epoch>, DatabaseError>;

    /// Raises the fence to this epoch, and returns where it stands. It never falls: a fence that stands higher stays.
    /// Waits until every step that holds the fence's lock has ended; later steps queue behind it. A raise that has
    /// waited for three quarters of its time steps back.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Conflict`] if it stepped back; [`DatabaseError::Fenced`] if there is no such fence.
    async fn raise(&self, fence: Fence, deadline: Instant) -> Result<Epoch, DatabaseError>;

    /// Writes at home and marks each key that it writes, with a new token, in one transaction. The keys must be
    /// different. One round trip and one commit, which batches that wait together share. At old this waits for the key
    /// lock; at new it adds one to each number.
    ///
    /// A key whose write is refused as `Missing` or `Exists` gets no mark. A delete is never refused: it marks its key
    /// also if its outcome is `Missing`.
    async fn write_marked(
        &self,
        batch: Vec<Write>,
        home: Side,
        fence: Fence,
        deadline: Instant,
    ) -> Result<Vec<WriteOutcome>, DatabaseError>;

    /// Marks keys whose rows may differ between the two databases, without a write: after one whose outcome is not
    /// known. The keys must be different. For the rest as [`SideTables::write_marked`].
    async fn mark(
        &self,
        keys: Vec<SessionKey>,
        home: Side,
        fence: Fence,
        deadline: Instant,
    ) -> Result<(), DatabaseError>;

    /// Reads each key's row and mark, in one snapshot with the fence and without a lock. The keys must be different.
    /// Answers are in the order of the given keys.
    async fn rows(
        &self,
        keys: Vec<SessionKey>,
        fence: Fence,
        deadline: Instant,
    ) -> Result<Vec<MarkedRow>, DatabaseError>;

    /// Writes at new, if the number of each write is higher than its key's: all or nothing. The keys must be different.
    /// One round trip and one commit. Each [`WriteOutcome::Done`] has its row, except after a delete.
    async fn write_numbered(
        &self,
        batch: Vec<(Write, Number)>,
        fence: Fence,
        deadline: Instant,
    ) -> Result<Numbered, DatabaseError>;

    /// Begins a transaction at old that can hold key locks. Nothing is sent to the server before its first statement.
    async fn begin_with_keys(&self, fence: Fence, deadline: Instant) -> Result<Box<dyn KeyTransaction>, DatabaseError>;

    /// At most `limit` marks, the oldest first.
    async fn marks(&self, fence: Fence, limit: u32, deadline: Instant) -> Result<Vec<Mark>, DatabaseError>;

    /// Removes each of these marks, if it still has its token. Returns how many it removed.
    async fn clear_marks(&self, marks: Vec<Mark>, fence: Fence, deadline: Instant) -> Result<u64, DatabaseError>;

    /// Lets every later insert and update of the session table fail with these words: a program that still writes there
    /// was forgotten. Deletes and reads go on. Safe to repeat. Waits for writers that are under way. The words are cut
    /// to what the database can say, 128 characters on MySQL.
    async fn seal(&self, words: String, deadline: Instant) -> Result<(), DatabaseError>;

    /// How many marks there are. Cost: it looks at every mark.
    async fn count_marks(&self, fence: Fence, deadline: Instant) -> Result<u64, DatabaseError>;
}
