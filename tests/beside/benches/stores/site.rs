//! The servers: one PostgreSQL and one Redis, on which each contestant has a database and a cache of its own.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor as _};
use switchover::Layout;
use switchover::backends::Postgres;
use switchover::capabilities::Database as _;
use switchover_harness::{Builder, Durability, Proxy, Redis, Server};

use super::contestant::{KINDS, Kind, TABLE};
use super::options::Options;

/// Two servers, which end with this value.
pub(crate) struct Site {
    pub(crate) database: Server,
    pub(crate) cache: Server,
}

/// The addresses of one contestant's database and cache.
#[derive(Clone)]
pub(crate) struct Place {
    kind: Kind,
    pub(crate) database: String,
    pub(crate) cache: String,
}

impl Site {
    pub(crate) async fn start(options: &Options) -> Result<Self> {
        let durability = if options.fast { Durability::Fast } else { Durability::Durable };
        let database: Builder = switchover_harness::Postgres::builder().durability(durability);
        Ok(Self { database: database.start().await?, cache: Redis::start().await? })
    }

    /// A place for each of [`KINDS`], with empty tables.
    pub(crate) async fn places(&self, name: &str) -> Result<Vec<Place>> {
        let mut places = Vec::new();
        for (at, kind) in KINDS.into_iter().enumerate() {
            let database = self.database.create_database(&format!("{name}_{at}")).await?;
            let cache = self.cache.create_database(name).await?;
            let place = Place { kind, database, cache };
            if kind.is_ours() {
                let database = Postgres::builder(&place.database).layout(Layout::SWITCHOVER).connect().await?;
                database.upkeep().create_schema(Instant::now() + Duration::from_secs(30)).await?;
                database.close().await;
            }
            places.push(place);
        }
        Ok(places)
    }
}

impl Place {
    /// The same place through proxies.
    pub(crate) fn through(&self, database: &Proxy, cache: &Proxy) -> Result<Self> {
        let (database, cache) = (database.url_of(&self.database)?, cache.url_of(&self.cache)?);
        Ok(Self { kind: self.kind, database, cache })
    }

    /// Deletes every session.
    pub(crate) async fn empty(&self) -> Result<()> {
        let table = match self.kind {
            Kind::Tower => "tower_sessions.session",
            Kind::Axum => TABLE,
            Kind::TowerOurs | Kind::AxumOurs => Layout::SWITCHOVER.default_table(),
        };
        let mut database = PgConnection::connect(&self.database).await?;
        database.execute(format!("TRUNCATE {table}").as_str()).await?;
        self.empty_cache().await
    }

    pub(crate) async fn empty_cache(&self) -> Result<()> {
        let mut cache = redis::Client::open(self.cache.as_str())?.get_multiplexed_async_connection().await?;
        redis::cmd("FLUSHDB").exec_async(&mut cache).await.context("cannot empty the cache")
    }
}
