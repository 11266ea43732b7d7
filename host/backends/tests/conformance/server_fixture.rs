//! Databases on servers: one of each kind that the tests share, with a proxy in front of it or without.

use std::time::Duration;

use anyhow::Result;
use switchover_backends::{MySql, Postgres, Server, ServerBuilder};
use switchover_core::capabilities::{Clock, Database, SystemClock};
use switchover_core::{Session, SessionKey};
use switchover_harness::{MariaDb, Proxy};

use super::fixture::{new_table, session, soon};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Postgres,
    MariaDb,
}

impl Kind {
    /// The server that the tests of this process share.
    pub(crate) async fn shared(self) -> Result<&'static switchover_harness::Server> {
        match self {
            Self::Postgres => switchover_harness::Postgres::shared().await,
            Self::MariaDb => MariaDb::shared().await,
        }
    }

    /// A server for this test only, which may stop or kill it.
    pub(crate) async fn start(self) -> Result<switchover_harness::Server> {
        match self {
            Self::Postgres => switchover_harness::Postgres::start().await,
            Self::MariaDb => MariaDb::start().await,
        }
    }

    pub(crate) fn builder(self, url: &str) -> ServerBuilder {
        match self {
            Self::Postgres => Postgres::builder(url),
            Self::MariaDb => MySql::builder(url),
        }
    }

    /// An empty table of its own, reached through a proxy.
    pub(crate) async fn behind_proxy(
        self,
        options: impl FnOnce(ServerBuilder) -> ServerBuilder,
    ) -> Result<(Server, Proxy)> {
        let server = self.shared().await?;
        let proxy = Proxy::start(server.address()).await?;
        let builder = self.builder(&proxy.url_of(&server.url())?).table(new_table());
        let database = options(builder).connect().await?;
        database.upkeep().create_schema(soon()).await?;
        Ok((database, proxy))
    }

    /// Two hosts on one empty table.
    pub(crate) async fn two_hosts(self) -> Result<[Server; 2]> {
        let url = self.shared().await?.url();
        let table = new_table();
        let one = self.builder(&url).table(&table).connect().await?;
        one.upkeep().create_schema(soon()).await?;
        Ok([one, self.builder(&url).table(&table).connect().await?])
    }
}

/// A session that ends in a year, by the servers' clocks.
pub(crate) fn far(key: &SessionKey) -> Session {
    session(key.expose(), "payload", SystemClock.now().plus(Duration::from_hours(24 * 365)))
}

/// Runs each claim once for each kind of server.
macro_rules! on_servers {
    ($($claim:ident,)*) => {
        mod postgres { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() -> anyhow::Result<()> {
                super::$claim(crate::conformance::server_fixture::Kind::Postgres).await
            }
        )* }
        mod mariadb { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() -> anyhow::Result<()> {
                super::$claim(crate::conformance::server_fixture::Kind::MariaDb).await
            }
        )* }
    };
}
pub(crate) use on_servers;
