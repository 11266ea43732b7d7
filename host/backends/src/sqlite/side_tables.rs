//! The side tables of a migration, as commands to the threads of the file.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use switchover_core::SessionKey;
use switchover_core::capabilities::{
    Database as _, DatabaseError, Epoch, Fence, KeyTransaction, Mark, MarkedRow, Number, Numbered, Side, SideTables,
    Terms, Write, WriteOutcome,
};

use super::Sqlite;
use super::reader::ReadCommand;
use super::writer::WriteCommand;
use crate::manner::Manner;
use crate::transaction::Opening;

/// A transaction has the whole file from its first statement: it holds the fence, and every key.
#[async_trait]
impl SideTables for Sqlite {
    async fn missing(&self, deadline: Instant) -> Result<Vec<String>, DatabaseError> {
        self.send_read(deadline, |request| ReadCommand::MissingSides { request }).await
    }

    async fn prepare(&self, deadline: Instant) -> Result<Vec<String>, DatabaseError> {
        self.send_write(deadline, |request| WriteCommand::PrepareSides { request }).await
    }

    async fn make_fence(&self, migration: Arc<str>, deadline: Instant) -> Result<(), DatabaseError> {
        self.send_write(deadline, |request| WriteCommand::MakeFence { migration, request }).await
    }

    async fn seal(&self, words: String, deadline: Instant) -> Result<(), DatabaseError> {
        self.send_write(deadline, |request| WriteCommand::Seal { words, request }).await
    }

    async fn fence(&self, migration: Arc<str>, deadline: Instant) -> Result<Option<Epoch>, DatabaseError> {
        self.send_read(deadline, |request| ReadCommand::Fence { migration, request }).await
    }

    async fn raise(&self, fence: Fence, deadline: Instant) -> Result<Epoch, DatabaseError> {
        self.send_write(deadline, |request| WriteCommand::Raise { fence, request }).await
    }

    async fn write_marked(
        &self,
        batch: Vec<Write>,
        home: Side,
        fence: Fence,
        deadline: Instant,
    ) -> Result<Vec<WriteOutcome>, DatabaseError> {
        self.write_as(batch, Manner::Marked(home, fence), deadline).await
    }

    async fn mark(
        &self,
        keys: Vec<SessionKey>,
        home: Side,
        fence: Fence,
        deadline: Instant,
    ) -> Result<(), DatabaseError> {
        self.send_write(deadline, |request| WriteCommand::Mark { keys, home, fence, request }).await
    }

    async fn rows(
        &self,
        keys: Vec<SessionKey>,
        fence: Fence,
        deadline: Instant,
    ) -> Result<Vec<MarkedRow>, DatabaseError> {
        self.send_read(deadline, |request| ReadCommand::Rows { keys, fence, request }).await
    }

    async fn write_numbered(
        &self,
        batch: Vec<(Write, Number)>,
        fence: Fence,
        deadline: Instant,
    ) -> Result<Numbered, DatabaseError> {
        for (write, _) in &batch {
            if let Write::Insert(session) | Write::Update(session) | Write::Upsert(session) = write {
                self.layout().check(session)?;
            }
        }
        self.send_write(deadline, |request| WriteCommand::Numbered { batch, fence, request }).await
    }

    async fn begin_with_keys(&self, fence: Fence, deadline: Instant) -> Result<Box<dyn KeyTransaction>, DatabaseError> {
        let terms = Terms { deadline, fence: Some(fence) };
        Ok(Box::new(Opening::new(self.clone(), self.layout(), terms)))
    }

    async fn marks(&self, fence: Fence, limit: u32, deadline: Instant) -> Result<Vec<Mark>, DatabaseError> {
        self.send_read(deadline, |request| ReadCommand::Marks { fence, limit, request }).await
    }

    async fn clear_marks(&self, marks: Vec<Mark>, fence: Fence, deadline: Instant) -> Result<u64, DatabaseError> {
        self.send_write(deadline, |request| WriteCommand::ClearMarks { marks, fence, request }).await
    }

    async fn count_marks(&self, fence: Fence, deadline: Instant) -> Result<u64, DatabaseError> {
        self.send_read(deadline, |request| ReadCommand::CountMarks { fence, request }).await
    }
}
