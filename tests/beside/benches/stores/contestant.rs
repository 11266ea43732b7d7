//! The contestants: for two session crates, Switchover's store and the one that its users have now.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use axum_session::DatabasePool;
use axum_session_sqlx::SessionPgPool;
use clap::ValueEnum;
use serde_json::Value;
use switchover::backends::{Postgres, Redis};
use switchover::{Builtin, Layout, Limits, Policy, Sessions, Switchover};
use switchover_axum_session::SwitchoverPool;
use switchover_tower_sessions::SwitchoverStore;
use time::OffsetDateTime;
use tower_sessions_core::session::{Id, Record};
use tower_sessions_core::{CachingSessionStore, SessionStore};
use tower_sessions_redis_store::RedisStore;
use tower_sessions_redis_store::fred::prelude::{ClientLike as _, Config, Pool};
use tower_sessions_sqlx_store::PostgresStore;

use super::site::Place;

/// So long that no entry ends while hits are measured.
const CACHE_MAX_AGE: Duration = Duration::from_secs(3_600);
/// The others have no deadlines that 1,024 calls without a pause would meet on a small machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// As in the documentation of the store.
const REDIS_CONNECTIONS: usize = 6;
const MONTH: time::Duration = time::Duration::days(30);
/// The table of axum_session's pool.
pub(crate) const TABLE: &str = "sessions";

/// The order of the reports: each of ours stands before what it is compared with.
pub(crate) const KINDS: [Kind; 4] = [Kind::TowerOurs, Kind::Tower, Kind::AxumOurs, Kind::Axum];

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// `SwitchoverStore`, on PostgreSQL and Redis.
    TowerOurs,
    /// `CachingSessionStore` of tower-sessions' stores on Redis and PostgreSQL.
    Tower,
    /// `SwitchoverPool`, on PostgreSQL and Redis.
    AxumOurs,
    /// axum_session's own pool on PostgreSQL.
    Axum,
}

impl Kind {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::TowerOurs => "Switchover for tower-sessions",
            Self::Tower => "tower-sessions",
            Self::AxumOurs => "Switchover for axum_session",
            Self::Axum => "axum_session",
        }
    }

    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Self::TowerOurs | Self::AxumOurs)
    }
}

/// A contestant that is ready to be called, by the trait of its session crate.
pub(crate) enum Contestant {
    Tower(Arc<dyn SessionStore>),
    Axum(Arc<dyn DatabasePool + Send + Sync>),
}

#[derive(Clone)]
pub(crate) enum Key {
    Tower(Id),
    Axum(String),
}

impl Contestant {
    pub(crate) async fn open(kind: Kind, place: &Place) -> Result<Self> {
        Ok(match kind {
            Kind::TowerOurs => Self::Tower(Arc::new(SwitchoverStore::new(sessions(place).await?))),
            Kind::Tower => Self::Tower(Arc::new(caching(place).await?)),
            Kind::AxumOurs => Self::Axum(Arc::new(SwitchoverPool::new(sessions(place).await?))),
            Kind::Axum => {
                let pool = SessionPgPool::from(sqlx_0_9::PgPool::connect(&place.database).await?);
                pool.initiate(TABLE).await?;
                Self::Axum(Arc::new(pool))
            }
        })
    }

    pub(crate) async fn create(&self, payload: &str, dice: &mut fastrand::Rng) -> Result<Key> {
        match self {
            Self::Tower(store) => {
                let mut record = record(Id(dice.i128(..)), payload, 0);
                store.create(&mut record).await?;
                Ok(Key::Tower(record.id))
            }
            Self::Axum(pool) => {
                let id = uuid(dice.u128(..));
                ensure!(!pool.exists(&id, TABLE).await?, "a new id is taken");
                pool.store(&id, payload, end(0).unix_timestamp(), TABLE).await?;
                Ok(Key::Axum(id))
            }
        }
    }

    /// Loads a session, which must exist. Returns the size of its payload.
    pub(crate) async fn load(&self, key: &Key) -> Result<usize> {
        let missing = "a session that is there was not found";
        match (self, key) {
            (Self::Tower(store), Key::Tower(id)) => {
                let record = store.load(id).await?.context(missing)?;
                Ok(record.data.get("data").and_then(Value::as_str).context(missing)?.len())
            }
            (Self::Axum(pool), Key::Axum(id)) => Ok(pool.load(id, TABLE).await?.context(missing)?.len()),
            _ => anyhow::bail!("a key of another crate"),
        }
    }

    /// Saves a session, which must exist. It ends `later` seconds after the others.
    pub(crate) async fn save(&self, key: &Key, payload: &str, later: i64) -> Result<()> {
        match (self, key) {
            (Self::Tower(store), Key::Tower(id)) => store.save(&record(*id, payload, later)).await?,
            (Self::Axum(pool), Key::Axum(id)) => {
                pool.store(id, payload, end(later).unix_timestamp(), TABLE).await?;
            }
            _ => anyhow::bail!("a key of another crate"),
        }
        Ok(())
    }

    pub(crate) async fn delete(&self, key: &Key) -> Result<()> {
        match (self, key) {
            (Self::Tower(store), Key::Tower(id)) => store.delete(id).await?,
            (Self::Axum(pool), Key::Axum(id)) => pool.delete_one_by_id(id, TABLE).await?,
            _ => anyhow::bail!("a key of another crate"),
        }
        Ok(())
    }
}

/// Switchover as a service embeds it, with its default policy in wasm.
async fn sessions(place: &Place) -> Result<Sessions> {
    let mut limits = Limits::default();
    limits.cache_max_age = CACHE_MAX_AGE;
    limits.cache_deadline = PATIENCE;
    limits.read_deadline = PATIENCE;
    limits.write_deadline = PATIENCE;
    limits.call_wall_time = PATIENCE * 2;
    let host = Switchover::builder()
        .database("default", Postgres::builder(&place.database).layout(Layout::SWITCHOVER).connect().await?)
        .cache(Redis::builder(&place.cache).response_timeout(PATIENCE).connect().await?)
        .limits(limits)
        .policy(Policy::builtin(Builtin::CachedDb))
        .build()
        .await?;
    Ok(host.sessions())
}

type Caching = CachingSessionStore<RedisStore<Pool>, PostgresStore>;

/// As the documentation of both stores shows it.
async fn caching(place: &Place) -> Result<Caching> {
    let pool = Pool::new(Config::from_url(&place.cache)?, None, None, None, REDIS_CONNECTIONS)?;
    pool.connect();
    pool.wait_for_connect().await?;
    let database = PostgresStore::new(sqlx::PgPool::connect(&place.database).await?);
    database.migrate().await?;
    Ok(CachingSessionStore::new(RedisStore::new(pool), database))
}

fn record(id: Id, payload: &str, later: i64) -> Record {
    Record { id, data: [("data".to_owned(), Value::from(payload))].into(), expiry_date: end(later) }
}

fn end(later: i64) -> OffsetDateTime {
    OffsetDateTime::now_utc() + MONTH + time::Duration::seconds(later)
}

/// An id in the form of axum_session's.
fn uuid(random: u128) -> String {
    let hex = format!("{random:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}
