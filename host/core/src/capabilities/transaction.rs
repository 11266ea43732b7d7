//! A transaction: statement after statement for many keys, until it is decided.

use async_trait::async_trait;

use super::{DatabaseError, Write, WriteOutcome};
use crate::{Session, SessionKey};

/// Statements in one transaction, under the terms that it was begun with. It has no effect outside until it is committed, and rolls back by
/// itself at the deadline, when it is dropped, and when a statement of it fails: every later one fails too.
///
/// It travels with its first statement, so a transaction without one costs nothing. The rows of its statements stay locked until it ends; to
/// lock the keys of a batch in their order keeps two transactions from waiting for each other.
#[async_trait]
pub trait Transaction: Send {
    /// Locks keys and reads their rows, expired or not, in the order of the keys given; `None`: there is no row, and nobody makes one before
    /// the transaction ends. No two of them may be the same.
    async fn lock(&mut self, keys: Vec<SessionKey>) -> Result<Vec<Option<Session>>, DatabaseError>;

    /// Writes; each outcome that is done has its row. No two of a batch may have the same key.
    async fn write(&mut self, batch: Vec<Write>) -> Result<Vec<WriteOutcome>, DatabaseError>;

    /// Makes the writes durable. [`DatabaseError::UnknownOutcome`]: the commit was sent and did not answer.
    async fn commit(self: Box<Self>) -> Result<(), DatabaseError>;

    /// Undoes the writes and frees the locks.
    async fn roll_back(self: Box<Self>);
}
