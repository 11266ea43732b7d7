//! A transaction: a sequence of statements for many keys, until it commits or rolls back.

use async_trait::async_trait;

use super::{DatabaseError, Write, WriteOutcome};
use crate::{Session, SessionKey};

/// Statements in one transaction, under the terms given when it began. Nobody outside sees its effects before it
/// commits. It rolls back by itself at the deadline, when it is dropped, and when one of its statements fails; then
/// every later statement fails too.
///
/// It begins on the server with its first statement, so a transaction without statements costs nothing. The rows of its
/// statements stay locked until it ends. Two transactions that both lock the keys of a batch in key order cannot wait
/// for each other.
#[async_trait]
pub trait Transaction: Send {
    /// Locks keys and reads their rows, expired or not. The results are in the order of the given keys. `None`: there
    /// is no row, and nobody can insert one before the transaction ends. The keys must be different.
    async fn lock(&mut self, keys: Vec<SessionKey>) -> Result<Vec<Option<Session>>, DatabaseError>;

    /// Writes. Each [`WriteOutcome::Done`] has its row, except after a delete. The writes of a batch must have
    /// different keys.
    async fn write(&mut self, batch: Vec<Write>) -> Result<Vec<WriteOutcome>, DatabaseError>;

    /// Makes the writes durable. Fails with [`DatabaseError::UnknownOutcome`] if the commit was sent and not answered.
    async fn commit(self: Box<Self>) -> Result<(), DatabaseError>;

    /// Undoes the writes and releases the locks.
    async fn roll_back(self: Box<Self>);
}
