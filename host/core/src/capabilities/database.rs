//! A database of sessions: reads, writes and transactions. Each takes many keys, so that many waiting operations share
//! a round trip.

use std::sync::Arc;

use async_trait::async_trait;

use super::{DatabaseError, Endpoint, Read, ReadOutcome, SideTables, Terms, Transaction, Upkeep, Write, WriteOutcome};
use crate::Layout;

/// A database of sessions, as calls need it. Every function returns by the deadline of its terms, even if the server
/// does not answer.
///
/// Cancel safety: the write may still happen if its future is dropped. The host never drops one: it runs each write in
/// a task of its own.
#[async_trait]
pub trait Database: Send + Sync {
    /// Reads sessions, in no particular order. The reads of a batch do not share a transaction.
    async fn read(&self, batch: Vec<Read>, terms: Terms) -> Result<Vec<ReadOutcome>, DatabaseError>;

    /// Writes and commits. When it returns, either all writes are durable or none was made.
    async fn write(&self, batch: Vec<Write>, terms: Terms) -> Result<Vec<WriteOutcome>, DatabaseError>;

    /// Begins a transaction. Nothing is sent to the server before its first statement.
    async fn begin(&self, terms: Terms) -> Result<Box<dyn Transaction>, DatabaseError>;

    /// The layout of the table; it says which sessions the table can hold. A write of any other session fails with
    /// [`DatabaseError::Invalid`]. A read of a key that the table cannot hold finds no row.
    fn layout(&self) -> Layout;

    /// Returns the functions for tools and sweepers.
    fn upkeep(&self) -> &dyn Upkeep;

    /// The side tables of migrations; `None`: this database cannot have them, and refuses
    /// [`Terms`] with a fence.
    fn side_tables(&self) -> Option<&dyn SideTables> {
        None
    }

    /// Waits for the operations in progress and closes the connections. Later operations fail with
    /// [`DatabaseError::Unavailable`].
    async fn close(&self);

    /// Names the database for people, without passwords ("sqlite at old.sqlite3, table django_session").
    fn summary(&self) -> String;

    /// Where it is, for traces. By default nothing is known but that it is a database.
    fn endpoint(&self) -> Endpoint {
        Endpoint::of("other_sql")
    }
}

/// A database, or one that is already shared.
pub trait IntoDatabase {
    /// Returns it as a shared database.
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
