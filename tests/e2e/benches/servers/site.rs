//! The servers. Each contestant has a database on both PostgreSQL servers and a cache.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor as _, Row as _};
use switchover::backends::Postgres;
use switchover::capabilities::Database as _;
use switchover_harness::{Builder, Durability, Server};

use super::contestant::KINDS;
use super::load::Data;
use super::options::Options;

/// Three servers, which end with this value.
pub(crate) struct Site {
    pub(crate) old: Server,
    pub(crate) new: Server,
    pub(crate) cache: Server,
    /// One for each of [`KINDS`].
    pub(crate) places: Vec<Place>,
}

/// The addresses of one contestant's databases and cache.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) old: String,
    pub(crate) new: String,
    pub(crate) cache: String,
}

impl Site {
    pub(crate) async fn start(options: &Options) -> Result<Self> {
        let durability = if options.fast { Durability::Fast } else { Durability::Durable };
        let postgres = || -> Builder { switchover_harness::Postgres::builder().durability(durability) };
        let (old, new) = (postgres().start().await?, postgres().start().await?);
        let cache = switchover_harness::Redis::start().await?;
        let mut places = Vec::new();
        for at in 0..KINDS.len() {
            let name = format!("contestant_{at}");
            let (old, new) = (old.create_database(&name).await?, new.create_database(&name).await?);
            places.push(Place { old, new, cache: cache.create_database(&name).await? });
        }
        Ok(Self { old, new, cache, places })
    }
}

impl Place {
    /// Makes Django's table in both databases, and puts every session into the old one.
    pub(crate) async fn fill(&self, data: &Data) -> Result<()> {
        for address in [&self.old, &self.new] {
            let database = Postgres::connect(address).await?;
            database.upkeep().create_schema(Instant::now() + Duration::from_secs(30)).await?;
            database.close().await;
        }
        let mut old = PgConnection::connect(&self.old).await?;
        let keys: Vec<_> = data.keys.iter().map(|key| key.expose()).collect();
        let sql =
            "INSERT INTO django_session SELECT key, $2, now() + interval '30 days' FROM unnest($1::text[]) AS key";
        sqlx::query(sql).bind(keys).bind(data.payloads[0].as_text().unwrap_or_default()).execute(&mut old).await?;
        old.execute("VACUUM ANALYZE django_session").await?;
        Ok(())
    }

    /// Empties the cache.
    pub(crate) async fn empty_cache(&self) -> Result<()> {
        let mut cache = redis::Client::open(self.cache.as_str())?.get_multiplexed_async_connection().await?;
        redis::cmd("FLUSHDB").exec_async(&mut cache).await.context("cannot empty the cache")
    }

    /// Empties the new table.
    pub(crate) async fn empty_new(&self) -> Result<()> {
        PgConnection::connect(&self.new).await?.execute("TRUNCATE django_session").await?;
        Ok(())
    }

    /// Counts the rows of the new database that the old one does not have in the same form, after dual saves.
    pub(crate) async fn differing_rows(&self) -> Result<usize> {
        let sql = "SELECT session_key, md5(session_data || extract(epoch FROM expire_date)) FROM django_session";
        let mut rows = Vec::new();
        for address in [&self.old, &self.new] {
            let read = sqlx::query(sql).fetch_all(&mut PgConnection::connect(address).await?).await?;
            let read = read.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
            rows.push(read.collect::<Result<HashMap<String, String>>>()?);
        }
        Ok(rows[1].iter().filter(|(key, row)| rows[0].get(*key) != Some(row)).count())
    }
}
