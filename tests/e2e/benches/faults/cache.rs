//! The part "cache": a host with a policy in wasm over a healthy database, and Redis behind a proxy.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use async_trait::async_trait;
use indicatif::ProgressBar;
use switchover::backends::{Postgres, Redis};
use switchover::capabilities::{Cache, CacheError, CacheLookup, Database as _, Lease, Nonce};
use switchover::{Builtin, Policy, Session, SessionKey, Switchover, Timestamp};
use switchover_harness::{Proxy, Server};
use switchover_tests::facts::{self, Settings};
use tokio::task::JoinSet;

use super::course::{self, Cost};
use super::fault::{Fault, Line};
use super::journal::{Journal, Pen};
use super::options::{Options, Part};
use super::visitor::Visitor;

/// The servers, the host, and its clients.
pub(crate) struct Setup {
    line: Line,
    database: Server,
    redis: Redis,
    hits: Arc<AtomicU64>,
    journal: Arc<Journal>,
    visitors: JoinSet<()>,
    /// Keeps the host alive, which the visitors call.
    _host: Switchover,
}

/// What one fault of the cache cost.
pub(crate) struct CacheCost {
    pub(crate) cost: Cost,
    /// From the end of the fault to the next connection.
    pub(crate) connected: Option<Duration>,
    /// From the end of the fault to the next entry that was served.
    pub(crate) hit: Option<Duration>,
}

impl Setup {
    pub(crate) async fn start(options: &Options) -> Result<Self> {
        let database = switchover_harness::Postgres::builder().durability(options.durability()).start().await?;
        let server = switchover_harness::Redis::start().await?;
        let proxy = Proxy::start(server.address()).await?;
        let default = Postgres::connect(&database.url()).await?;
        default.upkeep().create_schema(Instant::now() + Duration::from_secs(30)).await?;
        // Uses the default timeouts and limits.
        let redis = Redis::connect(&proxy.url_of(&server.url())?).await?;
        let hits = Arc::new(AtomicU64::new(0));
        let host = Switchover::builder()
            .database("default", default)
            .cache(Counted { redis: redis.clone(), hits: Arc::clone(&hits) })
            .policy(Policy::builtin(Builtin::CachedDb))
            .build()
            .await?;
        let journal = Journal::open();
        let mut visitors = JoinSet::new();
        for client in 0..options.clients() {
            let pen = Pen { journal: Arc::clone(&journal), client };
            let visitor = Visitor::arrive(host.sessions(), pen).await?;
            visitors.spawn(visitor.call_for_ever());
        }
        Ok(Self { line: Line { server, proxy }, database, redis, hits, journal, visitors, _host: host })
    }

    pub(crate) async fn facts(&self) -> Result<Vec<(Part, Settings)>> {
        let (database, cache) = (&self.database.url(), &self.line.server.url());
        Ok(vec![(Part::Postgres, facts::postgres(database).await?), (Part::Cache, facts::redis(cache).await?)])
    }

    pub(crate) async fn measure(&mut self, options: &Options, bar: &ProgressBar) -> Result<Vec<(Fault, CacheCost)>> {
        let mut costs = Vec::new();
        // Waits until most sessions are in the cache.
        tokio::time::sleep(options.length()).await;
        self.journal.take();
        for _ in 0..options.rounds() {
            for fault in options.faults(Part::Cache) {
                bar.set_message(format!("Redis: {}", fault.title()));
                costs.push((fault, self.suffer(fault, options).await?));
                bar.inc(1);
            }
        }
        ensure!(self.visitors.try_join_next().is_none(), "a client has ended by itself");
        Ok(costs)
    }

    async fn suffer(&self, fault: Fault, options: &Options) -> Result<CacheCost> {
        let (mut connected, mut hit, mut hits_before) = (None, None, None);
        let is_back = |ended: Instant| {
            let hits = self.hits.load(Ordering::Relaxed);
            if hits > *hits_before.get_or_insert(hits) {
                hit.get_or_insert_with(|| ended.elapsed());
            }
            if self.redis.is_connected() {
                connected.get_or_insert_with(|| ended.elapsed());
            }
            connected.is_some() && hit.is_some()
        };
        let cost = course::run(fault, &self.line, &self.journal, options, is_back).await?;
        Ok(CacheCost { cost, connected, hit })
    }
}

/// Redis, with a count of the look-ups that found an entry.
struct Counted {
    redis: Redis,
    hits: Arc<AtomicU64>,
}

#[async_trait]
impl Cache for Counted {
    async fn get(&self, key: &SessionKey, now: Timestamp) -> Result<CacheLookup, CacheError> {
        let found = self.redis.get(key, now).await;
        if matches!(found, Ok(CacheLookup::Hit(_))) {
            self.hits.fetch_add(1, Ordering::Relaxed);
        }
        found
    }

    async fn fill(&self, lease: Lease, session: &Session, ttl: Duration) -> Result<bool, CacheError> {
        self.redis.fill(lease, session, ttl).await
    }

    async fn guard(&self, key: &SessionKey, nonce: Nonce, ttl: Duration) -> Result<(), CacheError> {
        self.redis.guard(key, nonce, ttl).await
    }

    async fn release(&self, key: &SessionKey, nonce: Nonce) -> Result<(), CacheError> {
        self.redis.release(key, nonce).await
    }

    async fn invalidate(&self, key: &SessionKey) -> Result<(), CacheError> {
        self.redis.invalidate(key).await
    }

    fn summary(&self) -> String {
        self.redis.summary()
    }
}
