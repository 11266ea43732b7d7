//! Sessions in an SQLite file, in a table of a layout.
//!
//! ```text
//!               ┌ bounded queue ─ writer thread:  BEGIN IMMEDIATE, every queued batch, COMMIT, then the answers
//! Sqlite ───────┤
//!  (async)      └ bounded queue ─ reader threads: one snapshot, every queued read, the answers
//! ```
//!
//! Each thread owns a connection. So a batch needs one hop to a thread, statements stay prepared, and a transaction is
//! kept open without a pool. All writes that waited during the last commit share the next one.

mod builder;
mod connection;
mod control;
mod panics;
#[cfg(test)]
mod plans;
mod reader;
mod schema;
mod side;
mod side_tables;
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
pub(crate) use self::control::SqliteControl;
use self::reader::ReadCommand;
use self::writer::WriteCommand;
use super::queues::{UntilClosed, closed};
use super::request::{Late, Request, request};
use super::transaction::{Open, Opening, Step};
use crate::fit;
use crate::manner::Manner;
use crate::sweep::Sweep;
use switchover_core::capabilities::{
    Cursor, Database, DatabaseError, Endpoint, ExpiredLeft, Feeds, Fence, Identity, Read, ReadOutcome, Scan,
    SideTables, Statistics, Swept, Terms, Transaction, Upkeep, Write, WriteOutcome,
};
use switchover_core::{Column, Layout, Timestamp};

/// A database in an SQLite file, in a table of a layout. By default the machine's clock decides which sessions have
/// ended.
///
/// Cheap to clone: all clones are one database. When the last one is dropped, the queued operations are still done and
/// then the threads end; [`Database::close`] also waits for that.
///
/// - **Durability.** An acknowledged write survives a power cut ([`Synchronous::Full`]). Writes that wait at the same
///   time share one commit: a single save costs one flush of the disk, and so do 64 at once.
/// - **Other processes.** Another process may use the same file, Django for example. A writer waits for another one
///   until its deadline. Then it fails with [`DatabaseError::Conflict`] or [`DatabaseError::Timeout`], and nothing was
///   written.
/// - **Time.** Text as Django writes it with `USE_TZ = True`: UTC. A project with `USE_TZ = False` stores local time
///   and cannot share its table.
/// - **Transactions.** SQLite has one writer at a time. From its first statement to its end, a transaction blocks every
///   other write, also of other processes.
/// - **Cost.** One hop to a thread and back. A read takes some microseconds more, a write the flush of a disk, which it
///   may share.
/// - **Cancel safety.** An operation that is dropped while it is queued is not done. A write that has begun is
///   finished.
#[derive(Clone)]
pub struct Sqlite {
    shared: Arc<Shared>,
}

struct Shared {
    queues: UntilClosed<Queues>,
    summary: String,
    endpoint: Endpoint,
    layout: Layout,
}

struct Queues {
    writes: SyncSender<WriteCommand>,
    reads: SyncSender<ReadCommand>,
}

impl Sqlite {
    /// Opens the file at `path` with the default of every option; the file must exist.
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

    async fn write_as(
        &self,
        batch: Vec<Write>,
        manner: Manner,
        deadline: Instant,
    ) -> Result<Vec<WriteOutcome>, DatabaseError> {
        let ask = |batch| self.send_write(deadline, |request| WriteCommand::Write { batch, manner, request });
        fit::write(self.layout(), batch, ask).await
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
        let Terms { deadline, fence } = terms;
        let ask = |batch| self.send_read(deadline, |request| ReadCommand::Read { batch, fence, request });
        fit::read(self.layout(), batch, ask).await
    }

    async fn write(&self, batch: Vec<Write>, terms: Terms) -> Result<Vec<WriteOutcome>, DatabaseError> {
        self.write_as(batch, Manner::Plain(terms.fence), terms.deadline).await
    }

    async fn begin(&self, terms: Terms) -> Result<Box<dyn Transaction>, DatabaseError> {
        Ok(Box::new(Opening::new(self.clone(), self.layout(), terms)))
    }

    fn layout(&self) -> Layout {
        self.shared.layout
    }

    fn upkeep(&self) -> &dyn Upkeep {
        self
    }

    fn side_tables(&self) -> Option<&dyn SideTables> {
        Some(self)
    }

    /// Also moves the write-ahead log into the file, unless another process reads it.
    async fn close(&self) {
        self.shared.queues.close().await;
    }

    fn summary(&self) -> String {
        self.shared.summary.clone()
    }

    fn endpoint(&self) -> Endpoint {
        self.shared.endpoint.clone()
    }
}

impl Open for Sqlite {
    type Steps = SyncSender<Step>;

    fn open(&self, first: Step, fence: Option<Fence>) -> Result<Self::Steps, DatabaseError> {
        // One step at a time.
        let (steps, later) = sync_channel(1);
        self.shared.queues.put(|queues| enqueue(&queues.writes, WriteCommand::Transaction { first, later, fence }))?;
        Ok(steps)
    }
}

#[async_trait]
impl Upkeep for Sqlite {
    /// Between two statements the thread that writes takes what others have queued.
    async fn sweep(
        &self,
        before: Option<Timestamp>,
        passed: u64,
        limit: u32,
        deadline: Instant,
    ) -> Result<Swept, DatabaseError> {
        let mut sweep = Sweep::new(passed, limit);
        while let Some((rows, passed)) = sweep.next() {
            let command = |request| WriteCommand::DeleteExpired { before, rows, passed, request };
            match self.send_write(deadline, command).await {
                Ok(tried) => sweep.tried(tried),
                Err(error) => sweep.failed(error),
            }
        }
        sweep.end()
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

    /// SQLite has no replication of its own. Programs that copy the file are not known here.
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

    /// Reads every page of the table and its indexes. This keeps only one reader busy.
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
