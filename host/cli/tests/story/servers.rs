//! The servers of one pair, each behind a proxy, and a Redis.

use anyhow::Result;
use switchover_harness::{MariaDb, Postgres, Proxy, Redis, Server};
use tempfile::TempDir;

/// A kind of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Postgres,
    MariaDb,
    Sqlite,
}

/// A server behind a proxy: both can be made to fail.
pub(crate) struct Proxied {
    pub(crate) server: Server,
    pub(crate) proxy: Proxy,
    /// Through the proxy.
    pub(crate) url: String,
}

/// The servers of one test.
pub(crate) struct Servers {
    /// `None`: a file.
    pub(crate) old: Option<Proxied>,
    pub(crate) new: Option<Proxied>,
    pub(crate) cache: Proxied,
    /// Of the old table and of the new one.
    pub(crate) layouts: [&'static str; 2],
    folder: TempDir,
}

impl Servers {
    pub(crate) async fn start(old: Kind, new: Kind) -> Result<Self> {
        let cache = Proxied::before(Redis::start().await?).await?;
        // Each pair of layouts that can be told apart from Django's alone has a pair of databases.
        let layouts = match (old, new) {
            (Kind::Postgres, Kind::MariaDb) | (Kind::MariaDb, Kind::Postgres) => ["django", "switchover"],
            (Kind::MariaDb, Kind::Sqlite) => ["switchover", "switchover"],
            _ => ["django", "django"],
        };
        let (old, new) = (Proxied::start(old).await?, Proxied::start(new).await?);
        Ok(Self { old, new, cache, layouts, folder: tempfile::tempdir()? })
    }

    /// The addresses of the old database and of the new one.
    pub(crate) fn urls(&self) -> [String; 2] {
        [("old", &self.old), ("new", &self.new)].map(|(name, proxied)| match proxied {
            Some(proxied) => proxied.url.clone(),
            None => format!("sqlite:{}", self.folder.path().join(name).display()),
        })
    }
}

impl Proxied {
    async fn start(kind: Kind) -> Result<Option<Self>> {
        let server = match kind {
            Kind::Postgres => Postgres::start().await?,
            Kind::MariaDb => MariaDb::start().await?,
            Kind::Sqlite => return Ok(None),
        };
        Ok(Some(Self::before(server).await?))
    }

    async fn before(server: Server) -> Result<Self> {
        let proxy = Proxy::start(server.address()).await?;
        let url = proxy.url_of(&server.url())?;
        Ok(Self { server, proxy, url })
    }
}
