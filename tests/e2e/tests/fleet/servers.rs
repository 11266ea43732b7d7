//! The servers of a story, each behind a proxy of its own, and the hosts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use switchover::backends::{Address, MySql, Postgres, Redis};
use switchover::capabilities::{Control, Database};
use switchover::migration::{Beginning, CacheRule, Controller, Migration};
use switchover::{Layout, Limits, Switchover};
use switchover_harness::{Durability, MariaDb, Postgres as PostgresServer, Proxy, Redis as RedisServer, Server};
use switchover_workload::table::{Place, Table};

const TABLE: &str = "django_session";
const PATIENCE: Duration = Duration::from_secs(30);
/// So short that entries of before a cut end during it.
pub(crate) const CACHE_MAX_AGE: Duration = Duration::from_secs(2);
pub(crate) const HOSTS: [&str; 3] = ["web-1", "web-2", "web-3"];
pub(crate) const MIGRATION: &str = "to-new";

/// A kind of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Postgres,
    MariaDb,
}

/// A server and the way to it.
pub(crate) struct Proxied {
    pub(crate) server: Server,
    pub(crate) proxy: Proxy,
    kind: Kind,
}

impl Proxied {
    async fn start(kind: Kind) -> Result<Self> {
        let server = match kind {
            Kind::Postgres => PostgresServer::builder().durability(Durability::Fast).start().await?,
            Kind::MariaDb => MariaDb::builder().durability(Durability::Durable).start().await?,
        };
        let proxy = Proxy::start(server.address()).await?;
        Ok(Self { server, proxy, kind })
    }

    /// A database of its own connections, through the proxy.
    async fn open(&self) -> Result<Arc<dyn Database>> {
        let url = self.proxy.url_of(&self.server.url())?;
        Ok(match self.kind {
            Kind::Postgres => Arc::new(Postgres::builder(url).connect().await?),
            Kind::MariaDb => Arc::new(MySql::builder(url).connect().await?),
        })
    }

    /// The table, for plain SQL, past the proxy.
    pub(crate) fn table(&self) -> Table {
        let place = match self.kind {
            Kind::Postgres => Place::Postgres(self.server.url()),
            Kind::MariaDb => Place::MySql(self.server.url()),
        };
        Table { place, name: TABLE.to_owned(), layout: Layout::DJANGO }
    }
}

/// Everything that a fleet runs on.
pub(crate) struct Servers {
    pub(crate) old: Proxied,
    pub(crate) new: Proxied,
    pub(crate) redis: Server,
    /// Each host has a way of its own to the cache.
    pub(crate) ways: Vec<Proxy>,
    rule: CacheRule,
    /// The control tables are on a server of their own.
    pub(crate) control: Proxied,
}

impl Servers {
    pub(crate) async fn start(old: Kind, new: Kind, rule: CacheRule) -> Result<Self> {
        let redis = RedisServer::start().await?;
        let mut ways = Vec::new();
        for _ in HOSTS {
            ways.push(Proxy::start(redis.address()).await?);
        }
        let (old, new) = (Proxied::start(old).await?, Proxied::start(new).await?);
        for side in [&old, &new] {
            side.open().await?.upkeep().create_schema(Instant::now() + PATIENCE).await?;
        }
        Ok(Self { old, new, redis, ways, rule, control: Proxied::start(Kind::Postgres).await? })
    }

    fn control(&self) -> Result<Arc<dyn Control>> {
        Ok(Address::parse(&self.control.proxy.url_of(&self.control.server.url())?)?.control()?)
    }

    /// The operator's end.
    pub(crate) async fn controller(&self) -> Result<Controller> {
        let (old, new) = (self.old.open().await?, self.new.open().await?);
        Ok(Controller::new(MIGRATION, self.control()?, old, new, "the story"))
    }

    /// Begins the migration.
    pub(crate) async fn begin(&self) -> Result<Controller> {
        let controller = self.controller().await?;
        controller.init(Beginning::default()).await?;
        Ok(controller)
    }

    /// Starts a host with connections of its own.
    pub(crate) async fn host(&self, number: usize) -> Result<Switchover> {
        let cache = Redis::connect(&self.ways[number].url_of(&self.redis.url())?).await?;
        let mut limits = Limits::default();
        limits.cache_max_age = CACHE_MAX_AGE;
        let builder = Switchover::builder()
            .database("default", self.old.open().await?)
            .database("new_session_store", self.new.open().await?)
            .cache(cache)
            .limits(limits)
            .migration(Migration::new(MIGRATION, HOSTS[number], self.control()?).cache_rule(self.rule));
        Ok(builder.build().await?)
    }
}
