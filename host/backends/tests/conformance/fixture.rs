//! A fresh database with an empty table, a clock that the test moves, and short functions for what every claim does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use switchover_backends::{Faulty, MemoryDatabase, MySql, Postgres, ServerBuilder, Sqlite};
use switchover_core::capabilities::{
    Clock, Database, DatabaseError, Read, ReadOutcome, Terms, Transaction, Write, WriteOutcome,
};
use switchover_core::{Layout, Payload, Session, SessionKey, Timestamp};
use tempfile::TempDir;

/// Longer than any passing test takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// 2026-12-06 15:05:26
pub(crate) const SECOND: u64 = 1_796_569_526_000_000;

#[derive(Debug)]
pub(crate) struct TestClock(AtomicU64);

impl TestClock {
    pub(crate) fn at(micros: u64) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(micros)))
    }

    pub(crate) fn set(&self, time: Timestamp) {
        self.0.store(time.as_micros(), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

pub(crate) struct Fixture {
    pub(crate) database: Arc<dyn Database>,
    pub(crate) clock: Arc<TestClock>,
    _directory: Option<TempDir>,
}

impl Fixture {
    pub(crate) fn memory() -> Self {
        let clock = TestClock::at(SECOND);
        Self { database: Arc::new(MemoryDatabase::with_clock(clock.clone())), clock, _directory: None }
    }

    /// Without a fault it must behave like the wrapped database.
    pub(crate) fn faulty() -> Self {
        let clock = TestClock::at(SECOND);
        let database = Faulty::new(MemoryDatabase::with_clock(clock.clone()));
        Self { database: Arc::new(database), clock, _directory: None }
    }

    pub(crate) async fn sqlite() -> Result<Self> {
        Self::sqlite_of(Layout::DJANGO).await
    }

    pub(crate) async fn sqlite_of(layout: Layout) -> Result<Self> {
        let clock = TestClock::at(SECOND);
        let directory = TempDir::new()?;
        let path = directory.path().join("sessions.sqlite3");
        let database = Sqlite::builder(path).layout(layout).create_if_missing(true).clock(clock.clone()).open().await?;
        database.upkeep().create_schema(soon()).await?;
        Ok(Self { database: Arc::new(database), clock, _directory: Some(directory) })
    }

    pub(crate) async fn postgres() -> Result<Self> {
        Self::postgres_of(Layout::DJANGO).await
    }

    pub(crate) async fn postgres_of(layout: Layout) -> Result<Self> {
        let server = switchover_harness::Postgres::shared().await?;
        Self::on_server(Postgres::builder(server.url()).layout(layout)).await
    }

    pub(crate) async fn mariadb() -> Result<Self> {
        Self::mariadb_of(Layout::DJANGO).await
    }

    pub(crate) async fn mariadb_of(layout: Layout) -> Result<Self> {
        let server = switchover_harness::MariaDb::shared().await?;
        Self::on_server(MySql::builder(server.url()).layout(layout)).await
    }

    /// A fresh table on a server that the tests of this process share.
    async fn on_server(builder: ServerBuilder) -> Result<Self> {
        let clock = TestClock::at(SECOND);
        let database = builder.table(new_table()).clock(clock.clone()).connect().await?;
        database.upkeep().create_schema(soon()).await?;
        Ok(Self { database: Arc::new(database), clock, _directory: None })
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A session that ends in an hour.
    pub(crate) fn session(&self, key: &str, payload: &str) -> Session {
        session(key, payload, self.now().plus(Duration::from_secs(3_600)))
    }
}

/// A name that no other test uses.
pub(crate) fn new_table() -> String {
    static TABLES: AtomicU64 = AtomicU64::new(0);
    format!("sessions_{}", TABLES.fetch_add(1, Ordering::SeqCst))
}

/// A deadline that no test reaches.
pub(crate) fn soon() -> Instant {
    Instant::now() + PATIENCE
}

pub(crate) fn within(milliseconds: u64) -> Instant {
    Instant::now() + Duration::from_millis(milliseconds)
}

pub(crate) fn key(text: &str) -> SessionKey {
    SessionKey::parse(text).expect("the test names a valid key")
}

pub(crate) fn session(key: &str, payload: &str, expires_at: Timestamp) -> Session {
    Session::new(self::key(key), Payload::from(payload), expires_at)
}

/// Makes one write. If the database did not read the row for its answer, reads it afterwards.
pub(crate) async fn write(database: &dyn Database, write: Write) -> Result<WriteOutcome, DatabaseError> {
    let (key, is_delete) = (write.key().clone(), matches!(write, Write::Delete(_)));
    let outcome = one(database.write(vec![write], Terms::by(soon())).await?);
    if outcome != WriteOutcome::Done(None) || is_delete {
        return Ok(outcome);
    }
    Ok(row(database, &key).await?.map_or(WriteOutcome::Missing, |row| WriteOutcome::Done(Some(row))))
}

/// Reads the row of a key as a transaction sees it, expired or not.
pub(crate) async fn row(database: &dyn Database, key: &SessionKey) -> Result<Option<Session>, DatabaseError> {
    let locked = lock(database, vec![key.clone()], soon()).await?;
    let row = one(locked.outcomes().to_vec());
    locked.roll_back().await;
    Ok(row)
}

/// A transaction after its first statement, and the results of the statement.
pub(crate) struct Held<T> {
    outcomes: Vec<T>,
    pub(crate) transaction: Box<dyn Transaction>,
}

impl<T> Held<T> {
    pub(crate) fn outcomes(&self) -> &[T] {
        &self.outcomes
    }

    pub(crate) async fn commit(self) -> Result<(), DatabaseError> {
        self.transaction.commit().await
    }

    pub(crate) async fn roll_back(self) {
        self.transaction.roll_back().await;
    }
}

/// Begins a transaction with a write.
pub(crate) async fn hold(
    database: &dyn Database,
    batch: Vec<Write>,
    deadline: Instant,
) -> Result<Held<WriteOutcome>, DatabaseError> {
    let mut transaction = database.begin(Terms::by(deadline)).await?;
    Ok(Held { outcomes: transaction.write(batch).await?, transaction })
}

/// Begins a transaction with locks.
pub(crate) async fn lock(
    database: &dyn Database,
    keys: Vec<SessionKey>,
    deadline: Instant,
) -> Result<Held<Option<Session>>, DatabaseError> {
    let mut transaction = database.begin(Terms::by(deadline)).await?;
    Ok(Held { outcomes: transaction.lock(keys).await?, transaction })
}

pub(crate) async fn load(database: &dyn Database, key: &SessionKey) -> Result<Option<Session>, DatabaseError> {
    match one(database.read(vec![Read::Load(key.clone())], Terms::by(soon())).await?) {
        ReadOutcome::Session(session) => Ok(session),
        ReadOutcome::Unreadable(row) => Err(row.into()),
        ReadOutcome::Exists(_) => panic!("a load is answered by a session"),
    }
}

pub(crate) async fn exists(database: &dyn Database, key: &SessionKey) -> Result<bool, DatabaseError> {
    match one(database.read(vec![Read::Exists(key.clone())], Terms::by(soon())).await?) {
        ReadOutcome::Exists(exists) => Ok(exists),
        ReadOutcome::Session(_) | ReadOutcome::Unreadable(_) => {
            panic!("a question whether there is a row is answered by yes or no")
        }
    }
}

/// The error of an operation that must fail.
pub(crate) fn error_of<T>(held: Result<Held<T>, DatabaseError>) -> Result<DatabaseError> {
    held.err().context("it must not be held")
}

/// Repeats a check until it holds, for effects of another thread.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let patience = soon();
    while !holds().await? {
        if Instant::now() > patience {
            bail!("never: {what}");
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

fn one<T>(mut answers: Vec<T>) -> T {
    assert_eq!(answers.len(), 1, "one operation, one answer");
    answers.remove(0)
}
