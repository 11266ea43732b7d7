//! What the host guarantees for a session, whatever the policy asks: databases and cache behind one door.

mod guard;
mod reach;
mod repair;
mod strict;
mod write;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use switchover_contract::{Error, ErrorCode, Result, SaveMode, SaveOutcome, Target};

pub(crate) use reach::Reach;
pub(crate) use write::check_target;

use self::repair::Repairs;
use self::strict::StrictLanes;
use crate::capabilities::{Cache, CacheError, CacheLookup, Clock, Database, DatabaseError, Lease, Read, ReadOutcome};
use crate::counters::{Asked, Counters};
use crate::gate::Ticket;
use crate::limits::Limits;
use crate::session::{DatabaseName, Session, SessionKey, Timestamp};

/// The databases and the cache of one host.
pub(crate) struct Store {
    databases: BTreeMap<DatabaseName, Arc<dyn Database>>,
    cache: Option<Arc<dyn Cache>>,
    clock: Arc<dyn Clock>,
    limits: Limits,
    counters: Arc<Counters>,
    lanes: StrictLanes,
    repairs: Repairs,
}

impl Store {
    pub(crate) fn new(
        databases: BTreeMap<DatabaseName, Arc<dyn Database>>,
        cache: Option<Arc<dyn Cache>>,
        clock: Arc<dyn Clock>,
        limits: Limits,
    ) -> Arc<Self> {
        Arc::new(Self {
            databases,
            cache,
            clock,
            limits,
            counters: Arc::default(),
            lanes: StrictLanes::default(),
            repairs: Repairs::default(),
        })
    }

    pub(crate) fn databases(&self) -> impl Iterator<Item = (&DatabaseName, &Arc<dyn Database>)> {
        self.databases.iter()
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) fn shared_counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    pub(crate) async fn close(&self) {
        for database in self.databases.values() {
            database.close().await;
        }
    }

    fn database(&self, name: &str) -> Result<(&DatabaseName, &Arc<dyn Database>)> {
        DatabaseName::parse(name).ok().and_then(|name| self.databases.get_key_value(&name)).ok_or_else(|| {
            Error::new(
                ErrorCode::Denied,
                format!("no database {} was given to this policy; configure it", DatabaseName::shown(name)),
            )
        })
    }

    async fn read_one(&self, database: &str, read: Read) -> Result<ReadOutcome> {
        let (name, database) = self.database(database)?;
        self.counters.asked(Asked::DatabaseRead);
        let deadline = Instant::now() + self.limits.read_deadline;
        let mut outcomes =
            database.read(vec![read], None, deadline).await.map_err(|error| database_error(name, &error))?;
        match outcomes.pop().ok_or_else(|| internal(name, "a read without an answer"))? {
            ReadOutcome::Unreadable(row) => Err(database_error(name, &row.into())),
            outcome => Ok(outcome),
        }
    }

    /// Asks a database whether it is there: for a key that nobody has.
    pub(crate) async fn ask(&self, database: &str) -> Result<()> {
        let asked = self.read_one(database, Read::Exists(SessionKey::random()));
        match tokio::time::timeout(self.limits.read_deadline, asked).await {
            Ok(answer) => answer.map(drop),
            Err(_) => Err(Error::new(ErrorCode::Timeout, format!("database {database}: no answer in time"))),
        }
    }

    fn cache(&self) -> Result<&dyn Cache> {
        self.cache.as_deref().ok_or_else(|| Error::new(ErrorCode::Unsupported, "this host has no cache"))
    }

    pub(crate) async fn look_up(&self, key: &SessionKey) -> Result<CacheLookup> {
        let (now, patience) = (self.clock.now(), self.limits.cache_deadline.min(self.limits.call_wall_time));
        let found = match self.bounded_by(patience, self.cache()?.get(key, now)).await? {
            // The cache is shared and never trusted: an entry of another key, or one that has ended, is a miss that may not be
            // filled over.
            CacheLookup::Hit(session) if session.key != *key || session.expires_at <= now => {
                CacheLookup::Miss(Lease::DEAD)
            }
            found => found,
        };
        let is_hit = matches!(found, CacheLookup::Hit(_));
        self.counters.asked(if is_hit { Asked::CacheHit } else { Asked::CacheMiss });
        Ok(found)
    }

    async fn bounded<T>(
        &self,
        operation: impl Future<Output = std::result::Result<T, CacheError>> + Send,
    ) -> Result<T> {
        self.bounded_by(self.limits.cache_deadline, operation).await
    }

    /// One operation of the cache, bounded in time: a cache that hangs is a cache that failed.
    async fn bounded_by<T>(
        &self,
        patience: Duration,
        operation: impl Future<Output = std::result::Result<T, CacheError>> + Send,
    ) -> Result<T> {
        let message = match tokio::time::timeout(patience, operation).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => error.message,
            Err(_) => "no answer in time".to_owned(),
        };
        self.counters.cache_failed();
        Err(Error::new(ErrorCode::Unavailable, format!("the cache failed: {message}")))
    }
}

#[async_trait]
impl Reach for Arc<Store> {
    async fn load(&self, database: &str, key: &SessionKey) -> Result<Option<Session>> {
        match self.read_one(database, Read::Load(key.clone())).await? {
            // A collation that takes `abc` for `ABC` finds another key's row: that is not this session.
            ReadOutcome::Session(session) => Ok(session.filter(|session| session.key == *key)),
            ReadOutcome::Exists(_) | ReadOutcome::Unreadable(_) => Err(wrong_answer()),
        }
    }

    async fn load_each(&self, databases: &[String], key: &SessionKey) -> Vec<Result<Option<Session>>> {
        // Dropped with the call that asks, unlike writes.
        let mut loads = tokio::task::JoinSet::new();
        for (at, database) in databases.iter().enumerate() {
            let (store, database, key) = (Arc::clone(self), database.clone(), key.clone());
            loads.spawn(async move { (at, store.load(&database, &key).await) });
        }
        let lost = || Err(Error::new(ErrorCode::Internal, "a read panicked"));
        let mut answers: Vec<_> = databases.iter().map(|_| lost()).collect();
        while let Some(loaded) = loads.join_next().await {
            if let Ok((at, answer)) = loaded {
                answers[at] = answer;
            }
        }
        answers
    }

    async fn save(&self, ticket: &Ticket, to: &Target, session: Session, mode: SaveMode) -> Result<SaveOutcome> {
        let (store, to) = (Arc::clone(self), to.clone());
        in_own_task(ticket, move |ticket| async move { store.save_now(&ticket, &to, session, mode).await }).await
    }

    async fn touch(
        &self,
        ticket: &Ticket,
        to: &Target,
        key: &SessionKey,
        expires_at: Timestamp,
    ) -> Result<SaveOutcome> {
        let (store, to, key) = (Arc::clone(self), to.clone(), key.clone());
        in_own_task(ticket, move |ticket| async move { store.touch_now(&ticket, &to, key, expires_at).await }).await
    }

    async fn delete(&self, ticket: &Ticket, to: &Target, key: &SessionKey) -> Result<bool> {
        let (store, to, key) = (Arc::clone(self), to.clone(), key.clone());
        in_own_task(ticket, move |ticket| async move { store.delete_now(&ticket, &to, key).await }).await
    }

    async fn copy(&self, ticket: &Ticket, source: &str, to: &Target, key: &SessionKey) -> Result<()> {
        let (store, source, to, key) = (Arc::clone(self), source.to_owned(), to.clone(), key.clone());
        in_own_task(ticket, move |_ticket| async move { store.copy_now(&source, &to, key).await }).await
    }

    async fn exists(&self, database: &str, key: &SessionKey) -> Result<bool> {
        match self.read_one(database, Read::Exists(key.clone())).await? {
            ReadOutcome::Exists(exists) => Ok(exists),
            ReadOutcome::Session(_) | ReadOutcome::Unreadable(_) => Err(wrong_answer()),
        }
    }

    async fn delete_expired(
        &self,
        ticket: &Ticket,
        database: &str,
        before: Option<Timestamp>,
        limit: u32,
    ) -> Result<u32> {
        let (store, database) = (Arc::clone(self), database.to_owned());
        in_own_task(ticket, move |_ticket| async move {
            let (name, database) = store.database(&database)?;
            let deadline = Instant::now() + store.limits.write_deadline;
            database.delete_expired(before, limit, deadline).await.map_err(|error| database_error(name, &error))
        })
        .await
    }

    async fn cache_get(&self, key: &SessionKey) -> Result<CacheLookup> {
        self.look_up(key).await
    }

    async fn cache_fill(&self, lease: Lease, session: &Session) -> Result<()> {
        let ttl = session.expires_at.since(self.clock.now()).min(self.limits.cache_max_age);
        if ttl.is_zero() {
            return Ok(());
        }
        self.bounded(self.cache()?.fill(lease, session, ttl)).await.map(|_filled| ())
    }

    async fn cache_invalidate(&self, key: &SessionKey) -> Result<()> {
        let (store, key) = (Arc::clone(self), key.clone());
        // To its end, also for a load whose caller leaves: half of it would say that the cache does not answer.
        let told = tokio::spawn(async move { store.bounded(store.cache()?.invalidate(&key)).await }).await;
        told.unwrap_or_else(|_| Err(Error::new(ErrorCode::Internal, "an invalidation panicked")))
    }
}

/// Runs a write in a task of its own: it ends whatever becomes of the call that asked for it, and holds the call's ticket, so
/// that it counts as in flight until then.
async fn in_own_task<T: Send + 'static, F: Future<Output = Result<T>> + Send + 'static>(
    ticket: &Ticket,
    write: impl FnOnce(Ticket) -> F,
) -> Result<T> {
    let written = tokio::spawn(write(ticket.clone())).await;
    written.unwrap_or_else(|_| Err(Error::new(ErrorCode::UnknownOutcome, "a write panicked in the host")))
}

fn database_error(name: &DatabaseName, error: &DatabaseError) -> Error {
    let code = match error {
        DatabaseError::Unavailable { .. } => ErrorCode::Unavailable,
        DatabaseError::Timeout => ErrorCode::Timeout,
        DatabaseError::UnknownOutcome { .. } => ErrorCode::UnknownOutcome,
        DatabaseError::Overloaded => ErrorCode::Overloaded,
        DatabaseError::Corrupt { .. } => ErrorCode::Corrupt,
        DatabaseError::Fenced => ErrorCode::Fenced,
        DatabaseError::Conflict { .. } => ErrorCode::Conflict,
    };
    Error::new(code, format!("database {name}: {error}"))
}

fn wrong_answer() -> Error {
    Error::new(ErrorCode::Internal, "an answer to another question")
}

fn internal(name: &DatabaseName, what: &str) -> Error {
    Error::new(ErrorCode::Internal, format!("database {name}: {what}"))
}
