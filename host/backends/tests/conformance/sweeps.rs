//! Sweeps of tables in which some expired rows cannot be deleted: the others go, and these are counted.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use sqlx::{Connection as _, Executor as _, MySqlConnection, PgConnection};
use switchover_backends::{MySql, Postgres};
use switchover_core::capabilities::{Database, Swept, Terms, Write};
use switchover_core::{Session, Timestamp, expires_in};
use switchover_harness::MariaDb;

use super::fixture::{exists, new_table, session, soon};
use super::protections::{KEPT, protections};

/// More protected rows than any step takes, before the first that can be deleted.
const FRONT: u64 = 150;
/// Rows behind them, of which each fifth is protected.
const BEHIND: u64 = 50;
const PROTECTED: u64 = FRONT + BEHIND / 5;

fn ended(number: u64, payload: &str) -> Session {
    session(&format!("expired{number:05}"), payload, Timestamp::from_micros(1_000_000 * (1 + number)))
}

fn living() -> Session {
    session("living000", "v1", expires_in(Duration::from_secs(3_600)))
}

fn rows() -> Vec<Session> {
    let is_protected = |number: &u64| *number < FRONT || number.is_multiple_of(5);
    let payload = |number| if is_protected(&number) { KEPT } else { "v1" };
    // In no order.
    let numbers = (0..FRONT + BEHIND).map(|number| number * 7 % (FRONT + BEHIND));
    numbers.map(|number| ended(number, payload(number))).chain([living()]).collect()
}

/// Every step of a sweep; what they did together.
async fn sweep(database: &dyn Database, limit: u32) -> Result<Swept> {
    let mut all = Swept::default();
    loop {
        let swept = database.upkeep().sweep(None, all.passed(), limit, soon()).await?;
        ensure!(u64::from(swept.deleted) + swept.passed() <= u64::from(limit), "{swept:?}");
        all.deleted += swept.deleted;
        all.refused += swept.refused;
        all.held += swept.held;
        all.reason = swept.reason.or(all.reason);
        if !swept.more {
            return Ok(all);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_a_database_refuses_to_delete_stop_no_sweep() -> Result<()> {
    for protection in protections().await? {
        for limit in [1, 16, 1_000] {
            let name = format!("{}, limit {limit}", protection.name);
            let database = protection.open(rows()).await?;
            let swept = sweep(&*database, limit).await?;
            let counted = (u64::from(swept.deleted), u64::from(swept.refused), swept.held);
            ensure!(counted == (BEHIND - BEHIND / 5, PROTECTED, 0), "{name}: {swept:?}");
            let reason = swept.reason.unwrap_or_default();
            ensure!(!reason.is_empty() && !reason.contains(KEPT) && !reason.contains("expired0"), "{name}: {reason}");
            let left = database.upkeep().expired_left(None, soon()).await?;
            ensure!((left.expired, left.unreadable) == (PROTECTED, 0), "{name}: {left:?}");
            ensure!(exists(&*database, &living().key).await?, "{name}");
            database.close().await;
        }
        let database = protection.open(rows()).await?;
        let deleted = async || database.upkeep().delete_expired(None, 25, soon()).await;
        let counted = [deleted().await?, deleted().await?, deleted().await?];
        ensure!(counted == [25, 15, 0], "{}: {counted:?}", protection.name);
        database.close().await;
    }
    Ok(())
}

/// The oldest three rows are locked in another transaction.
async fn held_rows_are_passed(database: Arc<dyn Database>, lock: impl AsyncFnOnce(&str) -> Result<()>) -> Result<()> {
    database.upkeep().create_schema(soon()).await?;
    let rows = (0..40).map(|number| Write::Insert(ended(number, "v1"))).chain([Write::Insert(living())]);
    database.write(rows.collect(), Terms::by(soon())).await?;
    lock("session_key <= 'expired00002' ORDER BY session_key FOR UPDATE").await?;
    let swept = sweep(&*database, 16).await?;
    ensure!((swept.deleted, swept.refused) == (37, 0), "{swept:?}");
    let left = database.upkeep().expired_left(None, soon()).await?;
    ensure!(left.expired == 3, "{left:?}");
    ensure!(database.upkeep().delete_expired(None, 16, soon()).await? == 0);
    database.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_others_hold_stop_no_sweep_of_postgres() -> Result<()> {
    let (server, table) = (switchover_harness::Postgres::shared().await?, new_table());
    let database = Arc::new(Postgres::builder(server.url()).table(&table).connect().await?);
    let mut raw = PgConnection::connect(&server.url()).await?;
    held_rows_are_passed(database, async |which| {
        let lock = format!("BEGIN; SELECT FROM {table} WHERE {which}");
        raw.execute(sqlx::raw_sql(&lock)).await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_others_hold_stop_no_sweep_of_mariadb() -> Result<()> {
    let (server, table) = (MariaDb::shared().await?, new_table());
    let database = Arc::new(MySql::builder(server.url()).table(&table).connect().await?);
    let mut raw = MySqlConnection::connect(&server.url()).await?;
    held_rows_are_passed(database, async |which| {
        let lock = format!(
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; START TRANSACTION; \
             SELECT session_key FROM {table} WHERE {which}"
        );
        raw.execute(sqlx::raw_sql(&lock)).await?;
        Ok(())
    })
    .await
}

/// A deletion cascades to a row of another table, which somebody has locked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_that_is_held_through_another_table_stops_no_sweep() -> Result<()> {
    let (server, table) = (switchover_harness::Postgres::shared().await?, new_table());
    let database = Postgres::builder(server.url()).table(&table).connect().await?;
    database.upkeep().create_schema(soon()).await?;
    let rows = (0..40).map(|number| Write::Insert(ended(number, "v1")));
    database.write(rows.collect(), Terms::by(soon())).await?;
    let mut raw = PgConnection::connect(&server.url()).await?;
    let refer = format!(
        "CREATE TABLE refers_{table} (session_key varchar(40) REFERENCES {table} ON DELETE CASCADE); \
         INSERT INTO refers_{table} VALUES ('expired00000'), ('expired00020')"
    );
    raw.execute(sqlx::raw_sql(&refer)).await?;
    let lock = format!("BEGIN; SELECT FROM refers_{table} FOR UPDATE");
    raw.execute(sqlx::raw_sql(&lock)).await?;
    let swept = sweep(&database, 100).await?;
    ensure!((swept.deleted, swept.refused, swept.held) == (38, 0, 2), "{swept:?}");
    raw.execute(sqlx::raw_sql("ROLLBACK")).await?;
    let swept = sweep(&database, 100).await?;
    ensure!((swept.deleted, swept.passed()) == (2, 0), "{swept:?}");
    database.close().await;
    Ok(())
}
