//! Servers whose own settings would change what statements mean: each connection sets what it relies on.

use std::time::Duration;

use anyhow::{Result, ensure};
use sqlx::{Connection as _, Executor as _, MySqlConnection, PgConnection};
use switchover_backends::Server;
use switchover_core::capabilities::{Database, Read, ReadOutcome, Terms, Write};
use switchover_core::{Session, Timestamp};
use switchover_harness::{MariaDb, Postgres};

use super::fixture::{key, load, session, soon};
use super::server_fixture::{Kind, far};

/// Writes, reads, touches, deletes and sweeps many rows at a time.
async fn does_its_work(database: &Server) -> Result<()> {
    database.upkeep().create_schema(soon()).await?;
    let living: Vec<Session> = (0..20).map(|at| far(&key(&format!("living{at:04}")))).collect();
    let ended = (0..20).map(|at| session(&format!("ended{at:05}"), "", Timestamp::from_micros(1_000_000 + at)));
    let all = living.iter().cloned().chain(ended).map(Write::Insert).collect();
    database.write(all, Terms::by(soon())).await?;
    let reads = living.iter().map(|session| Read::Load(session.key.clone())).collect();
    let found = database.read(reads, Terms::by(soon())).await?;
    let wanted: Vec<_> = living.iter().map(|session| ReadOutcome::Session(Some(session.clone()))).collect();
    ensure!(found == wanted, "{found:?}");
    // After a transaction of its connection, and read on another one.
    let alone = far(&key("alone000"));
    database.write(vec![Write::Insert(alone.clone())], Terms::by(soon())).await?;
    ensure!(load(database, &alone.key).await?.as_ref() == Some(&alone), "it was not committed");
    database.write(vec![Write::Delete(alone.key)], Terms::by(soon())).await?;
    let later = living[0].expires_at.plus(Duration::from_secs(1));
    let touches = living.iter().map(|session| Write::Touch(session.key.clone(), later)).collect();
    database.write(touches, Terms::by(soon())).await?;
    let page = database.upkeep().scan(None, 100, soon()).await?;
    ensure!((page.sessions.len(), page.expired, page.next) == (20, 20, None));
    ensure!(page.sessions.iter().all(|session| session.expires_at == later));
    ensure!(database.upkeep().statistics(soon()).await?.rows == 40);
    ensure!(database.upkeep().expired_left(None, soon()).await?.expired == 20);
    ensure!(database.upkeep().delete_expired(None, 100, soon()).await? == 20);
    let deletes = living.iter().map(|session| Write::Delete(session.key.clone())).collect();
    database.write(deletes, Terms::by(soon())).await?;
    let page = database.upkeep().scan(None, 100, soon()).await?;
    ensure!(page.sessions.is_empty() && page.expired == 0);
    database.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_of_mariadb_change_nothing() -> Result<()> {
    let server = MariaDb::start().await?;
    let mut raw = MySqlConnection::connect(&server.url()).await?;
    for setting in [
        "sql_select_limit = 1",
        "sql_safe_updates = 1",
        "autocommit = 0",
        "completion_type = 'CHAIN'",
        "tx_isolation = 'SERIALIZABLE'",
        "sql_mode = 'ORACLE,EMPTY_STRING_IS_NULL,ANSI_QUOTES,NO_BACKSLASH_ESCAPES'",
        "time_zone = '-07:00'",
        "collation_connection = 'latin1_general_cs'",
        "div_precision_increment = 0",
        "sql_auto_is_null = 1",
    ] {
        raw.execute(sqlx::raw_sql(&format!("SET GLOBAL {setting}"))).await?;
    }
    does_its_work(&Kind::MariaDb.builder(&server.url()).writers(1).connect().await?).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_of_postgres_change_nothing() -> Result<()> {
    let server = Postgres::shared().await?;
    let url = server.create_database("settings").await?;
    let mut raw = PgConnection::connect(&url).await?;
    for setting in [
        "default_transaction_isolation = 'serializable'",
        "default_transaction_deferrable = on",
        "intervalstyle = 'iso_8601'",
        "datestyle = 'SQL, DMY'",
        "timezone = 'America/Los_Angeles'",
        "bytea_output = 'escape'",
        "client_encoding = 'LATIN1'",
        "standard_conforming_strings = off",
        "transform_null_equals = on",
        "plan_cache_mode = 'force_custom_plan'",
        "enable_indexscan = off",
        "enable_bitmapscan = off",
        "statement_timeout = '200ms'",
        "lock_timeout = '1ms'",
    ] {
        raw.execute(sqlx::raw_sql(&format!("ALTER DATABASE settings SET {setting}"))).await?;
    }
    does_its_work(&Kind::Postgres.builder(&url).writers(1).connect().await?).await
}
