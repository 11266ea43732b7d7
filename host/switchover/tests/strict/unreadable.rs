//! A row that cannot be read, under a strict mirror. Its user can be saved and logged out, since neither needs the
//! content of the row.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use sqlx::{Connection as _, Executor as _, MySqlConnection, PgConnection};
use switchover::backends::{FlagSwitch, MySql, Postgres, Sqlite};
use switchover::capabilities::Database;
use switchover::{Builtin, ErrorCode, Payload, Policy, SaveOutcome, Switchover, expires_in};
use switchover_harness::MariaDb;
use tempfile::TempDir;

use super::fixture::{exists, key, new_table, soon};

/// A database with a way to put a row into it that cannot be read.
enum Side {
    Sqlite(TempDir),
    Postgres { url: String, table: String },
    MariaDb { url: String, table: String },
}

impl Side {
    async fn open(&self) -> Result<Arc<dyn Database>> {
        let database: Arc<dyn Database> = match self {
            Self::Sqlite(folder) => {
                Arc::new(Sqlite::builder(folder.path().join("db.sqlite3")).create_if_missing(true).open().await?)
            }
            Self::Postgres { url, table } => Arc::new(Postgres::builder(url).table(table).connect().await?),
            Self::MariaDb { url, table } => Arc::new(MySql::builder(url).table(table).connect().await?),
        };
        database.upkeep().create_schema(soon()).await?;
        Ok(database)
    }

    async fn break_row(&self, key: &str) -> Result<()> {
        match self {
            Self::Sqlite(folder) => {
                let file = rusqlite::Connection::open(folder.path().join("db.sqlite3"))?;
                let sql = "INSERT OR REPLACE INTO django_session VALUES (?1, x'ff00', '2999-01-01 00:00:00')";
                file.execute(sql, [key])?;
            }
            Self::Postgres { url, table } => {
                let sql = format!(
                    "SET client_encoding = SQL_ASCII; INSERT INTO {table} VALUES ('{key}', E'\\xff', '2999-01-01') \
                     ON CONFLICT (session_key) DO UPDATE SET session_data = E'\\xff'"
                );
                PgConnection::connect(url).await?.execute(sqlx::raw_sql(&sql)).await?;
            }
            Self::MariaDb { url, table } => {
                let sql = format!("REPLACE INTO {table} VALUES ('{key}', 'a\\0b', '2999-01-01')");
                MySqlConnection::connect(url).await?.execute(sqlx::raw_sql(&sql)).await?;
            }
        }
        Ok(())
    }
}

async fn sides() -> Result<Vec<[Side; 2]>> {
    let (postgres, mariadb) = (switchover_harness::Postgres::shared().await?, MariaDb::shared().await?);
    let create = "CREATE DATABASE unreadable ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0";
    PgConnection::connect(&postgres.url()).await?.execute(create).await?;
    let sqlite = || Ok::<_, anyhow::Error>(Side::Sqlite(TempDir::new()?));
    let postgres = || Side::Postgres { url: postgres.url_of("unreadable"), table: new_table() };
    let mariadb = || Side::MariaDb { url: mariadb.url(), table: new_table() };
    Ok(vec![[mariadb(), sqlite()?], [sqlite()?, mariadb()], [postgres(), mariadb()], [mariadb(), postgres()]])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreadable_row_can_be_saved_and_logged_out_under_a_strict_mirror() -> Result<()> {
    for [old, new] in sides().await? {
        let host = Switchover::builder()
            .database("default", old.open().await?)
            .database("new_session_store", new.open().await?)
            .flags(FlagSwitch::new([("migration_flag", "true")]))
            .policy(Policy::builtin(Builtin::Fallback))
            .build()
            .await?;
        let (sessions, far) = (host.sessions(), expires_in(Duration::from_secs(3_600)));
        let (old_database, new_database) = (old.open().await?, new.open().await?);
        for (at, broken) in [vec![&old], vec![&new], vec![&old, &new]].into_iter().enumerate() {
            for logs_out in [false, true] {
                let key = key(&format!("broken{at}{}", u8::from(logs_out)));
                for side in &broken {
                    side.break_row(key.expose()).await?;
                }
                let is_home = broken.len() == 2 || at == 0;
                if logs_out {
                    assert!(sessions.delete(&key).await?, "it was there");
                } else if is_home {
                    let saved = sessions.save(&key, Payload::from("whole"), far).await?;
                    assert_eq!(saved, SaveOutcome::Saved);
                    assert_eq!(sessions.load(&key).await?.map(|found| found.payload), Some(Payload::from("whole")));
                    // A touch has to read the row to write it to the mirror.
                    old.break_row(key.expose()).await?;
                    let error = sessions.touch(&key, expires_in(Duration::from_secs(7_200))).await.unwrap_err();
                    assert_eq!(code(&error), Some(ErrorCode::Corrupt), "{error}");
                    assert!(sessions.delete(&key).await?);
                }
                assert!(!exists(&*old_database, &key).await? || !(logs_out || is_home));
                assert!(!exists(&*new_database, &key).await? || !(logs_out || is_home));
            }
        }
        host.close().await;
    }
    Ok(())
}

fn code(error: &switchover::Error) -> Option<ErrorCode> {
    matches!(error, switchover::Error::Corrupt { .. }).then(|| error.code())
}
