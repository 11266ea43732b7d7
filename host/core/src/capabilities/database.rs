//! A database of sessions: reads, writes and transactions, each of many keys, so that many waiting operations share a round trip.

use std::sync::Arc;

use async_trait::async_trait;

use super::{DatabaseError, Read, ReadOutcome, Terms, Transaction, Upkeep, Write, WriteOutcome};
use crate::Layout;

/// A database of sessions, as calls need it. Every function ends at the deadline of its terms, whatever the server does.
///
/// Cancel safety: a write whose future is dropped may still happen. The host never drops one: each runs in a task of its own.
#[async_trait]
pub trait Database: Send + Sync {
    /// Reads, in no particular order and without a transaction over the batch.
    async fn read(&self, batch: Vec<Read>, terms: Terms) -> Result<Vec<ReadOutcome>, DatabaseError>;

    /// Writes and commits. When it returns, the writes are durable, all of them or none.
    async fn write(&self, batch: Vec<Write>, terms: Terms) -> Result<Vec<WriteOutcome>, DatabaseError>;

    /// Begins a transaction, which is sent with its first statement.
    async fn begin(&self, terms: Terms) -> Result<Box<dyn Transaction>, DatabaseError>;

    /// Which sessions it can hold. A session that it cannot is [`DatabaseError::Invalid`] to whoever writes it; under a key that it
    /// cannot hold there is no row.
    fn layout(&self) -> Layout;

    /// What tools and sweepers need of it.
    fn upkeep(&self) -> &dyn Upkeep;

    /// Ends connections and waits for what is under way. Operations after it are [`DatabaseError::Unavailable`].
    async fn close(&self);

    /// For people: which database this is, without passwords ("sqlite at old.sqlite3, table django_session").
    fn summary(&self) -> String;
}

/// A database, or one that is shared already.
pub trait IntoDatabase {
    /// Shares it.
    fn into_database(self) -> Arc<dyn Database>;
}

impl<D: Database + 'static> IntoDatabase for D {
    fn into_database(self) -> Arc<dyn Database> {
        Arc::new(self)
    }
}

impl IntoDatabase for Arc<dyn Database> {
    fn into_database(self) -> Arc<dyn Database> {
        self
    }
}
