//! Builds a table of PostgreSQL again within its database, while applications that know nothing of it write it.
//!
//! A trigger notes the key of each write in the writer's own transaction. [`Rebuild`] carries rows over in short
//! transactions of its own, and exchanges the two tables at the end. Each of these transactions locks the one row of
//! the state first, so two copiers take turns, and one that was given up cannot put a row that is older than another's.

mod carry;
mod compare;
mod cut;
mod plan;

use async_trait::async_trait;
use switchover_core::Table;
use switchover_core::capabilities::DatabaseError;
use switchover_core::moves::{
    Carried, Compared, Cut, CutBound, Form, KnownTable, Logged, Mover, Plan, Scanned, Side, State,
};

use super::captured::Captured;
use super::cuts;

/// A table, and the one that it becomes in the same database. Each step is one transaction.
pub struct Rebuild {
    table: Captured,
}

impl std::fmt::Debug for Rebuild {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rebuild").field("table", &self.table.names.table).finish_non_exhaustive()
    }
}

impl Rebuild {
    /// Connects, and finds the table by its name, as an operator writes it.
    ///
    /// # Errors
    ///
    /// The address is wrong, the server does not answer, or there is no such table with a key of one column.
    pub async fn open(url: &str, table: &Table) -> Result<Self, DatabaseError> {
        Ok(Self { table: Captured::open(url, table, Form::Rename).await? })
    }
}

#[async_trait]
impl Mover for Rebuild {
    fn summary(&self) -> &str {
        &self.table.place
    }

    fn known_table(&self) -> Option<&'static KnownTable> {
        self.table.known_table()
    }

    async fn obstacles(&mut self, living: &str) -> Result<Vec<String>, DatabaseError> {
        self.table.obstacles(living).await
    }

    async fn planned(&mut self, living: &str) -> Result<Plan, DatabaseError> {
        self.plan(living).await
    }

    async fn begin(&mut self, living: &str) -> Result<(), DatabaseError> {
        self.make(living).await
    }

    async fn state(&mut self) -> Result<Option<State>, DatabaseError> {
        self.table.state().await
    }

    async fn log(&mut self) -> Result<Vec<Logged>, DatabaseError> {
        self.table.log().await
    }

    async fn scan(&mut self, limit: u32) -> Result<Scanned, DatabaseError> {
        self.scan_step(limit).await
    }

    async fn carry(&mut self, limit: u32) -> Result<Carried, DatabaseError> {
        self.carry_step(limit).await
    }

    async fn compare(&mut self, limit: u32) -> Result<Compared, DatabaseError> {
        self.compare_step(limit).await
    }

    /// An application's statement that meets the lock waits, and then runs on the other table. Writes are noted on from
    /// there, for the way back.
    async fn cut(&mut self, from: Side, bound: CutBound) -> Result<Cut, DatabaseError> {
        cuts::cut(self, from, bound).await
    }

    async fn abort(&mut self) -> Result<(), DatabaseError> {
        self.take_away().await
    }

    async fn finish(&mut self, drop_old: bool) -> Result<(), DatabaseError> {
        self.end(drop_old).await
    }
}
