//! A database that breaks one rule of the protocol. The story that holds with the rule must not hold without it, or it
//! proves nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use switchover::capabilities::{
    Database, DatabaseError, Epoch, Fence, KeyLock, KeyTransaction, LockPurpose, LockedKey, Mark, MarkedRow, Number,
    Numbered, Read, ReadOutcome, Side, SideTables, Terms, Transaction, Upkeep, Write, WriteOutcome,
};
use switchover::{Layout, Session, SessionKey};

/// A rule that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// A write of one database marks its key.
    Marks,
    /// A write of both databases locks its key.
    KeyLocks,
}

/// Above every number of a key that was locked.
static NUMBER: AtomicU64 = AtomicU64::new(1 << 40);

pub(crate) struct Lawless {
    inner: Arc<dyn Database>,
    without: Rule,
}

impl Lawless {
    pub(crate) fn new(inner: Arc<dyn Database>, without: Rule) -> Self {
        Self { inner, without }
    }

    fn sides(&self) -> &dyn SideTables {
        self.inner.side_tables().expect("it has side tables")
    }
}

#[async_trait]
impl Database for Lawless {
    async fn read(&self, batch: Vec<Read>, terms: Terms) -> Result<Vec<ReadOutcome>, DatabaseError> {
        self.inner.read(batch, terms).await
    }

    async fn write(&self, batch: Vec<Write>, terms: Terms) -> Result<Vec<WriteOutcome>, DatabaseError> {
        self.inner.write(batch, terms).await
    }

    async fn begin(&self, terms: Terms) -> Result<Box<dyn Transaction>, DatabaseError> {
        self.inner.begin(terms).await
    }

    fn layout(&self) -> Layout {
        self.inner.layout()
    }

    fn upkeep(&self) -> &dyn Upkeep {
        self.inner.upkeep()
    }

    fn side_tables(&self) -> Option<&dyn SideTables> {
        Some(self)
    }

    async fn close(&self) {
        self.inner.close().await;
    }

    fn summary(&self) -> String {
        self.inner.summary()
    }
}

#[async_trait]
impl SideTables for Lawless {
    async fn missing(&self, deadline: Instant) -> Result<Vec<String>, DatabaseError> {
        self.sides().missing(deadline).await
    }

    async fn prepare(&self, deadline: Instant) -> Result<Vec<String>, DatabaseError> {
        self.sides().prepare(deadline).await
    }

    async fn make_fence(&self, migration: Arc<str>, deadline: Instant) -> Result<(), DatabaseError> {
        self.sides().make_fence(migration, deadline).await
    }

    async fn seal(&self, words: String, deadline: Instant) -> Result<(), DatabaseError> {
        self.sides().seal(words, deadline).await
    }

    async fn fence(&self, migration: Arc<str>, deadline: Instant) -> Result<Option<Epoch>, DatabaseError> {
        self.sides().fence(migration, deadline).await
    }

    async fn raise(&self, fence: Fence, deadline: Instant) -> Result<Epoch, DatabaseError> {
        self.sides().raise(fence, deadline).await
    }

    async fn write_marked(
        &self,
        batch: Vec<Write>,
        home: Side,
        fence: Fence,
        deadline: Instant,
    ) -> Result<Vec<WriteOutcome>, DatabaseError> {
        match self.without {
            Rule::Marks => self.inner.write(batch, Terms { deadline, fence: Some(fence) }).await,
            Rule::KeyLocks => self.sides().write_marked(batch, home, fence, deadline).await,
        }
    }

    async fn mark(
        &self,
        keys: Vec<SessionKey>,
        home: Side,
        fence: Fence,
        deadline: Instant,
    ) -> Result<(), DatabaseError> {
        match self.without {
            Rule::Marks => Ok(()),
            Rule::KeyLocks => self.sides().mark(keys, home, fence, deadline).await,
        }
    }

    async fn rows(
        &self,
        keys: Vec<SessionKey>,
        fence: Fence,
        deadline: Instant,
    ) -> Result<Vec<MarkedRow>, DatabaseError> {
        self.sides().rows(keys, fence, deadline).await
    }

    async fn write_numbered(
        &self,
        batch: Vec<(Write, Number)>,
        fence: Fence,
        deadline: Instant,
    ) -> Result<Numbered, DatabaseError> {
        self.sides().write_numbered(batch, fence, deadline).await
    }

    async fn begin_with_keys(&self, fence: Fence, deadline: Instant) -> Result<Box<dyn KeyTransaction>, DatabaseError> {
        let inner = self.sides().begin_with_keys(fence.clone(), deadline).await?;
        Ok(match self.without {
            Rule::Marks => inner,
            Rule::KeyLocks => Box::new(Unlocked { inner, database: Arc::clone(&self.inner), fence, deadline }),
        })
    }

    async fn marks(&self, fence: Fence, limit: u32, deadline: Instant) -> Result<Vec<Mark>, DatabaseError> {
        self.sides().marks(fence, limit, deadline).await
    }

    async fn clear_marks(&self, marks: Vec<Mark>, fence: Fence, deadline: Instant) -> Result<u64, DatabaseError> {
        self.sides().clear_marks(marks, fence, deadline).await
    }

    async fn count_marks(&self, fence: Fence, deadline: Instant) -> Result<u64, DatabaseError> {
        self.sides().count_marks(fence, deadline).await
    }
}

/// Tells each caller that it has the keys.
struct Unlocked {
    inner: Box<dyn KeyTransaction>,
    database: Arc<dyn Database>,
    fence: Fence,
    deadline: Instant,
}

#[async_trait]
impl Transaction for Unlocked {
    async fn lock(&mut self, keys: Vec<SessionKey>) -> Result<Vec<Option<Session>>, DatabaseError> {
        self.inner.lock(keys).await
    }

    async fn write(&mut self, batch: Vec<Write>) -> Result<Vec<WriteOutcome>, DatabaseError> {
        let keys = batch.iter().map(|write| write.key().clone()).collect();
        let outcomes = self.inner.write(batch).await?;
        self.inner.clear_locked(keys).await?;
        Ok(outcomes)
    }

    async fn commit(self: Box<Self>) -> Result<(), DatabaseError> {
        self.inner.commit().await
    }

    async fn roll_back(self: Box<Self>) {
        self.inner.roll_back().await;
    }
}

#[async_trait]
impl KeyTransaction for Unlocked {
    async fn lock_keys(&mut self, keys: Vec<KeyLock>, purpose: LockPurpose) -> Result<Vec<LockedKey>, DatabaseError> {
        let number = || Number(NUMBER.fetch_add(1, Ordering::Relaxed));
        if purpose != LockPurpose::CopyToNew {
            return Ok(keys.iter().map(|_| LockedKey { number: number(), row: None }).collect());
        }
        let sides = self.database.side_tables().expect("it has side tables");
        let keys = keys.into_iter().map(|lock| lock.key).collect();
        let rows = sides.rows(keys, self.fence.clone(), self.deadline).await?;
        rows.into_iter().map(|found| Ok(LockedKey { number: number(), row: found.row? })).collect()
    }

    async fn clear_locked(&mut self, keys: Vec<SessionKey>) -> Result<(), DatabaseError> {
        self.inner.clear_locked(keys).await
    }
}
