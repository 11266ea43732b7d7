//! A database in memory, with row locks like those of a real one.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::ready;
use std::ops::Bound;
use std::pin::pin;
use std::sync::{Arc, MutexGuard};
use std::time::Instant;

use async_trait::async_trait;
use switchover_core::capabilities::{
    Clock, Cursor, Database, DatabaseError, Endpoint, ExpiredLeft, Feeds, Identity, Read, ReadOutcome, Scan,
    Statistics, Swept, SystemClock, Terms, Transaction, Upkeep, Write, WriteOutcome,
};
use switchover_core::sync::Mutex;
use switchover_core::{Layout, Session, SessionKey, Timestamp};
use tokio::sync::Notify;
use tokio::time::timeout_at;

use crate::fit;
use crate::page::{Page, ScannedRow};

/// A database in memory. It lasts as long as its last clone. Cheap to clone: all clones are one database.
///
/// A transaction locks the rows of its statements and no others, as PostgreSQL does. It also locks keys that have no
/// row.
#[derive(Clone)]
pub struct MemoryDatabase {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Notified whenever a lock is released.
    freed: Notify,
    clock: Arc<dyn Clock>,
    layout: Layout,
}

#[derive(Default)]
struct State {
    rows: BTreeMap<SessionKey, Session>,
    locks: HashMap<SessionKey, Lock>,
    transactions: u64,
    closed: bool,
}

/// A transaction ends by itself at its deadline. From then on its locks have no effect, even if it still has them.
#[derive(Clone, Copy)]
struct Lock {
    transaction: u64,
    until: Instant,
}

/// What is under each key after a batch: a row, or none.
type Changes = BTreeMap<SessionKey, Option<Session>>;

impl Default for MemoryDatabase {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryDatabase {
    /// An empty table with the machine's clock.
    pub fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock))
    }

    /// An empty table with a clock that decides which sessions have ended.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self::with(clock, Layout::default())
    }

    /// An empty table with this layout, and with the machine's clock.
    pub fn with_layout(layout: Layout) -> Self {
        Self::with(Arc::new(SystemClock), layout)
    }

    fn with(clock: Arc<dyn Clock>, layout: Layout) -> Self {
        Self { shared: Arc::new(Shared { state: Mutex::default(), freed: Notify::new(), clock, layout }) }
    }

    /// Does `work` once no transaction but `own` has a lock on any of `keys`, or fails at `deadline`.
    async fn unlocked<T>(
        &self,
        keys: &[SessionKey],
        own: Option<u64>,
        deadline: Instant,
        work: impl FnOnce(&mut State) -> T,
    ) -> Result<T, DatabaseError> {
        loop {
            let mut freed = pin!(self.shared.freed.notified());
            // Registered before the check, so that a lock released in between is not missed.
            freed.as_mut().enable();
            let until = {
                let mut state = self.open_state(deadline)?;
                match state.locked_until(keys, own) {
                    None => return Ok(work(&mut state)),
                    Some(until) => until,
                }
            };
            timeout_at(until.min(deadline).into(), freed).await.ok();
            if deadline <= Instant::now() {
                return Err(DatabaseError::Conflict { message: "another write held the row".to_owned() });
            }
        }
    }

    fn open_state(&self, deadline: Instant) -> Result<MutexGuard<'_, State>, DatabaseError> {
        if deadline <= Instant::now() {
            return Err(DatabaseError::Timeout);
        }
        let state = self.shared.state();
        if state.closed {
            return Err(DatabaseError::Unavailable { message: "it was closed".to_owned() });
        }
        Ok(state)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    /// When the last lock on `keys` that is not held by `own` ends by itself; `None`: there is no such lock.
    fn locked_until(&mut self, keys: &[SessionKey], own: Option<u64>) -> Option<Instant> {
        if self.locks.is_empty() {
            return None;
        }
        let now = Instant::now();
        self.locks.retain(|_, lock| lock.until > now);
        let locks = keys.iter().filter_map(|key| self.locks.get(key));
        locks.filter(|lock| Some(lock.transaction) != own).map(|lock| lock.until).max()
    }

    /// The row of a key as a transaction with these changes sees it.
    fn row(&self, changes: &Changes, key: &SessionKey) -> Option<Session> {
        changes.get(key).cloned().unwrap_or_else(|| self.rows.get(key).cloned())
    }

    /// Plans what the batch does, in order. Its changes are added to `changes`; they are not applied.
    fn plan(&self, batch: Vec<Write>, changes: &mut Changes) -> Vec<WriteOutcome> {
        let plan = |write: Write| {
            let key = write.key().clone();
            let (outcome, change) = outcome(self.row(changes, &key), write);
            changes.extend(change.map(|row| (key, row)));
            outcome
        };
        batch.into_iter().map(plan).collect()
    }

    fn apply(&mut self, changes: Changes) {
        for (key, row) in changes {
            match row {
                Some(row) => self.rows.insert(key, row),
                None => self.rows.remove(&key),
            };
        }
    }
}

/// The outcome of one write on a row, and the change that it makes, if any.
fn outcome(row: Option<Session>, write: Write) -> (WriteOutcome, Option<Option<Session>>) {
    let put = |session: Session| (WriteOutcome::Done(Some(session.clone())), Some(Some(session)));
    match (write, row) {
        (Write::Insert(_), Some(_)) => (WriteOutcome::Exists, None),
        // A session without other columns leaves those of the row unchanged.
        (Write::Update(session) | Write::Upsert(session), Some(row)) if session.others.is_empty() => {
            put(Session { others: row.others, ..session })
        }
        (Write::Insert(session) | Write::Upsert(session), _) | (Write::Update(session), Some(_)) => put(session),
        (Write::Touch(_, expires_at), Some(row)) => put(Session { expires_at: row.expires_at.max(expires_at), ..row }),
        (Write::Delete(_), Some(_)) => (WriteOutcome::Done(None), Some(None)),
        (Write::Update(_) | Write::Touch(..) | Write::Delete(_), None) => (WriteOutcome::Missing, None),
    }
}

#[async_trait]
impl Database for MemoryDatabase {
    async fn read(&self, batch: Vec<Read>, terms: Terms) -> Result<Vec<ReadOutcome>, DatabaseError> {
        terms.ensure_no_fence()?;
        let ask = |batch: Vec<Read>| {
            let now = self.shared.clock.now();
            let read = self.open_state(terms.deadline).map(|state| {
                let read = |read| match read {
                    Read::Load(key) => {
                        ReadOutcome::Session(state.rows.get(&key).filter(|session| session.expires_at > now).cloned())
                    }
                    Read::Exists(key) => ReadOutcome::Exists(state.rows.contains_key(&key)),
                };
                batch.into_iter().map(read).collect()
            });
            ready(read)
        };
        fit::read(self.layout(), batch, ask).await
    }

    async fn write(&self, batch: Vec<Write>, terms: Terms) -> Result<Vec<WriteOutcome>, DatabaseError> {
        terms.ensure_no_fence()?;
        let ask = async |batch: Vec<Write>| {
            let keys: Vec<_> = batch.iter().map(|write| write.key().clone()).collect();
            let write = |state: &mut State| {
                let mut changes = Changes::new();
                let outcomes = state.plan(batch, &mut changes);
                state.apply(changes);
                outcomes
            };
            self.unlocked(&keys, None, terms.deadline, write).await
        };
        fit::write(self.layout(), batch, ask).await
    }

    async fn begin(&self, terms: Terms) -> Result<Box<dyn Transaction>, DatabaseError> {
        terms.ensure_no_fence()?;
        let number = {
            let mut state = self.open_state(terms.deadline)?;
            state.transactions += 1;
            state.transactions
        };
        let (database, lock) = (self.clone(), Lock { transaction: number, until: terms.deadline });
        Ok(Box::new(MemoryTransaction { database, lock, changes: Changes::new(), keys: Vec::new(), is_over: false }))
    }

    fn upkeep(&self) -> &dyn Upkeep {
        self
    }

    async fn close(&self) {
        loop {
            let mut freed = pin!(self.shared.freed.notified());
            freed.as_mut().enable();
            let until = {
                let mut state = self.shared.state();
                state.closed = true;
                let keys: Vec<_> = state.locks.keys().cloned().collect();
                state.locked_until(&keys, None)
            };
            let Some(until) = until else { return };
            timeout_at(until.into(), freed).await.ok();
        }
    }

    fn layout(&self) -> Layout {
        self.shared.layout
    }

    fn summary(&self) -> String {
        "memory of this process".to_owned()
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::of("memory")
    }
}

#[async_trait]
impl Upkeep for MemoryDatabase {
    /// It passes the rows that others hold.
    async fn sweep(
        &self,
        before: Option<Timestamp>,
        _passed: u64,
        limit: u32,
        deadline: Instant,
    ) -> Result<Swept, DatabaseError> {
        let now = self.shared.clock.now();
        let before = before.map_or(now, |before| before.min(now));
        let mut state = self.open_state(deadline)?;
        let now = Instant::now();
        let locked = |key| state.locks.get(key).is_some_and(|lock| lock.until > now);
        let expired = state.rows.values().filter(|session| session.expires_at < before && !locked(&session.key));
        let changes: Changes = expired.take(limit as usize).map(|session| (session.key.clone(), None)).collect();
        let deleted = u32::try_from(changes.len()).unwrap_or(limit);
        state.apply(changes);
        Ok(Swept { deleted, more: deleted == limit, ..Swept::default() })
    }

    async fn expired_left(&self, before: Option<Timestamp>, deadline: Instant) -> Result<ExpiredLeft, DatabaseError> {
        let now = self.shared.clock.now();
        let before = before.map_or(now, |before| before.min(now));
        let state = self.open_state(deadline)?;
        let expired = state.rows.values().filter(|session| session.expires_at < before).count() as u64;
        Ok(ExpiredLeft { expired, unreadable: 0 })
    }

    async fn scan(&self, after: Option<Cursor>, limit: u32, deadline: Instant) -> Result<Scan, DatabaseError> {
        let now = self.shared.clock.now();
        let state = self.open_state(deadline)?;
        let after = after.and_then(|after| SessionKey::parse(str::from_utf8(after.expose()).ok()?).ok());
        let above = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rows = state.rows.range((above, Bound::Unbounded)).map(|(_, row)| row);
        let mut page = Page::new(limit);
        for row in rows.by_ref() {
            let key = row.key.expose().as_bytes();
            page.add(key, if row.expires_at > now { ScannedRow::Living(row.clone()) } else { ScannedRow::Expired });
            if page.is_full() {
                break;
            }
        }
        Ok(page.end(rows.next().is_some()))
    }

    async fn identity(&self, _deadline: Instant) -> Result<Option<Identity>, DatabaseError> {
        Ok(Some(Identity::new("memory", &[&format!("{:p}", Arc::as_ptr(&self.shared))])))
    }

    /// Nothing brings rows into memory or carries them away.
    async fn feeds(&self, _deadline: Instant) -> Result<Feeds, DatabaseError> {
        Ok(Feeds::default())
    }

    /// Memory has no schema, so nothing is ever missing.
    async fn missing_schema(&self, deadline: Instant) -> Result<Vec<String>, DatabaseError> {
        self.open_state(deadline).map(|_| Vec::new())
    }

    /// Memory has no schema, so there is nothing to do.
    async fn create_schema(&self, deadline: Instant) -> Result<Vec<String>, DatabaseError> {
        self.open_state(deadline).map(|_| Vec::new())
    }

    /// Only counts; the room that memory takes is not reported.
    async fn statistics(&self, deadline: Instant) -> Result<Statistics, DatabaseError> {
        let now = self.shared.clock.now();
        let state = self.open_state(deadline)?;
        let mut statistics = Statistics::default();
        for session in state.rows.values() {
            let (rows, bytes) = (1, session.payload.len() as u64);
            statistics.rows += rows;
            statistics.payload_bytes += bytes;
            if session.expires_at < now {
                statistics.expired_rows += rows;
                statistics.expired_payload_bytes += bytes;
            }
        }
        Ok(statistics)
    }
}

impl fmt::Debug for MemoryDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryDatabase").field("rows", &self.shared.state().rows.len()).finish_non_exhaustive()
    }
}

/// Planned changes, whose rows are locked. The commit applies them.
struct MemoryTransaction {
    database: MemoryDatabase,
    lock: Lock,
    changes: Changes,
    keys: Vec<SessionKey>,
    is_over: bool,
}

impl MemoryTransaction {
    /// Does `work` with `keys` locked. After a failure all locks are released, and every later call fails.
    async fn locked<T>(
        &mut self,
        keys: Vec<SessionKey>,
        work: impl FnOnce(&State, &mut Changes) -> T,
    ) -> Result<T, DatabaseError> {
        if self.is_over {
            return Err(DatabaseError::Unavailable { message: "the transaction has ended".to_owned() });
        }
        let (lock, changes) = (self.lock, &mut self.changes);
        let locked = |state: &mut State| {
            state.locks.extend(keys.iter().map(|key| (key.clone(), lock)));
            work(state, changes)
        };
        let done = self.database.unlocked(&keys, Some(lock.transaction), lock.until, locked).await;
        self.keys.extend(keys);
        if done.is_err() {
            self.is_over = true;
            self.unlock();
        }
        done
    }

    fn unlock(&mut self) {
        let mut state = self.database.shared.state();
        for key in self.keys.drain(..) {
            if state.locks.get(&key).is_some_and(|lock| lock.transaction == self.lock.transaction) {
                state.locks.remove(&key);
            }
        }
        drop(state);
        self.database.shared.freed.notify_waiters();
    }
}

impl Drop for MemoryTransaction {
    fn drop(&mut self) {
        self.unlock();
    }
}

#[async_trait]
impl Transaction for MemoryTransaction {
    async fn lock(&mut self, keys: Vec<SessionKey>) -> Result<Vec<Option<Session>>, DatabaseError> {
        let layout = self.database.layout();
        let ask = async |keys: Vec<SessionKey>| {
            let asked = keys.clone();
            self.locked(keys, |state, changes| asked.iter().map(|key| state.row(changes, key)).collect()).await
        };
        fit::lock(layout, keys, ask).await
    }

    async fn write(&mut self, batch: Vec<Write>) -> Result<Vec<WriteOutcome>, DatabaseError> {
        let layout = self.database.layout();
        let ask = async |batch: Vec<Write>| {
            let keys = batch.iter().map(|write| write.key().clone()).collect();
            self.locked(keys, |state, changes| state.plan(batch, changes)).await
        };
        let written = fit::write(layout, batch, ask).await;
        if written.is_err() && !self.is_over {
            self.is_over = true;
            self.unlock();
        }
        written
    }

    async fn commit(mut self: Box<Self>) -> Result<(), DatabaseError> {
        if self.is_over {
            return Err(DatabaseError::Unavailable { message: "the transaction has ended".to_owned() });
        }
        let changes = std::mem::take(&mut self.changes);
        let mut state = self.database.shared.state();
        // Before the deadline nobody else can have the locks: see `State::locked_until`.
        if self.lock.until <= Instant::now() {
            return Err(DatabaseError::Timeout);
        }
        state.apply(changes);
        Ok(())
    }

    async fn roll_back(self: Box<Self>) {}
}
