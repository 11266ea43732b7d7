//! Sessions in an SQLite file, in a table of its layout.
//!
//! ```text
//!               ┌ bounded queue ─ writer thread:  BEGIN IMMEDIATE, every queued batch, COMMIT, then the answers
//! Sqlite ───────┤
//!  (async)      └ bounded queue ─ reader threads: one snapshot, every queued read, the answers
//! ```
//!
//! A thread owns its connection. So one hop serves a batch, statements stay prepared, a transaction is held open without a pool,
//! and all writes that waited while the last commit was on its way to the disk share the next one.

mod builder;
mod connection;
mod panics;
#[cfg(test)]
mod plans;
mod reader;
mod schema;
mod statements;
mod statistics;
mod value;
mod writer;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::Instant;

use async_trait::async_trait;

pub use self::builder::SqliteBuilder;
pub use self::connection::Synchronous;
use self::reader::ReadCommand;
use self::writer::WriteCommand;
use super::queues::{UntilClosed, closed};
use super::request::{Late, Request, request};
use super::transaction::{Open, Opening, Step};
use crate::fit;
use switchover_core::capabilities::{
    Cursor, Database, DatabaseError, ExpiredLeft, Feeds, Identity, Read, ReadOutcome, Scan, Statistics, Terms,
    Transaction, Upkeep, Write, WriteOutcome,
};
use switchover_core::{Column, Layout, Timestamp};

/// A database in an SQLite file, in a table of its layout; its clock is this machine's.
///
/// Cheap to clone: all clones are one database. When the last one is dropped, what is queued is done and the threads end;
/// [`Database::close`] also waits for that.
///
/// * **Durability.** An acknowledged write survives a power cut ([`Synchronous::Full`]). Writes that wait at the same time
///   share one commit: a lone save costs one flush of the disk, and so do 64 at once.
/// * **Beside other processes.** Django may use the same file. Whoever writes waits for the other, up to the deadline, then it is
///   [`DatabaseError::Conflict`] or [`DatabaseError::Timeout`] and nothing was written.
/// * **Time.** Django's text with `USE_TZ = True`: UTC. A project with `USE_TZ = False` stores local time and cannot share
///   its table.
/// * **Transactions.** SQLite has one writer at a time: from its first statement to its end a transaction keeps every other write
///   waiting, of other processes too.
/// * **Cost.** One hop to a thread and back; a read some microseconds beyond that, a write the flush of a disk, shared.
/// * **Cancel safety.** What is dropped while it is queued is not done; a write that has begun is.
#[derive(Clone)]
pub struct Sqlite {
    shared: Arc<Shared>,
}

struct Shared {
    queues: UntilClosed<Queues>,
    summary: String,
    layout: Layout,
}

struct Queues {
    writes: SyncSender<WriteCommand>,
    reads: SyncSender<ReadCommand>,
}

impl Sqlite {
    /// Opens the file at `path` with every option at its default; the file must be there.
    ///
    /// # Errors
    ///
    /// Those of [`SqliteBuilder::open`].
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, DatabaseError> {
        Self::builder(path).open().await
    }

    /// Options for the file at `path`.
    pub fn builder(path: impl AsRef<Path>) -> SqliteBuilder {
        SqliteBuilder::new(path.as_ref().to_path_buf())
    }

    /// Puts one command into the queue of the writer and waits for its answer until `deadline`.
    async fn send_write<T: Send>(
        &self,
        deadline: Instant,
        command: impl FnOnce(Request<T>) -> WriteCommand,
    ) -> Result<T, DatabaseError> {
        let (request, reply) = request(deadline)?;
        self.shared.queues.put(|queues| enqueue(&queues.writes, command(request)))?;
        reply.wait(Late::UnknownOutcome).await
    }

    /// Puts one command into the queue of the readers and waits for its answer until `deadline`.
    async fn send_read<T: Send>(
        &self,
        deadline: Instant,
        command: impl FnOnce(Request<T>) -> ReadCommand,
    ) -> Result<T, DatabaseError> {
        let (request, reply) = request(deadline)?;
        self.shared.queues.put(|queues| enqueue(&queues.reads, command(request)))?;
        reply.wait(Late::Timeout).await
    }
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sqlite({})", self.shared.summary)
    }
}

#[async_trait]
impl Database for Sqlite {
    async fn read(&self, batch: Vec<Read>, terms: Terms) -> Result<Vec<ReadOutcome>, DatabaseError> {
        let ask = |batch| self.send_read(terms.deadline, |request| ReadCommand::Read { batch, request });
        fit::read(self.layout(), batch, ask).await
    }

    async fn write(&self, batch: Vec<Write>, terms: Terms) -> Result<Vec<WriteOutcome>, DatabaseError> {
        let ask = |batch| self.send_write(terms.deadline, |request| WriteCommand::Write { batch, request });
        fit::write(self.layout(), batch, ask).await
    }

    async fn begin(&self, terms: Terms) -> Result<Box<dyn Transaction>, DatabaseError> {
        Ok(Box::new(Opening::new(self.clone(), self.layout(), &terms)))
    }

    fn layout(&self) -> Layout {
        self.shared.layout
    }

    fn upkeep(&self) -> &dyn Upkeep {
        self
    }

    /// Also moves the write-ahead log into the file, if no other process reads it.
    async fn close(&self) {
        self.shared.queues.close().await;
    }

    fn summary(&self) -> String {
        self.shared.summary.clone()
    }
}

impl Open for Sqlite {
    type Steps = SyncSender<Step>;

    fn open(&self, first: Step) -> Result<Self::Steps, DatabaseError> {
        // One step at a time.
        let (steps, later) = sync_channel(1);
        self.shared.queues.put(|queues| enqueue(&queues.writes, WriteCommand::Transaction { first, later }))?;
        Ok(steps)
    }
}

#[async_trait]
impl Upkeep for Sqlite {
    async fn delete_expired(
        &self,
        before: Option<Timestamp>,
        limit: u32,
        deadline: Instant,
    ) -> Result<u32, DatabaseError> {
        self.send_write(deadline, |request| WriteCommand::DeleteExpired { before, limit, request }).await
    }

    async fn expired_left(&self, before: Option<Timestamp>, deadline: Instant) -> Result<ExpiredLeft, DatabaseError> {
        self.send_read(deadline, |request| ReadCommand::ExpiredLeft { before, request }).await
    }

    async fn scan(&self, after: Option<Cursor>, limit: u32, deadline: Instant) -> Result<Scan, DatabaseError> {
        self.send_read(deadline, |request| ReadCommand::Scan { after, limit, request }).await
    }

    async fn identity(&self, deadline: Instant) -> Result<Option<Identity>, DatabaseError> {
        self.send_read(deadline, |request| ReadCommand::Identity { request }).await
    }

    /// SQLite has no replication of its own; what copies the file is not known here.
    async fn feeds(&self, deadline: Instant) -> Result<Feeds, DatabaseError> {
        let outgoing = self.send_read(deadline, |request| ReadCommand::Triggers { request }).await?;
        Ok(Feeds { outgoing, ..Feeds::default() })
    }

    async fn other_columns(&self, deadline: Instant) -> Result<Vec<Column>, DatabaseError> {
        self.send_read(deadline, |request| ReadCommand::OtherColumns { request }).await
    }

    async fn check_columns(&self, deadline: Instant) -> Result<(), DatabaseError> {
        self.send_read(deadline, |request| ReadCommand::CheckColumns { request }).await
    }

    async fn missing_schema(&self, deadline: Instant) -> Result<Vec<String>, DatabaseError> {
        self.send_read(deadline, |request| ReadCommand::MissingSchema { request }).await
    }

    async fn create_schema(&self, deadline: Instant) -> Result<Vec<String>, DatabaseError> {
        self.send_write(deadline, |request| WriteCommand::CreateSchema { request }).await
    }

    /// Every page of the table and its indexes is read. Only one reader is kept busy by it.
    async fn statistics(&self, deadline: Instant) -> Result<Statistics, DatabaseError> {
        self.send_read(deadline, |request| ReadCommand::Statistics { request }).await
    }
}

fn enqueue<C>(queue: &SyncSender<C>, command: C) -> Result<(), DatabaseError> {
    queue.try_send(command).map_err(|error| match error {
        TrySendError::Full(_) => DatabaseError::Overloaded,
        TrySendError::Disconnected(_) => closed(),
    })
}

fn unavailable(message: String) -> DatabaseError {
    DatabaseError::Unavailable { message }
}
