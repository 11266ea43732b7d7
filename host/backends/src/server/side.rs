//! The side tables of a database on a server. Writes go to the lanes of writes and of transactions, the rest to the
//! lane of tools.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use switchover_core::SessionKey;
use switchover_core::capabilities::{
    DatabaseError, Epoch, Fence, KeyTransaction, Mark, MarkedRow, Number, Numbered, Side, SideTables, Terms, Write,
    WriteOutcome,
};

use super::tool::{SideJob, ToolJob};
use super::transaction::TransactionJob;
use super::{Server, enqueue};
use crate::manner::Manner;
use crate::request::{Late, Request};
use crate::transaction::Opening;

impl Server {
    async fn use_side_tool<T: Send>(
        &self,
        deadline: Instant,
        late: Late,
        job: impl FnOnce(Request<T>) -> SideJob,
    ) -> Result<T, DatabaseError> {
        self.use_tool(deadline, late, |request| ToolJob::Side(job(request))).await
    }
}

#[async_trait]
impl SideTables for Server {
    async fn missing(&self, deadline: Instant) -> Result<Vec<String>, DatabaseError> {
        self.use_side_tool(deadline, Late::Timeout, |request| SideJob::Missing { request }).await
    }

    async fn prepare(&self, deadline: Instant) -> Result<Vec<String>, DatabaseError> {
        self.use_side_tool(deadline, Late::UnknownOutcome, |request| SideJob::Prepare { request }).await
    }

    async fn make_fence(&self, migration: Arc<str>, deadline: Instant) -> Result<(), DatabaseError> {
        let job = |request| SideJob::MakeFence { migration, request };
        self.use_side_tool(deadline, Late::UnknownOutcome, job).await
    }

    async fn seal(&self, words: String, deadline: Instant) -> Result<(), DatabaseError> {
        let job = |request| SideJob::Seal { words: words.into(), request };
        self.use_side_tool(deadline, Late::UnknownOutcome, job).await
    }

    async fn fence(&self, migration: Arc<str>, deadline: Instant) -> Result<Option<Epoch>, DatabaseError> {
        self.use_side_tool(deadline, Late::Timeout, |request| SideJob::Fence { migration, request }).await
    }

    async fn raise(&self, fence: Fence, deadline: Instant) -> Result<Epoch, DatabaseError> {
        self.use_side_tool(deadline, Late::UnknownOutcome, |request| SideJob::Raise { fence, request }).await
    }

    async fn write_marked(
        &self,
        batch: Vec<Write>,
        home: Side,
        fence: Fence,
        deadline: Instant,
    ) -> Result<Vec<WriteOutcome>, DatabaseError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        self.write_as(batch, Manner::Marked(home, fence), deadline).await
    }

    async fn mark(
        &self,
        keys: Vec<SessionKey>,
        home: Side,
        fence: Fence,
        deadline: Instant,
    ) -> Result<(), DatabaseError> {
        let job = |request| SideJob::Mark { keys: keys.into(), home, fence, request };
        self.use_side_tool(deadline, Late::UnknownOutcome, job).await
    }

    async fn rows(
        &self,
        keys: Vec<SessionKey>,
        fence: Fence,
        deadline: Instant,
    ) -> Result<Vec<MarkedRow>, DatabaseError> {
        let job = |request| SideJob::Rows { keys: keys.into(), fence, request };
        self.use_side_tool(deadline, Late::Timeout, job).await
    }

    async fn write_numbered(
        &self,
        batch: Vec<(Write, Number)>,
        fence: Fence,
        deadline: Instant,
    ) -> Result<Numbered, DatabaseError> {
        if batch.is_empty() {
            return Ok(Numbered::Done(Vec::new()));
        }
        for (write, _) in &batch {
            if let Write::Insert(session) | Write::Update(session) | Write::Upsert(session) = write {
                self.shared.layout.check(session)?;
            }
        }
        let job = |request| TransactionJob::Numbered { batch, fence, request };
        self.send(deadline, Late::UnknownOutcome, |queues, request| enqueue(&queues.transactions, job(request))).await
    }

    async fn begin_with_keys(&self, fence: Fence, deadline: Instant) -> Result<Box<dyn KeyTransaction>, DatabaseError> {
        let terms = Terms { deadline, fence: Some(fence) };
        Ok(Box::new(Opening::new(self.clone(), self.shared.layout, terms)))
    }

    async fn marks(&self, fence: Fence, limit: u32, deadline: Instant) -> Result<Vec<Mark>, DatabaseError> {
        self.use_side_tool(deadline, Late::Timeout, |request| SideJob::Marks { fence, limit, request }).await
    }

    async fn clear_marks(&self, marks: Vec<Mark>, fence: Fence, deadline: Instant) -> Result<u64, DatabaseError> {
        let job = |request| SideJob::ClearMarks { marks: marks.into(), fence, request };
        self.use_side_tool(deadline, Late::UnknownOutcome, job).await
    }

    async fn count_marks(&self, fence: Fence, deadline: Instant) -> Result<u64, DatabaseError> {
        self.use_side_tool(deadline, Late::Timeout, |request| SideJob::CountMarks { fence, request }).await
    }
}
