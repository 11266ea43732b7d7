//! Two hosts in one process, each with clients of its own, on one database and one Redis.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use switchover::backends::{MySql, Postgres, Redis};
use switchover::capabilities::Database as _;
use switchover::{Layout, Limits, Sessions, Switchover};
use switchover_harness::{Durability, MariaDb, Postgres as PostgresServer, Proxy, Redis as RedisServer, Server};
use switchover_workload::table::{Place, Table};
use tokio::sync::{Mutex, MutexGuard};

use crate::cut::Cut;

const TABLE: &str = "django_session";
const PATIENCE: Duration = Duration::from_secs(60);
/// What is never cut off answers in this time, also on a busy machine. A host's wait for a cut connection stays short.
const ANSWER: Duration = Duration::from_secs(10);

/// A kind of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Postgres,
    MariaDb,
}

/// Lets only one test run at a time: on two cores, two of them would fail because they are slow.
pub(crate) async fn turn() -> MutexGuard<'static, ()> {
    static TURN: LazyLock<Mutex<()>> = LazyLock::new(Mutex::default);
    TURN.lock().await
}

/// The two hosts: A, whose connection to Redis may be cut, and B.
pub(crate) struct Fleet {
    pub(crate) hosts: [Switchover; 2],
    /// The one table, for plain SQL.
    pub(crate) table: Table,
    /// A's cache.
    cache: Redis,
    way: Proxy,
    _servers: [Server; 2],
}

impl Fleet {
    /// Starts new servers and hosts, with an empty table and an empty cache.
    pub(crate) async fn start(kind: Kind, cache_max_age: Duration) -> Result<Self> {
        let redis = RedisServer::start().await?;
        let way = Proxy::start(redis.address()).await?;
        let database = match kind {
            Kind::Postgres => PostgresServer::builder().durability(Durability::Fast).start().await?,
            Kind::MariaDb => MariaDb::builder().durability(Durability::Fast).start().await?,
        };
        let place = match kind {
            Kind::Postgres => Place::Postgres(database.url()),
            Kind::MariaDb => Place::MySql(database.url()),
        };
        let mut limits = Limits::default();
        limits.cache_max_age = cache_max_age;
        limits.read_deadline = ANSWER;
        limits.call_wall_time = ANSWER * 2;
        let host = async |cache: Redis, cache_deadline: Duration| -> Result<Switchover> {
            let server = match kind {
                Kind::Postgres => Postgres::builder(database.url()).connect().await?,
                Kind::MariaDb => MySql::builder(database.url()).connect().await?,
            };
            server.upkeep().create_schema(Instant::now() + PATIENCE).await?;
            let mut limits = limits.clone();
            limits.cache_deadline = cache_deadline;
            let builder = Switchover::builder().database("default", server).cache(cache).limits(limits);
            Ok(builder.build().await?)
        };
        let cache = Redis::connect(&way.url_of(&redis.url())?).await?;
        let whole = Redis::builder(&redis.url()).response_timeout(ANSWER).connect().await?;
        let hosts = [host(cache.clone(), limits.cache_deadline).await?, host(whole, ANSWER * 2).await?];
        let table = Table { place, name: TABLE.to_owned(), layout: Layout::DJANGO };
        Ok(Self { hosts, table, cache, way, _servers: [redis, database] })
    }

    /// The session stores of A and B.
    pub(crate) fn sessions(&self) -> [Sessions; 2] {
        [self.hosts[0].sessions(), self.hosts[1].sessions()]
    }

    /// Cuts A's connection to Redis.
    pub(crate) async fn cut(&self, cut: Cut) {
        cut.begin(&self.way).await;
    }

    /// Ends the cut. A may need a moment to notice.
    pub(crate) async fn open(&self) -> Result<()> {
        self.way.heal().await
    }

    /// Ends the cut, and waits until A has sent Redis everything that it owed.
    pub(crate) async fn heal(&self) -> Result<()> {
        self.open().await?;
        let give_up = Instant::now() + PATIENCE;
        while !self.cache.is_connected() || self.cache.owed_keys() != 0 {
            ensure!(Instant::now() < give_up, "host A does not come back to Redis");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}
