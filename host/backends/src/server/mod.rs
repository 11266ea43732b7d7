//! A database on a server. It has queues and lanes; each lane owns one connection and sends what is queued in as few
//! round trips as possible.
//!
//! ```text
//!               ┌ reads ──── reading lanes    every queued key in one statement
//! Server ───────┤ writes ─── writing lanes    every queued batch in one transaction; no key twice at a time
//!  (async)      ├ transactions ─ lanes of one each, kept open until it is decided
//!               └ tools ──── one lane         scans, deletions of expired rows, the schema
//! ```
//!
//! There is no pool, no ping before an operation, and no timer that delays a single operation. A lane whose connection
//! breaks makes a new one. While the server cannot be reached, operations fail at once, and one lane at a time tries
//! again, with growing, jittered pauses.

mod builder;
mod connector;
mod inbox;
mod lane;
mod link;
#[cfg(test)]
mod panics;
mod read;
mod side;
mod supervisor;
mod table;
mod tool;
mod transaction;
mod write;
mod write_queue;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use tokio::sync::mpsc;

pub use self::builder::ServerBuilder;
pub(super) use self::link::{Driver, Failure, Found, Link, Options, SideLink};
use self::read::ReadJob;
pub(super) use self::table::{Column, check_columns};
use self::tool::ToolJob;
use self::transaction::TransactionJob;
use self::write_queue::{WriteJob, WriteQueue};
use super::queues::{UntilClosed, closed};
use super::request::{Late, Request, request};
use super::transaction::{Open, Opening, Step};
use crate::fit;
use crate::manner::Manner;
use switchover_core::capabilities::{
    Cursor, Database, DatabaseError, Endpoint, ExpiredLeft, Feeds, Fence, Identity, Read, ReadOutcome, Scan,
    SideTables, Statistics, Strain, Swept, Terms, Transaction, Upkeep, Write, WriteOutcome,
};
use switchover_core::{Layout, Timestamp};

/// A database on a server, made by [`Postgres`](super::Postgres) or [`MySql`](super::MySql).
///
/// Cheap to clone: all clones are one database. When the last one is dropped, the queued operations are still done and
/// then the connections end; [`Database::close`] also waits for that.
///
/// - **Cost.** A read is one round trip, and so is a write; operations that wait together share it. A transaction takes
///   one for its begin, one for each statement and one for its end. The first use of a statement on a connection takes
///   one more, which prepares it.
/// - **Durability.** As the server is configured: an acknowledged write was committed there.
/// - **Deadlines.** An operation ends at its deadline even if the server does not answer. Then the connection that it
///   waited for is given up. PostgreSQL does not begin a write of one statement that it gets after the deadline.
/// - **Contention.** One host never sends two writes of one key to the database at the same time: the later one waits
///   in the host. Between hosts there are busy locks, deadlocks and serialisation failures. After each of these nothing
///   was written; the operation is tried again until the deadline, and then fails with [`DatabaseError::Conflict`].
/// - **Broken connections.** A read whose connection breaks is tried once more. A write that was sent and not answered
///   fails with [`DatabaseError::UnknownOutcome`]. While the server cannot be reached, operations fail with
///   [`DatabaseError::Unavailable`] at once.
/// - **Panics.** A panic in a driver affects only the operations that its lane was working on: writes fail with
///   [`DatabaseError::UnknownOutcome`]. Another lane replaces it.
/// - **Cancel safety.** An operation that is dropped while it is queued is not done. A write that was sent is finished.
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
}

struct Shared {
    queues: UntilClosed<Queues>,
    summary: String,
    endpoint: Endpoint,
    layout: Layout,
    has_side_tables: bool,
}

struct Queues {
    reads: mpsc::Sender<ReadJob>,
    writes: WriteSender,
    transactions: mpsc::Sender<TransactionJob>,
    tools: mpsc::Sender<ToolJob>,
}

/// Closes the queue of writes when it is dropped.
struct WriteSender(Arc<WriteQueue>);

impl Drop for WriteSender {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Server {
    async fn send<T: Send>(
        &self,
        deadline: Instant,
        late: Late,
        enqueue: impl FnOnce(&Queues, Request<T>) -> Result<(), DatabaseError>,
    ) -> Result<T, DatabaseError> {
        let (request, reply) = request(deadline)?;
        self.shared.queues.put(|queues| enqueue(queues, request))?;
        reply.wait(late).await
    }

    /// Checks that the fence of an operation can be kept, if it has one.
    fn ensure_fence(&self, terms: &Terms) -> Result<(), DatabaseError> {
        if self.shared.has_side_tables { Ok(()) } else { terms.ensure_no_fence() }
    }

    async fn write_as(
        &self,
        batch: Vec<Write>,
        manner: Manner,
        deadline: Instant,
    ) -> Result<Vec<WriteOutcome>, DatabaseError> {
        let ask = |batch| {
            let push = |queues: &Queues, request| queues.writes.0.push(WriteJob::new(batch, manner, request));
            self.send(deadline, Late::UnknownOutcome, push)
        };
        fit::write(self.shared.layout, batch, ask).await
    }

    async fn use_tool<T: Send>(
        &self,
        deadline: Instant,
        late: Late,
        job: impl FnOnce(Request<T>) -> ToolJob,
    ) -> Result<T, DatabaseError> {
        self.send(deadline, late, |queues, request| enqueue(&queues.tools, job(request))).await
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({})", self.shared.summary)
    }
}

#[async_trait]
impl Database for Server {
    async fn read(&self, batch: Vec<Read>, terms: Terms) -> Result<Vec<ReadOutcome>, DatabaseError> {
        self.ensure_fence(&terms)?;
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let ask = |batch| {
            let job = |request| ReadJob { batch, fence: terms.fence, request };
            self.send(terms.deadline, Late::Timeout, |queues, request| enqueue(&queues.reads, job(request)))
        };
        fit::read(self.layout(), batch, ask).await
    }

    async fn write(&self, batch: Vec<Write>, terms: Terms) -> Result<Vec<WriteOutcome>, DatabaseError> {
        self.ensure_fence(&terms)?;
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        self.write_as(batch, Manner::Plain(terms.fence), terms.deadline).await
    }

    async fn begin(&self, terms: Terms) -> Result<Box<dyn Transaction>, DatabaseError> {
        self.ensure_fence(&terms)?;
        Ok(Box::new(Opening::new(self.clone(), self.layout(), terms)))
    }

    fn layout(&self) -> Layout {
        self.shared.layout
    }

    fn upkeep(&self) -> &dyn Upkeep {
        self
    }

    fn side_tables(&self) -> Option<&dyn SideTables> {
        self.shared.has_side_tables.then_some(self)
    }

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

impl Open for Server {
    type Steps = mpsc::Sender<Step>;

    fn open(&self, first: Step, fence: Option<Fence>) -> Result<Self::Steps, DatabaseError> {
        // One step at a time.
        let (steps, later) = mpsc::channel(1);
        self.shared.queues.put(|queues| enqueue(&queues.transactions, TransactionJob::Held { first, later, fence }))?;
        Ok(steps)
    }
}

#[async_trait]
impl Upkeep for Server {
    async fn sweep(
        &self,
        before: Option<Timestamp>,
        passed: u64,
        limit: u32,
        deadline: Instant,
    ) -> Result<Swept, DatabaseError> {
        let job = |request| ToolJob::Sweep { before, passed, limit, request };
        self.use_tool(deadline, Late::UnknownOutcome, job).await
    }

    async fn expired_left(&self, before: Option<Timestamp>, deadline: Instant) -> Result<ExpiredLeft, DatabaseError> {
        self.use_tool(deadline, Late::Timeout, |request| ToolJob::ExpiredLeft { before, request }).await
    }

    async fn scan(&self, after: Option<Cursor>, limit: u32, deadline: Instant) -> Result<Scan, DatabaseError> {
        self.use_tool(deadline, Late::Timeout, |request| ToolJob::Scan { after, limit, request }).await
    }

    async fn strain(&self, deadline: Instant) -> Result<Strain, DatabaseError> {
        self.use_tool(deadline, Late::Timeout, |request| ToolJob::Strain { request }).await
    }

    async fn identity(&self, deadline: Instant) -> Result<Option<Identity>, DatabaseError> {
        self.use_tool(deadline, Late::Timeout, |request| ToolJob::Identity { request }).await
    }

    async fn feeds(&self, deadline: Instant) -> Result<Feeds, DatabaseError> {
        self.use_tool(deadline, Late::Timeout, |request| ToolJob::Feeds { request }).await
    }

    async fn other_columns(&self, deadline: Instant) -> Result<Vec<switchover_core::Column>, DatabaseError> {
        self.use_tool(deadline, Late::Timeout, |request| ToolJob::OtherColumns { request }).await
    }

    async fn check_columns(&self, deadline: Instant) -> Result<(), DatabaseError> {
        self.use_tool(deadline, Late::Timeout, |request| ToolJob::CheckColumns { request }).await
    }

    async fn missing_schema(&self, deadline: Instant) -> Result<Vec<String>, DatabaseError> {
        self.use_tool(deadline, Late::Timeout, |request| ToolJob::MissingSchema { request }).await
    }

    async fn create_schema(&self, deadline: Instant) -> Result<Vec<String>, DatabaseError> {
        self.use_tool(deadline, Late::UnknownOutcome, |request| ToolJob::CreateSchema { request }).await
    }

    async fn statistics(&self, deadline: Instant) -> Result<Statistics, DatabaseError> {
        self.use_tool(deadline, Late::Timeout, |request| ToolJob::Statistics { request }).await
    }
}

fn enqueue<J>(queue: &mpsc::Sender<J>, job: J) -> Result<(), DatabaseError> {
    queue.try_send(job).map_err(|error| match error {
        mpsc::error::TrySendError::Full(_) => DatabaseError::Overloaded,
        mpsc::error::TrySendError::Closed(_) => closed(),
    })
}
