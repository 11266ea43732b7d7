//! Tables in which a key may have several rows, or whose columns this user cannot see: they are refused, and say why.

use anyhow::{Result, ensure};
use sqlx::{Connection as _, Executor as _, MySqlConnection, PgConnection};
use switchover_backends::{MySql, Postgres, Sqlite};
use switchover_core::capabilities::{Database, DatabaseError, Terms, Write};
use switchover_core::{Timestamp, expires_in};
use switchover_harness::MariaDb;
use tempfile::TempDir;

use super::fixture::{exists, key, new_table, session, soon};

const COLUMNS: &str = "session_key varchar(40) NOT NULL, session_data text NOT NULL, expire_date";

async fn is_refused(database: &dyn Database, word: &str) -> Result<()> {
    match database.upkeep().check_columns(soon()).await {
        Err(DatabaseError::Corrupt { message }) if message.contains(word) => Ok(()),
        checked => anyhow::bail!("{word}: {checked:?}"),
    }
}

/// A file with such a table is refused when it is opened, or when its columns are checked.
async fn file_is_refused(create: &str, word: &str) -> Result<()> {
    let folder = TempDir::new()?;
    let path = folder.path().join("sessions.sqlite3");
    rusqlite::Connection::open(&path)?.execute_batch(create)?;
    match Sqlite::builder(&path).open().await {
        Ok(database) => is_refused(&database, word).await,
        Err(DatabaseError::Corrupt { message }) => {
            ensure!(message.contains(word), "{message}");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_with_several_rows_is_refused_on_postgres() -> Result<()> {
    let server = switchover_harness::Postgres::shared().await?;
    let mut raw = PgConnection::connect(&server.url()).await?;
    for (spoil, word) in [
        ("CREATE TABLE child_{t} () INHERITS ({t})", "inherit"),
        (
            "ALTER TABLE {t} DROP CONSTRAINT {t}_pkey; \
             CREATE UNIQUE INDEX ON {t} (session_key, (session_data || ''))",
            "not the primary key",
        ),
        (OWN_CASCADE, "ON DELETE CASCADE"),
    ] {
        let table = new_table();
        let database = Postgres::builder(server.url()).table(&table).connect().await?;
        database.upkeep().create_schema(soon()).await?;
        database.upkeep().check_columns(soon()).await?;
        raw.execute(sqlx::raw_sql(&spoil.replace("{t}", &table))).await?;
        is_refused(&database, word).await?;
        database.close().await;
    }
    Ok(())
}

#[tokio::test]
async fn key_with_several_rows_is_refused_in_sqlite() -> Result<()> {
    let create = format!(
        "CREATE TABLE django_session ({COLUMNS} datetime NOT NULL, tenant text NOT NULL, \
         PRIMARY KEY (session_key, tenant))"
    );
    file_is_refused(&create, "primary key").await
}

/// The deletion of an expired session would delete the living ones that refer to it.
const OWN_CASCADE: &str = "ALTER TABLE {t} ADD COLUMN parent varchar(40); \
                           ALTER TABLE {t} ADD FOREIGN KEY (parent) REFERENCES {t} (session_key) ON DELETE CASCADE";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn table_that_deletes_its_own_rows_is_refused_on_mariadb() -> Result<()> {
    let (server, table) = (MariaDb::shared().await?, new_table());
    let database = MySql::builder(server.url()).table(&table).connect().await?;
    database.upkeep().create_schema(soon()).await?;
    database.upkeep().check_columns(soon()).await?;
    let mut raw = MySqlConnection::connect(&server.url()).await?;
    raw.execute(sqlx::raw_sql(&OWN_CASCADE.replace("{t}", &table))).await?;
    is_refused(&database, "ON DELETE CASCADE").await?;
    database.close().await;
    Ok(())
}

#[tokio::test]
async fn table_that_deletes_its_own_rows_is_refused_in_sqlite() -> Result<()> {
    let create = format!(
        "CREATE TABLE django_session ({COLUMNS} datetime NOT NULL, \
             parent varchar(40) REFERENCES Django_Session ON DELETE CASCADE, PRIMARY KEY (session_key))"
    );
    file_is_refused(&create, "ON DELETE CASCADE").await
}

/// A column may have the name by which SQLite calls its rows.
#[tokio::test]
async fn sweep_of_a_table_with_a_column_rowid_deletes_what_has_ended() -> Result<()> {
    let folder = TempDir::new()?;
    let path = folder.path().join("sessions.sqlite3");
    let create = "CREATE TABLE django_session (session_key varchar(40) NOT NULL PRIMARY KEY, session_data text NOT NULL, \
                  expire_date datetime NOT NULL, rowid integer NOT NULL DEFAULT 0)";
    rusqlite::Connection::open(&path)?.execute_batch(create)?;
    let database = Sqlite::builder(&path).open().await?;
    let living = session("living000", "v1", expires_in(std::time::Duration::from_secs(3_600)));
    let ended = session("ended0000", "v1", Timestamp::from_micros(1_000_000));
    database.write(vec![Write::Insert(living.clone()), Write::Insert(ended)], Terms::by(soon())).await?;
    ensure!(database.upkeep().delete_expired(None, 10, soon()).await? == 1);
    ensure!(exists(&database, &living.key).await? && !exists(&database, &key("ended0000")).await?);
    database.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn columns_that_this_user_may_not_read_are_refused_on_mariadb() -> Result<()> {
    let (server, table) = (MariaDb::shared().await?, new_table());
    let database = MySql::builder(server.url()).table(&table).connect().await?;
    database.upkeep().create_schema(soon()).await?;
    let mut raw = MySqlConnection::connect(&server.url()).await?;
    let user = format!("u_{table}").chars().take(30).collect::<String>();
    for statement in [
        format!("ALTER TABLE {table} ADD COLUMN tenant varchar(20) NOT NULL DEFAULT 'a'"),
        format!("CREATE USER {user} IDENTIFIED BY 'secret'"),
        format!("GRANT SELECT (session_key, session_data, expire_date) ON {table} TO {user}"),
    ] {
        raw.execute(sqlx::raw_sql(&statement)).await?;
    }
    let url = server.url();
    let (scheme, rest) = url.split_once("://").unwrap_or(("mysql", &url));
    let at = rest.rsplit_once('@').map_or(rest, |(_, at)| at);
    let limited = MySql::builder(format!("{scheme}://{user}:secret@{at}")).table(&table).connect().await?;
    is_refused(&limited, "denied").await?;
    limited.close().await;
    database.close().await;
    Ok(())
}
