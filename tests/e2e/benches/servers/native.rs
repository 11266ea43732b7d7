//! The hand-written contestant: the proxy of 2016 for two databases and a cache, over the same drivers.
//!
//! It is written to be fast: prepared statements, ten connections to each database, no ping before a statement, one
//! multiplexed connection to Redis without Nagle's algorithm, no task and no queue of its own, and no unnecessary
//! copies.
//!
//! Switchover does the following, and this proxy does not:
//!
//! * guards and leases: without them, a slow reader puts the row from before a write back into the cache;
//! * deadlines: a server that hangs also blocks its callers, with the connections of the pool;
//! * repairs: if the commit at the old database fails after the one at the new, the two differ from then on;
//! * work that outlives its caller: a client that disconnects stops a dual save halfway;
//! * answers when Redis does not answer: the call fails;
//! * checks of cache entries beyond their end, bounded queues, counters, a change of flags that waits for earlier
//!   calls, and a policy that can be swapped.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result};
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, IntoConnectionInfo as _};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgConnectOptions, PgPool, PgPoolOptions, PgTypeInfo, PgValueRef};
use sqlx::{ConnectOptions as _, Decode, Encode, Postgres, Row as _, Type};
use switchover::Timestamp;
use switchover::capabilities::{Clock as _, SystemClock};

use super::site::Place;

const CONNECTIONS: u32 = 10;
/// As many commands as the library allows to wait at its connection.
const PIPELINE_BUFFER: usize = 2_048;
/// As long as the host may serve an entry in this benchmark.
const CACHE_SECONDS: u64 = super::contestant::CACHE_MAX_AGE.as_secs();

const SELECT: &str = "SELECT session_data, expire_date FROM django_session \
                      WHERE session_key = $1 AND expire_date > statement_timestamp()";
const UPDATE: &str = "UPDATE django_session SET session_data = $2, expire_date = $3 WHERE session_key = $1";
const UPSERT: &str = "INSERT INTO django_session (session_key, session_data, expire_date) VALUES ($1, $2, $3) \
    ON CONFLICT (session_key) DO UPDATE SET session_data = excluded.session_data, expire_date = excluded.expire_date";

/// Two pools, a cache and the flag `migration_flag`.
pub(crate) struct NativeProxy {
    old: PgPool,
    new: PgPool,
    cache: MultiplexedConnection,
    migrating: AtomicBool,
}

/// A session that was found.
pub(crate) struct Found {
    pub(crate) payload: String,
    pub(crate) expires_at: Timestamp,
}

impl NativeProxy {
    pub(crate) async fn connect(place: &Place) -> Result<Self> {
        let (old, new) = (pool(&place.old).await?, pool(&place.new).await?);
        let address = place.cache.as_str().into_connection_info()?;
        let address = address.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let config = AsyncConnectionConfig::new().set_response_timeout(None).set_pipeline_buffer_size(PIPELINE_BUFFER);
        let client = redis::Client::open(address)?;
        let cache = client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(Self { old, new, cache, migrating: AtomicBool::new(false) })
    }

    pub(crate) fn set_migrating(&self, on: bool) {
        self.migrating.store(on, Ordering::Release);
    }

    /// Reads the cache, then the new database while both are written, then the old one. What was found is put into the
    /// cache.
    pub(crate) async fn load(&self, key: &str) -> Result<Option<Found>> {
        let name = name(key);
        let mut cache = self.cache.clone();
        let entry: Option<Vec<u8>> = redis::cmd("GET").arg(&name).query_async(&mut cache).await?;
        if let Some(found) = entry.and_then(from_entry).filter(|found| found.expires_at > SystemClock.now()) {
            return Ok(Some(found));
        }
        let found = match self.migrating.load(Ordering::Acquire) {
            true => match select(&self.new, key).await? {
                Some(found) => Some(found),
                None => select(&self.old, key).await?,
            },
            false => select(&self.old, key).await?,
        };
        if let Some(found) = &found {
            let left = found.expires_at.since(SystemClock.now()).as_secs().clamp(1, CACHE_SECONDS);
            redis::cmd("SET").arg(&name).arg(to_entry(found)).arg("EX").arg(left).exec_async(&mut cache).await?;
        }
        Ok(found)
    }

    /// Saves a session. Returns `false` if there is no such session. It removes the cache's entry, which costs less
    /// than setting the new one.
    pub(crate) async fn save(&self, key: &str, payload: &str, expires_at: Timestamp) -> Result<bool> {
        let saved = match self.migrating.load(Ordering::Acquire) {
            true => self.save_in_both(key, payload, expires_at).await?,
            false => write(UPDATE, key, payload, expires_at).execute(&self.old).await?.rows_affected() == 1,
        };
        redis::cmd("DEL").arg(name(key)).exec_async(&mut self.cache.clone()).await?;
        Ok(saved)
    }

    /// Saves in both databases. The row at the old database stays locked until the new one has committed, so that two
    /// saves of one key reach both in the same order.
    async fn save_in_both(&self, key: &str, payload: &str, expires_at: Timestamp) -> Result<bool> {
        let mut transaction = self.old.begin().await?;
        let saved = write(UPDATE, key, payload, expires_at).execute(&mut *transaction).await?.rows_affected() == 1;
        if saved {
            write(UPSERT, key, payload, expires_at).execute(&self.new).await?;
        }
        transaction.commit().await?;
        Ok(saved)
    }
}

/// A pool that is full from the start. sqlx needs one more round trip to return a connection after each use, and no
/// option turns this off; the caller does not wait for it.
async fn pool(address: &str) -> Result<PgPool> {
    let options: PgConnectOptions = address.parse()?;
    let pool = PgPoolOptions::new()
        .min_connections(CONNECTIONS)
        .max_connections(CONNECTIONS)
        .test_before_acquire(false)
        .connect_with(options.disable_statement_logging());
    pool.await.context("the pool cannot connect")
}

async fn select(pool: &PgPool, key: &str) -> Result<Option<Found>> {
    let Some(row) = sqlx::query(SELECT).bind(key).fetch_optional(pool).await? else { return Ok(None) };
    let Instant(expires_at) = row.try_get(1)?;
    Ok(Some(Found { payload: row.try_get(0)?, expires_at }))
}

fn write<'q>(
    sql: &'q str,
    key: &'q str,
    payload: &'q str,
    expires_at: Timestamp,
) -> sqlx::query::Query<'q, Postgres, sqlx::postgres::PgArguments> {
    sqlx::query(sql).bind(key).bind(payload).bind(Instant(expires_at))
}

fn name(key: &str) -> String {
    ["session:", key].concat()
}

/// The entry of a session: eight bytes of its end, then the payload.
fn to_entry(found: &Found) -> Vec<u8> {
    [&found.expires_at.as_micros().to_be_bytes()[..], found.payload.as_bytes()].concat()
}

fn from_entry(mut entry: Vec<u8>) -> Option<Found> {
    let expires_at = Timestamp::from_micros(u64::from_be_bytes(*entry.first_chunk()?));
    entry.drain(..8);
    Some(Found { payload: String::from_utf8(entry).ok()?, expires_at })
}

/// An instant as `timestamptz` in binary form: microseconds since 2000.
struct Instant(Timestamp);

const EPOCH: i64 = 946_684_800_000_000;

impl Type<Postgres> for Instant {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1184))
    }
}

impl Encode<'_, Postgres> for Instant {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<Postgres>::encode(i64::try_from(self.0.as_micros())? - EPOCH, buffer)
    }
}

impl Decode<'_, Postgres> for Instant {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        let micros = i64::from_be_bytes(value.as_bytes()?.try_into()?) + EPOCH;
        Ok(Self(Timestamp::from_micros(u64::try_from(micros)?)))
    }
}
