//! A database that fails on command, for tests: it can show every failure of a server and of the network in front of
//! it.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use switchover_core::capabilities::{
    Cursor, Database, DatabaseError, Endpoint, ExpiredLeft, Feeds, Identity, Read, ReadOutcome, Scan, Statistics,
    Strain, Swept, Terms, Transaction, Upkeep, Write, WriteOutcome,
};
use switchover_core::sync::Mutex;
use switchover_core::{Column, Layout, Session, SessionKey, Timestamp};
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout_at};

/// A kind of operation on a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// [`Database::read`].
    Read,
    /// [`Database::write`].
    Write,
    /// [`Transaction::lock`] and [`Transaction::write`]. The first of them begins the transaction.
    Statement,
    /// [`Transaction::commit`].
    Commit,
    /// [`Upkeep::sweep`].
    Sweep,
    /// [`Upkeep::scan`].
    Scan,
    /// Questions about the table, not about its rows: [`Upkeep::missing_schema`], [`Upkeep::create_schema`],
    /// [`Upkeep::check_columns`], [`Upkeep::identity`], [`Upkeep::feeds`].
    Schema,
    /// [`Upkeep::statistics`] and [`Upkeep::expired_left`].
    Statistics,
}

/// How an operation fails.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The operation is not done, and fails at once with this error.
    Before(DatabaseError),
    /// The operation is done, and then fails with this error.
    After(DatabaseError),
    /// No answer comes. At the deadline, an operation that writes at once fails with [`DatabaseError::UnknownOutcome`],
    /// any other with [`DatabaseError::Timeout`].
    Silent {
        /// Whether the operation is done all the same. If it is a statement of a transaction, its locks are held until
        /// the deadline.
        effect: bool,
    },
}

/// How often each operation was called, whether it succeeded or failed. A batch counts once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OperationCounts {
    /// [`Database::read`].
    pub reads: u64,
    /// [`Database::write`].
    pub writes: u64,
    /// Transactions that have begun with a first statement.
    pub transactions: u64,
    /// [`Transaction::commit`].
    pub commits: u64,
    /// [`Transaction::roll_back`], and transactions that were dropped while undecided.
    pub roll_backs: u64,
}

/// A database with faults that code switches on. Cheap to clone: all clones are one database.
///
/// ```
/// # use switchover_backends::{Fault, Faulty, MemoryDatabase, Operation};
/// # use switchover_core::capabilities::DatabaseError;
/// let database = Faulty::new(MemoryDatabase::new());
/// database.inject(Operation::Commit, Fault::Silent { effect: true });
/// database.inject_times(2, Operation::Write, Fault::Before(DatabaseError::Overloaded));
/// database.heal();
/// ```
pub struct Faulty<D> {
    shared: Arc<Shared<D>>,
}

struct Shared<D> {
    inner: D,
    faults: Mutex<Faults>,
    counts: Counts,
}

#[derive(Default)]
struct Faults {
    by_operation: HashMap<Operation, Injected>,
    /// Held operations have a receiver. Dropping the sender releases them.
    holds: HashMap<Operation, watch::Sender<()>>,
    latency: Duration,
    down: bool,
}

struct Injected {
    fault: Fault,
    /// How many more operations fail; `None`: all, until [`Faulty::heal`].
    left: Option<u32>,
}

/// What one operation meets.
struct Struck {
    hold: Option<watch::Receiver<()>>,
    latency: Duration,
    fault: Option<Fault>,
}

#[derive(Default)]
struct Counts {
    reads: AtomicU64,
    writes: AtomicU64,
    transactions: AtomicU64,
    commits: AtomicU64,
    roll_backs: AtomicU64,
}

impl<D> Clone for Faulty<D> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<D: Database> Faulty<D> {
    /// Wraps a database. It has no faults yet.
    pub fn new(inner: D) -> Self {
        Self { shared: Arc::new(Shared { inner, faults: Mutex::default(), counts: Counts::default() }) }
    }

    /// The wrapped database.
    pub fn inner(&self) -> &D {
        &self.shared.inner
    }

    /// Makes every operation of this kind fail until [`Faulty::heal`]. Replaces an earlier fault of this kind of
    /// operation.
    pub fn inject(&self, operation: Operation, fault: Fault) {
        self.shared.faults().by_operation.insert(operation, Injected { fault, left: None });
    }

    /// Makes the next `times` operations of this kind fail. Replaces an earlier fault of this kind of operation.
    pub fn inject_times(&self, times: u32, operation: Operation, fault: Fault) {
        self.shared.faults().by_operation.insert(operation, Injected { fault, left: Some(times) });
    }

    /// Delays each operation before it does anything. An operation that would begin after its deadline fails with
    /// [`DatabaseError::Timeout`].
    pub fn set_latency(&self, latency: Duration) {
        self.shared.faults().latency = latency;
    }

    /// Holds every operation of this kind, before it does anything, until [`Faulty::release`]. At its deadline a held
    /// operation fails with [`DatabaseError::Timeout`]. A held operation meets the fault that was set when it began;
    /// what is injected later is for others.
    ///
    /// A test that needs a call under way holds it. So the test does not depend on the speed of the machine.
    ///
    /// ```
    /// # use switchover_backends::{Faulty, MemoryDatabase, Operation};
    /// # async fn example(database: Faulty<MemoryDatabase>, save: impl Future<Output = ()> + Send + 'static) {
    /// database.hold(Operation::Write);
    /// let save = tokio::spawn(save);
    /// while database.held(Operation::Write) == 0 {
    ///     tokio::task::yield_now().await;
    /// }
    /// // Here the save is under way.
    /// database.release();
    /// save.await.unwrap();
    /// # }
    /// ```
    pub fn hold(&self, operation: Operation) {
        self.shared.faults().holds.entry(operation).or_default();
    }

    /// How many such operations are held now.
    pub fn held(&self, operation: Operation) -> usize {
        self.shared.faults().holds.get(&operation).map_or(0, watch::Sender::receiver_count)
    }

    /// Lets all held operations go on, and holds no others. To hold those that come next, [`Faulty::hold`] them again.
    pub fn release(&self) {
        self.shared.faults().holds.clear();
    }

    /// Simulates a server that is down: every operation fails with [`DatabaseError::Unavailable`], and open
    /// transactions can only roll back.
    pub fn set_down(&self, down: bool) {
        self.shared.faults().down = down;
    }

    /// Ends every fault, every hold, the latency, and the state of being down.
    pub fn heal(&self) {
        *self.shared.faults() = Faults::default();
    }

    /// How often each operation was called so far.
    pub fn counts(&self) -> OperationCounts {
        let counts = &self.shared.counts;
        OperationCounts {
            reads: counts.reads.load(Ordering::Relaxed),
            writes: counts.writes.load(Ordering::Relaxed),
            transactions: counts.transactions.load(Ordering::Relaxed),
            commits: counts.commits.load(Ordering::Relaxed),
            roll_backs: counts.roll_backs.load(Ordering::Relaxed),
        }
    }
}

impl<D> Shared<D> {
    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock()
    }

    /// Does `work` with the fault that is set for the operation.
    async fn run<T>(
        &self,
        operation: Operation,
        deadline: Instant,
        work: impl Future<Output = Result<T, DatabaseError>> + Send,
    ) -> Result<T, DatabaseError> {
        let Struck { hold, latency, fault } = self.faults().strike(operation)?;
        if let Some(mut hold) = hold
            && timeout_at(deadline.into(), hold.changed()).await.is_err()
        {
            return Err(DatabaseError::Timeout);
        }
        if !latency.is_zero() {
            let begin = Instant::now() + latency;
            sleep_until(begin.min(deadline).into()).await;
            if deadline <= begin {
                return Err(DatabaseError::Timeout);
            }
        }
        match fault {
            None => work.await,
            Some(Fault::Before(error)) => Err(error),
            Some(Fault::After(error)) => {
                work.await?;
                Err(error)
            }
            Some(Fault::Silent { effect }) => {
                // The result of a statement in a transaction is kept here until the deadline, and its locks with it.
                let _done = if effect { work.await.ok() } else { None };
                sleep_until(deadline.into()).await;
                Err(operation.silence())
            }
        }
    }
}

impl Operation {
    fn silence(self) -> DatabaseError {
        match self {
            Self::Write | Self::Commit | Self::Sweep | Self::Schema => {
                DatabaseError::UnknownOutcome { message: "no answer before the deadline".to_owned() }
            }
            Self::Read | Self::Statement | Self::Scan | Self::Statistics => DatabaseError::Timeout,
        }
    }
}

impl Faults {
    /// Returns what the next operation of this kind meets.
    fn strike(&mut self, operation: Operation) -> Result<Struck, DatabaseError> {
        if self.down {
            return Err(DatabaseError::Unavailable { message: "it is down".to_owned() });
        }
        let fault = self.by_operation.get_mut(&operation).and_then(|injected| match &mut injected.left {
            Some(0) => None,
            Some(left) => {
                *left -= 1;
                Some(injected.fault.clone())
            }
            None => Some(injected.fault.clone()),
        });
        let hold = self.holds.get(&operation).map(watch::Sender::subscribe);
        Ok(Struck { hold, latency: self.latency, fault })
    }
}

#[async_trait]
impl<D: Database + 'static> Database for Faulty<D> {
    async fn read(&self, batch: Vec<Read>, terms: Terms) -> Result<Vec<ReadOutcome>, DatabaseError> {
        self.shared.counts.reads.fetch_add(1, Ordering::Relaxed);
        let deadline = terms.deadline;
        self.shared.run(Operation::Read, deadline, self.shared.inner.read(batch, terms)).await
    }

    async fn write(&self, batch: Vec<Write>, terms: Terms) -> Result<Vec<WriteOutcome>, DatabaseError> {
        self.shared.counts.writes.fetch_add(1, Ordering::Relaxed);
        let deadline = terms.deadline;
        self.shared.run(Operation::Write, deadline, self.shared.inner.write(batch, terms)).await
    }

    async fn begin(&self, terms: Terms) -> Result<Box<dyn Transaction>, DatabaseError> {
        let (shared, deadline) = (Arc::clone(&self.shared), terms.deadline);
        let transaction = Some(self.shared.inner.begin(terms).await?);
        Ok(Box::new(FaultyTransaction { transaction, shared, deadline, has_begun: false }))
    }

    fn upkeep(&self) -> &dyn Upkeep {
        self
    }

    async fn close(&self) {
        self.shared.inner.close().await;
    }

    fn layout(&self) -> Layout {
        self.shared.inner.layout()
    }

    fn summary(&self) -> String {
        self.shared.inner.summary()
    }

    fn endpoint(&self) -> Endpoint {
        self.shared.inner.endpoint()
    }
}

#[async_trait]
impl<D: Database + 'static> Upkeep for Faulty<D> {
    async fn sweep(
        &self,
        before: Option<Timestamp>,
        passed: u64,
        limit: u32,
        deadline: Instant,
    ) -> Result<Swept, DatabaseError> {
        let swept = self.shared.inner.upkeep().sweep(before, passed, limit, deadline);
        self.shared.run(Operation::Sweep, deadline, swept).await
    }

    async fn expired_left(&self, before: Option<Timestamp>, deadline: Instant) -> Result<ExpiredLeft, DatabaseError> {
        self.shared
            .run(Operation::Statistics, deadline, self.shared.inner.upkeep().expired_left(before, deadline))
            .await
    }

    async fn scan(&self, after: Option<Cursor>, limit: u32, deadline: Instant) -> Result<Scan, DatabaseError> {
        self.shared.run(Operation::Scan, deadline, self.shared.inner.upkeep().scan(after, limit, deadline)).await
    }

    async fn strain(&self, deadline: Instant) -> Result<Strain, DatabaseError> {
        self.shared.run(Operation::Statistics, deadline, self.shared.inner.upkeep().strain(deadline)).await
    }

    async fn identity(&self, deadline: Instant) -> Result<Option<Identity>, DatabaseError> {
        self.shared.run(Operation::Schema, deadline, self.shared.inner.upkeep().identity(deadline)).await
    }

    async fn feeds(&self, deadline: Instant) -> Result<Feeds, DatabaseError> {
        self.shared.run(Operation::Schema, deadline, self.shared.inner.upkeep().feeds(deadline)).await
    }

    async fn other_columns(&self, deadline: Instant) -> Result<Vec<Column>, DatabaseError> {
        self.shared.run(Operation::Schema, deadline, self.shared.inner.upkeep().other_columns(deadline)).await
    }

    async fn check_columns(&self, deadline: Instant) -> Result<(), DatabaseError> {
        self.shared.run(Operation::Schema, deadline, self.shared.inner.upkeep().check_columns(deadline)).await
    }

    async fn missing_schema(&self, deadline: Instant) -> Result<Vec<String>, DatabaseError> {
        self.shared.run(Operation::Schema, deadline, self.shared.inner.upkeep().missing_schema(deadline)).await
    }

    async fn create_schema(&self, deadline: Instant) -> Result<Vec<String>, DatabaseError> {
        self.shared.run(Operation::Schema, deadline, self.shared.inner.upkeep().create_schema(deadline)).await
    }

    async fn statistics(&self, deadline: Instant) -> Result<Statistics, DatabaseError> {
        self.shared.run(Operation::Statistics, deadline, self.shared.inner.upkeep().statistics(deadline)).await
    }
}

impl<D: Database> fmt::Debug for Faulty<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Faulty({})", self.shared.inner.summary())
    }
}

struct FaultyTransaction<D> {
    /// `None`: the transaction was decided, or a fault has ended it.
    transaction: Option<Box<dyn Transaction>>,
    shared: Arc<Shared<D>>,
    deadline: Instant,
    has_begun: bool,
}

impl<D> FaultyTransaction<D> {
    /// Takes the transaction out while a statement runs. If the statement is silent, the result is kept there until the
    /// deadline, and its locks with it.
    fn take(&mut self) -> Result<Box<dyn Transaction>, DatabaseError> {
        if !std::mem::replace(&mut self.has_begun, true) {
            self.shared.counts.transactions.fetch_add(1, Ordering::Relaxed);
        }
        let ended = || DatabaseError::Unavailable { message: "the transaction has ended".to_owned() };
        self.transaction.take().ok_or_else(ended)
    }
}

impl<D: Database> FaultyTransaction<D> {
    async fn statement<T: Send>(
        &mut self,
        work: impl Future<Output = Result<(T, Box<dyn Transaction>), DatabaseError>> + Send,
    ) -> Result<T, DatabaseError> {
        let (done, transaction) = self.shared.run(Operation::Statement, self.deadline, work).await?;
        self.transaction = Some(transaction);
        Ok(done)
    }
}

impl<D> Drop for FaultyTransaction<D> {
    fn drop(&mut self) {
        if self.has_begun && self.transaction.is_some() {
            self.shared.counts.roll_backs.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[async_trait]
impl<D: Database + 'static> Transaction for FaultyTransaction<D> {
    async fn lock(&mut self, keys: Vec<SessionKey>) -> Result<Vec<Option<Session>>, DatabaseError> {
        let mut transaction = self.take()?;
        self.statement(async move { Ok((transaction.lock(keys).await?, transaction)) }).await
    }

    async fn write(&mut self, batch: Vec<Write>) -> Result<Vec<WriteOutcome>, DatabaseError> {
        let mut transaction = self.take()?;
        self.statement(async move { Ok((transaction.write(batch).await?, transaction)) }).await
    }

    async fn commit(mut self: Box<Self>) -> Result<(), DatabaseError> {
        self.shared.counts.commits.fetch_add(1, Ordering::Relaxed);
        let transaction = self.take()?;
        self.shared.run(Operation::Commit, self.deadline, transaction.commit()).await
    }

    async fn roll_back(mut self: Box<Self>) {
        if let Ok(transaction) = self.take() {
            self.shared.counts.roll_backs.fetch_add(1, Ordering::Relaxed);
            transaction.roll_back().await;
        }
    }
}
