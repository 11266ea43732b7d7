//! The servers: one PostgreSQL and one Redis, on which each contestant has a database and a cache of its own.

use anyhow::{Context as _, Result};
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor as _};
use switchover_harness::{Builder, Counts, Durability, Proxy, Redis, Server};

use super::options::Options;
use super::visitors::{Stand, Workload};
use super::web::{KINDS, Web};

const COUNTED_SESSIONS: usize = 200;
const COUNTED_PAYLOAD: usize = 400;

/// Two servers, which end with this value.
pub(crate) struct Site {
    pub(crate) database: Server,
    pub(crate) cache: Server,
}

/// The addresses of one contestant's database and cache.
pub(crate) struct Place {
    pub(crate) database: String,
    pub(crate) cache: String,
}

/// Round trips of a request, of one at a time.
pub(crate) struct Trips {
    pub(crate) workload: Workload,
    /// For each of [`KINDS`]: to the database and to the cache, by request.
    pub(crate) each: Vec<[f64; 2]>,
}

impl Site {
    pub(crate) async fn start(fast: bool) -> Result<Self> {
        let durability = if fast { Durability::Fast } else { Durability::Durable };
        let database: Builder = switchover_harness::Postgres::builder().durability(durability);
        Ok(Self { database: database.start().await?, cache: Redis::start().await? })
    }

    /// A web server for each of [`KINDS`], on places of their own; through proxies if there are any.
    pub(crate) async fn webs(&self, name: &str, through: Option<&[Proxy; 2]>, options: &Options) -> Result<Vec<Web>> {
        let mut webs = Vec::new();
        for (at, kind) in KINDS.into_iter().enumerate() {
            let mut database = self.database.create_database(&format!("{name}_{at}")).await?;
            let mut cache = self.cache.create_database(name).await?;
            if let Some([to_database, to_cache]) = through {
                (database, cache) = (to_database.url_of(&database)?, to_cache.url_of(&cache)?);
            }
            let place = Place { database, cache };
            let options = options.clone();
            webs.push(tokio::task::spawn_blocking(move || Web::start(kind, place, &options)).await??);
        }
        Ok(webs)
    }

    /// Counts the round trips, by proxies before both servers.
    pub(crate) async fn round_trips(&self, options: &Options) -> Result<Vec<Trips>> {
        let proxies = [Proxy::start(self.database.address()).await?, Proxy::start(self.cache.address()).await?];
        let webs = self.webs("counted", Some(&proxies), options).await?;
        let mut stands: Vec<_> = webs.into_iter().map(Stand::new).collect();
        let mut all = Vec::new();
        for workload in options.workloads() {
            let mut each = Vec::new();
            for stand in &mut stands {
                // The first time, all threads of the web server connect.
                stand.fill(COUNTED_SESSIONS, COUNTED_PAYLOAD).await?;
                stand.slice(Workload::Hit, COUNTED_PAYLOAD, 64, options.length()).await?;
                if workload == Workload::Miss {
                    stand.web.place.empty_cache().await?;
                }
                let before = [proxies[0].counts(), proxies[1].counts()];
                let slice = stand.slice(workload, COUNTED_PAYLOAD, 1, options.length()).await?;
                let by_request = |after: Counts, before: Counts| {
                    (after.round_trips - before.round_trips) as f64 / slice.latencies_us.len() as f64
                };
                each.push([by_request(proxies[0].counts(), before[0]), by_request(proxies[1].counts(), before[1])]);
            }
            all.push(Trips { workload, each });
        }
        Ok(all)
    }
}

impl Place {
    /// Deletes every session.
    pub(crate) async fn empty(&self) -> Result<()> {
        PgConnection::connect(&self.database).await?.execute("TRUNCATE django_session").await?;
        self.empty_cache().await
    }

    pub(crate) async fn empty_cache(&self) -> Result<()> {
        let mut cache = redis::Client::open(self.cache.as_str())?.get_multiplexed_async_connection().await?;
        redis::cmd("FLUSHDB").exec_async(&mut cache).await.context("cannot empty the cache")
    }
}
