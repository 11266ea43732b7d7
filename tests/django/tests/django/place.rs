//! A fresh database that Switchover and Django both open.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use switchover::backends::{MySql, Postgres, Sqlite};
use switchover::capabilities::{Clock, Database};
use switchover::{Limits, Policy, Switchover, Timestamp};
use switchover_harness::{Durability, Server};
use tempfile::TempDir;
use tokio::sync::OnceCell;

/// Longer than any test takes that passes, also where everything else is busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

static POSTGRES: OnceCell<Server> = OnceCell::const_new();
static MARIADB: OnceCell<Server> = OnceCell::const_new();

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
    MariaDb,
}

pub(crate) struct Place {
    kind: Kind,
    /// Of a file its path, of a database on a server its URL.
    address: String,
    /// The entry of Django's `DATABASES`.
    django: Value,
    _folder: Option<TempDir>,
}

impl Place {
    /// A database without any table.
    pub(crate) async fn new(kind: Kind) -> Result<Self> {
        static PLACES: AtomicU64 = AtomicU64::new(0);
        let name = format!("place_{}", PLACES.fetch_add(1, Ordering::SeqCst));
        Ok(match kind {
            Kind::Sqlite => {
                let folder = TempDir::new()?;
                let path = folder.path().join("sessions.sqlite3");
                let address = path.to_str().context("the temporary folder has a name that is not text")?.to_owned();
                let django = json!({ "ENGINE": "django.db.backends.sqlite3", "NAME": address });
                Self { kind, address, django, _folder: Some(folder) }
            }
            Kind::Postgres => {
                let server = POSTGRES.get_or_try_init(|| start(switchover_harness::Postgres::builder())).await?;
                let django = on_server("postgresql", "postgres", &name, server.port());
                Self { kind, address: server.create_database(&name).await?, django, _folder: None }
            }
            Kind::MariaDb => {
                let server = MARIADB.get_or_try_init(|| start(switchover_harness::MariaDb::builder())).await?;
                let django = on_server("mysql", "root", &name, server.port());
                Self { kind, address: server.create_database(&name).await?, django, _folder: None }
            }
        })
    }

    /// A database with the table that Switchover makes.
    pub(crate) async fn with_table(kind: Kind) -> Result<Self> {
        let place = Self::new(kind).await?;
        let database = place.open().await?;
        database.upkeep().create_schema(soon()).await?;
        database.close().await;
        Ok(place)
    }

    /// As Switchover opens it, by the clock of the machine or of the server.
    pub(crate) async fn open(&self) -> Result<Arc<dyn Database>> {
        Ok(match self.kind {
            Kind::Sqlite => Arc::new(Sqlite::builder(&self.address).create_if_missing(true).open().await?),
            Kind::Postgres => Arc::new(Postgres::connect(&self.address).await?),
            Kind::MariaDb => Arc::new(MySql::connect(&self.address).await?),
        })
    }

    /// As Switchover opens it, at an instant that stands still.
    pub(crate) async fn open_at(&self, now: Timestamp) -> Result<Arc<dyn Database>> {
        let clock = Arc::new(Stopped(now));
        Ok(match self.kind {
            Kind::Sqlite => Arc::new(Sqlite::builder(&self.address).clock(clock).open().await?),
            Kind::Postgres => Arc::new(Postgres::builder(&self.address).clock(clock).connect().await?),
            Kind::MariaDb => Arc::new(MySql::builder(&self.address).clock(clock).connect().await?),
        })
    }

    /// The entry of Django's `DATABASES`.
    pub(crate) fn django(&self) -> Value {
        self.django.clone()
    }
}

/// One for all tests of this process. What is stored does not depend on when it reaches the disk.
async fn start(server: switchover_harness::Builder) -> Result<Server> {
    server.durability(Durability::Fast).start().await
}

fn on_server(engine: &str, user: &str, name: &str, port: u16) -> Value {
    let engine = format!("django.db.backends.{engine}");
    json!({ "ENGINE": engine, "NAME": name, "USER": user, "HOST": "127.0.0.1", "PORT": port })
}

/// A host that is patient, and has no cache: it would not know of Django's writes.
pub(crate) fn host(policy: Policy) -> switchover::Builder {
    let mut limits = Limits::default();
    limits.read_deadline = PATIENCE;
    limits.write_deadline = PATIENCE;
    limits.call_wall_time = PATIENCE;
    limits.call_cpu_time = PATIENCE;
    Switchover::builder().policy(policy).limits(limits)
}

/// A deadline that no test reaches.
pub(crate) fn soon() -> Instant {
    Instant::now() + PATIENCE
}

struct Stopped(Timestamp);

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        self.0
    }
}
