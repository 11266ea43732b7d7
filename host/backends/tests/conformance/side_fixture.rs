//! Two hosts on one table with side tables, and short functions for what every claim about them does.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use rusqlite::OptionalExtension as _;
use sqlx::{Connection as _, Executor as _, MySqlConnection, PgConnection};
use switchover_backends::{MySql, Postgres, Sqlite};
use switchover_core::capabilities::{
    Database, DatabaseError, Epoch, Fence, IntoDatabase, KeyLock, KeyTransaction, LockPurpose, LockedKey, Mark, Number,
    Numbered, Side, SideTables, Terms, Write, WriteOutcome,
};
use switchover_core::{Layout, Session, SessionKey, Timestamp};
use tempfile::TempDir;

use super::fixture::{key, new_table, session, soon};
use super::server_fixture::Kind;

/// The kinds of databases that have side tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Postgres,
    MariaDb,
    Sqlite,
}

/// Two hosts on one table, with side tables and a fence at epoch 1.
pub(crate) struct Site {
    pub(crate) one: Arc<dyn Database>,
    pub(crate) other: Arc<dyn Database>,
    pub(crate) raw: Raw,
    pub(crate) table: String,
    pub(crate) url: String,
    pub(crate) migration: Arc<str>,
}

/// A connection for plain SQL.
pub(crate) enum Raw {
    Postgres(Box<PgConnection>),
    MariaDb(Box<MySqlConnection>),
    Sqlite(Box<rusqlite::Connection>, #[expect(dead_code, reason = "the folder goes with it")] TempDir),
}

impl Site {
    pub(crate) async fn new(place: Place) -> Result<Self> {
        Self::of(place, Layout::DJANGO).await
    }

    pub(crate) async fn of(place: Place, layout: Layout) -> Result<Self> {
        let table = new_table();
        let folder = TempDir::new()?;
        let file = folder.path().join("sessions.sqlite3");
        let url = match place {
            Place::Postgres => Kind::Postgres.shared().await?.url(),
            Place::MariaDb => Kind::MariaDb.shared().await?.url(),
            Place::Sqlite => String::new(),
        };
        let migration: Arc<str> = format!("it's {table}").into();
        let connect = async || -> Result<Arc<dyn Database>> {
            Ok(match place {
                Place::Postgres => {
                    Postgres::builder(&url).layout(layout).table(&table).connect().await?.into_database()
                }
                Place::MariaDb => MySql::builder(&url).layout(layout).table(&table).connect().await?.into_database(),
                Place::Sqlite => {
                    let builder = Sqlite::builder(&file).layout(layout).table(&table).create_if_missing(true);
                    builder.open().await?.into_database()
                }
            })
        };
        let (one, other) = (connect().await?, connect().await?);
        one.upkeep().create_schema(soon()).await?;
        // Tests that run at the same time share the fence's table.
        while side(&*one).prepare(soon()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        side(&*one).make_fence(Arc::clone(&migration), soon()).await?;
        let raw = match place {
            Place::Postgres => Raw::Postgres(Box::new(PgConnection::connect(&url).await?)),
            Place::MariaDb => Raw::MariaDb(Box::new(MySqlConnection::connect(&url).await?)),
            Place::Sqlite => Raw::Sqlite(Box::new(rusqlite::Connection::open(&file)?), folder),
        };
        Ok(Self { one, other, raw, table, url, migration })
    }

    pub(crate) fn fence(&self, epoch: u64) -> Fence {
        Fence { migration: Arc::clone(&self.migration), epoch: Epoch(epoch) }
    }

    pub(crate) fn terms(&self, epoch: u64) -> Terms {
        Terms { deadline: soon(), fence: Some(self.fence(epoch)) }
    }

    pub(crate) async fn mark(&self, home: Side, batch: Vec<Write>) -> Result<Vec<WriteOutcome>, DatabaseError> {
        side(&*self.one).write_marked(batch, home, self.fence(1), soon()).await
    }

    pub(crate) async fn marks(&self) -> Result<Vec<Mark>> {
        Ok(side(&*self.one).marks(self.fence(1), 100, soon()).await?)
    }

    pub(crate) async fn marked(&self) -> Result<Vec<SessionKey>> {
        Ok(self.marks().await?.into_iter().map(|mark| mark.key).collect())
    }

    /// The number of a key; `None` if it has no row.
    pub(crate) async fn number(&mut self, key: &str) -> Result<Option<i64>> {
        Ok(match &mut self.raw {
            Raw::Postgres(raw) => {
                let sql = "SELECT number FROM switchover_key WHERE migration = $1 AND session_key = $2";
                sqlx::query_scalar(sql).bind(&*self.migration).bind(key).fetch_optional(&mut **raw).await?
            }
            Raw::MariaDb(raw) => {
                let sql = "SELECT number FROM switchover_key WHERE migration = ? AND session_key = ?";
                sqlx::query_scalar(sql).bind(&*self.migration).bind(key).fetch_optional(&mut **raw).await?
            }
            Raw::Sqlite(raw, _) => {
                let sql = "SELECT number FROM switchover_key WHERE migration = ?1 AND session_key = ?2";
                raw.query_row(sql, [&*self.migration, key], |row| row.get(0)).optional()?
            }
        })
    }

    /// A statement of a program that knows nothing of this one.
    pub(crate) async fn execute(&mut self, sql: &str) -> Result<()> {
        match &mut self.raw {
            Raw::Postgres(raw) => raw.execute(sql).await.map(drop)?,
            Raw::MariaDb(raw) => raw.execute(sql).await.map(drop)?,
            Raw::Sqlite(raw, _) => raw.execute(sql, []).map(drop)?,
        }
        Ok(())
    }

    pub(crate) async fn number_write(&self, batch: Vec<(Write, u64)>) -> Result<Numbered, DatabaseError> {
        let batch = batch.into_iter().map(|(write, number)| (write, Number(number))).collect();
        side(&*self.one).write_numbered(batch, self.fence(1), soon()).await
    }

    pub(crate) async fn locked(
        &self,
        host: &dyn Database,
        keys: &[&str],
        purpose: LockPurpose,
    ) -> Result<(Box<dyn KeyTransaction>, Vec<LockedKey>), DatabaseError> {
        let mut transaction = side(host).begin_with_keys(self.fence(1), soon()).await?;
        let locks = keys.iter().map(|text| KeyLock { key: key(text), known: Number(0) }).collect();
        let locked = transaction.lock_keys(locks, purpose).await?;
        Ok((transaction, locked))
    }
}

/// The connection of a claim that is about PostgreSQL alone.
pub(crate) fn postgres(raw: &mut Raw) -> &mut PgConnection {
    match raw {
        Raw::Postgres(raw) => raw,
        Raw::MariaDb(_) | Raw::Sqlite(..) => panic!("this claim is about PostgreSQL"),
    }
}

pub(crate) fn side(database: &dyn Database) -> &dyn SideTables {
    database.side_tables().expect("it has side tables")
}

pub(crate) fn with(text: &str, payload: &str) -> Session {
    // Some day in 2096.
    session(text, payload, Timestamp::from_micros(4_000_000_000_000_000))
}

/// Whether something still waits after longer than a lock timeout.
pub(crate) async fn waits<T>(task: &tokio::task::JoinHandle<T>) -> bool {
    tokio::time::sleep(Duration::from_millis(400)).await;
    !task.is_finished()
}
