//! What the host guarantees for a session under every policy. All access to databases and cache goes through this
//! module.

mod batch;
mod epoch;
mod fleet_cache;
mod guard;
mod lanes;
mod pair;
mod reach;
mod repair;
mod route;
mod strict;
mod together;
mod write;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use switchover_contract::{Error, ErrorCode, Result};

pub(crate) use self::fleet_cache::FleetCache;
use self::lanes::Lanes;
pub(crate) use self::pair::Pair;
use self::pair::{NewHealth, Suspects};
pub(crate) use self::reach::StoreReach;
use self::repair::Repairs;
use switchover_core::capabilities::{Cache, CacheError, Clock, Database, DatabaseError, Fence, Read, ReadOutcome};
use switchover_core::{DatabaseName, SessionKey};
use switchover_runtime::LimitsInForce;
use switchover_runtime::counters::{Asked, Counters};
use tokio::sync::Notify;

use crate::trace::{CacheSpans, TracedDatabase};

/// The databases and the cache of one host.
pub(crate) struct Store {
    databases: BTreeMap<DatabaseName, TracedDatabase>,
    cache: Option<Arc<dyn Cache>>,
    cache_spans: CacheSpans,
    clock: Arc<dyn Clock>,
    limits: LimitsInForce,
    counters: Arc<Counters>,
    lanes: Lanes,
    repairs: Repairs,
    /// The two databases of the migration that this host takes part in.
    pair: Option<Pair>,
    fleet_cache: Option<Arc<FleetCache>>,
    suspects: Suspects,
    new_health: NewHealth,
    /// Told when an operation finds that a later epoch is in force.
    fenced: Notify,
}

impl Store {
    pub(crate) fn new(
        databases: BTreeMap<DatabaseName, Arc<dyn Database>>,
        cache: Option<Arc<dyn Cache>>,
        clock: Arc<dyn Clock>,
        limits: LimitsInForce,
        pair: Option<Pair>,
        fleet_cache: Option<Arc<FleetCache>>,
    ) -> Arc<Self> {
        let traced = |(name, database)| (name, TracedDatabase::new(database));
        Arc::new(Self {
            databases: databases.into_iter().map(traced).collect(),
            cache_spans: CacheSpans::of(cache.as_deref()),
            cache,
            clock,
            limits,
            counters: Arc::default(),
            lanes: Lanes::default(),
            repairs: Repairs::default(),
            pair,
            fleet_cache,
            suspects: Suspects::default(),
            new_health: NewHealth::default(),
            fenced: Notify::new(),
        })
    }

    pub(crate) fn databases(&self) -> impl Iterator<Item = (&DatabaseName, &Arc<dyn Database>)> {
        self.databases.iter().map(|(name, database)| (name, database.plain()))
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) fn shared_counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    pub(crate) async fn close(&self) {
        for database in self.databases.values() {
            database.plain().close().await;
        }
    }

    fn database(&self, name: &str) -> Result<(&DatabaseName, &TracedDatabase)> {
        self.databases.get_key_value(name).ok_or_else(|| {
            Error::new(
                ErrorCode::Denied,
                format!("no database {} was given to this policy; configure it", DatabaseName::shown(name)),
            )
        })
    }

    async fn read_one(&self, database: &str, read: Read, fence: Option<&Fence>) -> Result<ReadOutcome> {
        let (name, database) = self.database(database)?;
        self.counters.asked(Asked::DatabaseRead);
        let terms = self.terms(name, Instant::now() + self.limits.now().read_deadline, fence);
        let mut outcomes =
            database.read(vec![read], terms).await.map_err(|error| self.fenced_or(database_error(name, &error)))?;
        match outcomes.pop().ok_or_else(|| internal(name, "a read without an answer"))? {
            ReadOutcome::Unreadable(row) => Err(database_error(name, &row.into())),
            outcome => Ok(outcome),
        }
    }

    /// Checks that a database answers, by asking for a random key.
    pub(crate) async fn ask(&self, database: &str) -> Result<()> {
        let asked = self.read_one(database, Read::Exists(SessionKey::random()), None);
        match tokio::time::timeout(self.limits.now().read_deadline, asked).await {
            Ok(answer) => answer.map(drop),
            Err(_) => Err(Error::new(ErrorCode::Timeout, format!("database {database}: no answer in time"))),
        }
    }

    fn cache(&self) -> Result<&dyn Cache> {
        self.cache.as_deref().ok_or_else(|| Error::new(ErrorCode::Unsupported, "this host has no cache"))
    }

    async fn bounded<T>(
        &self,
        operation: &'static str,
        work: impl Future<Output = std::result::Result<T, CacheError>> + Send,
    ) -> Result<T> {
        self.bounded_by(operation, self.limits.now().cache_deadline, work).await
    }

    /// Runs one operation of the cache, bounded in time: a cache that hangs counts as failed.
    async fn bounded_by<T>(
        &self,
        operation: &'static str,
        patience: Duration,
        work: impl Future<Output = std::result::Result<T, CacheError>> + Send,
    ) -> Result<T> {
        let message = match self.cache_spans.bounded(operation, patience, work).await {
            Ok(value) => return Ok(value),
            Err(Some(error)) => error.message,
            Err(None) => "no answer in time".to_owned(),
        };
        self.counters.cache_failed();
        Err(Error::new(ErrorCode::Unavailable, format!("the cache failed: {message}")))
    }
}

fn database_error(name: &DatabaseName, error: &DatabaseError) -> Error {
    let code = match error {
        DatabaseError::Invalid { .. } => ErrorCode::Invalid,
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

fn internal(name: &DatabaseName, what: &str) -> Error {
    Error::new(ErrorCode::Internal, format!("database {name}: {what}"))
}
