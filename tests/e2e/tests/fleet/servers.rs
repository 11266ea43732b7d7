//! The servers of a story, each behind a proxy of its own, and the hosts.

use std::fmt::{Display, Formatter};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use sqlx::{Connection as _, MySqlConnection, PgConnection};
use switchover::backends::{Address, MySql, Postgres, Redis, Sqlite, Synchronous};
use switchover::capabilities::{Control, Database, IntoDatabase as _};
use switchover::migration::{Beginning, CacheRule, Controller, Migration};
use switchover::{Layout, Limits, Switchover};
use switchover_harness::{Durability, MariaDb, Postgres as PostgresServer, Proxy, Redis as RedisServer, Server};
use switchover_workload::table::{Place, Table};
use tempfile::TempDir;

use crate::clock::HostClock;
use crate::hosts::Host;
use crate::lawless::{Lawless, Rule};
use crate::process::Process;

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
    Sqlite,
}

/// A database of the story.
pub(crate) enum Base {
    Server(Box<Proxied>),
    /// Nothing lies between a host and its file.
    File(TempDir),
}

impl Base {
    async fn start(kind: Kind) -> Result<Self> {
        Ok(match kind {
            Kind::Sqlite => Self::File(TempDir::new()?),
            kind => Self::Server(Box::new(Proxied::start(kind).await?)),
        })
    }

    /// What may fail.
    pub(crate) fn proxied(&self) -> Option<&Proxied> {
        match self {
            Self::Server(proxied) => Some(proxied),
            Self::File(_) => None,
        }
    }

    /// A database of its own connections, through the proxy.
    async fn open(&self) -> Result<Arc<dyn Database>> {
        match self {
            Self::Server(proxied) => proxied.open().await,
            Self::File(folder) => {
                let builder = Sqlite::builder(file(folder)).create_if_missing(true);
                Ok(builder.synchronous(Synchronous::Normal).open().await?.into_database())
            }
        }
    }

    fn address(&self) -> Result<String> {
        match self {
            Self::Server(proxied) => proxied.address(),
            Self::File(folder) => Ok(format!("sqlite:{}", file(folder).display())),
        }
    }

    /// The table, for plain SQL, past the proxy.
    pub(crate) fn table(&self) -> Table {
        let place = match self {
            Self::Server(proxied) => match proxied.kind {
                Kind::MariaDb => Place::MySql(proxied.server.url()),
                Kind::Postgres | Kind::Sqlite => Place::Postgres(proxied.server.url()),
            },
            Self::File(folder) => Place::Sqlite(file(folder)),
        };
        Table { place, name: TABLE.to_owned(), layout: Layout::DJANGO }
    }
}

fn file(folder: &TempDir) -> PathBuf {
    folder.path().join("sessions.sqlite3")
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
            Kind::Postgres | Kind::Sqlite => PostgresServer::builder().durability(Durability::Fast).start().await?,
            Kind::MariaDb => MariaDb::builder().durability(Durability::Durable).start().await?,
        };
        let proxy = Proxy::start(server.address()).await?;
        Ok(Self { server, proxy, kind })
    }

    /// The way through the proxy.
    fn address(&self) -> Result<String> {
        self.proxy.url_of(&self.server.url())
    }

    /// Cuts every connection of the hosts, and takes all that the server has left, until the result is dropped.
    pub(crate) async fn exhaust(&self) -> Taken {
        self.proxy.reset();
        let mut taken = Taken::default();
        loop {
            let url = self.server.url();
            let connected = match self.kind {
                Kind::MariaDb => MySqlConnection::connect(&url).await.map(|one| taken.mysql.push(one)),
                Kind::Postgres | Kind::Sqlite => PgConnection::connect(&url).await.map(|one| taken.postgres.push(one)),
            };
            if connected.is_err() {
                return taken;
            }
        }
    }

    /// A database of its own connections, through the proxy.
    async fn open(&self) -> Result<Arc<dyn Database>> {
        let url = self.address()?;
        Ok(match self.kind {
            Kind::MariaDb => MySql::builder(url).connect().await?.into_database(),
            Kind::Postgres | Kind::Sqlite => Postgres::builder(url).connect().await?.into_database(),
        })
    }
}

/// Connections that nobody else can have.
#[derive(Default)]
pub(crate) struct Taken {
    mysql: Vec<MySqlConnection>,
    postgres: Vec<PgConnection>,
}

impl Display for Taken {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.mysql.len() + self.postgres.len())
    }
}

/// Everything that a fleet runs on.
pub(crate) struct Servers {
    pub(crate) old: Base,
    pub(crate) new: Base,
    pub(crate) redis: Server,
    /// Each host has a way of its own to the cache.
    pub(crate) ways: Vec<Proxy>,
    /// The clocks of hosts in this process.
    pub(crate) clocks: [HostClock; HOSTS.len()],
    rule: CacheRule,
    left_out: Option<Rule>,
    folder: TempDir,
    /// The control tables are on a server of their own.
    pub(crate) control: Proxied,
}

impl Servers {
    pub(crate) async fn start(old: Kind, new: Kind, rule: CacheRule, left_out: Option<Rule>) -> Result<Self> {
        let redis = RedisServer::start().await?;
        let mut ways = Vec::new();
        for _ in HOSTS {
            ways.push(Proxy::start(redis.address()).await?);
        }
        let (old, new) = (Base::start(old).await?, Base::start(new).await?);
        for side in [&old, &new] {
            side.open().await?.upkeep().create_schema(Instant::now() + PATIENCE).await?;
        }
        let control = Proxied::start(Kind::Postgres).await?;
        Ok(Self { old, new, redis, ways, clocks: Default::default(), rule, left_out, folder: TempDir::new()?, control })
    }

    /// Empties the cache.
    pub(crate) async fn flush_the_cache(&self) -> Result<()> {
        let client = redis::Client::open(self.redis.url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        redis::cmd("FLUSHALL").exec_async(&mut connection).await?;
        Ok(())
    }

    fn control(&self) -> Result<Arc<dyn Control>> {
        Ok(Address::parse(&self.control.address()?)?.control()?)
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

    /// Starts a host with connections of its own, in a process of its own if that is asked for.
    pub(crate) async fn host(&self, number: usize, as_process: bool) -> Result<Host> {
        if as_process {
            let configuration = self.folder.path().join(format!("{}.toml", HOSTS[number]));
            std::fs::write(&configuration, self.configuration(number)?)?;
            return Ok(Host::There(Process::start(HOSTS[number], configuration).await?));
        }
        Ok(Host::Here(self.host_here(number).await?))
    }

    /// What the operator of a host writes.
    fn configuration(&self, number: usize) -> Result<String> {
        let (old, new, control) = (self.old.address()?, self.new.address()?, self.control.address()?);
        let cache = self.ways[number].url_of(&self.redis.url())?;
        let age = CACHE_MAX_AGE.as_millis();
        Ok(format!(
            "[databases.default]\naddress = \"{old}\"\n[databases.new_session_store]\naddress = \"{new}\"\n\
             [cache]\naddress = \"{cache}\"\n[limits]\ncache_max_age_ms = {age}\n\
             [migration]\nname = \"{MIGRATION}\"\ncontrol = \"{control}\"\n"
        ))
    }

    async fn open(&self, base: &Base) -> Result<Arc<dyn Database>> {
        let database = base.open().await?;
        Ok(match self.left_out {
            None => database,
            Some(rule) => Arc::new(Lawless::new(database, rule)),
        })
    }

    async fn host_here(&self, number: usize) -> Result<Switchover> {
        let cache = Redis::connect(&self.ways[number].url_of(&self.redis.url())?).await?;
        let mut limits = Limits::default();
        limits.cache_max_age = CACHE_MAX_AGE;
        let builder = Switchover::builder()
            .database("default", self.open(&self.old).await?)
            .database("new_session_store", self.open(&self.new).await?)
            .cache(cache)
            .limits(limits)
            .clock(self.clocks[number].clone())
            .migration(Migration::new(MIGRATION, HOSTS[number], self.control()?).cache_rule(self.rule));
        Ok(builder.build().await?)
    }
}
