//! Sweeps of tables in which some expired rows cannot be deleted: the others go, and these are counted.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use sqlx::{Connection as _, Executor as _, MySqlConnection, PgConnection};
use switchover_backends::{MySql, Postgres};
use switchover_core::capabilities::{Database, DatabaseError, Swept, Terms, Write};
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

/// A statement that fails by itself is an error, at once, also on a table without expired rows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statement_that_fails_without_a_row_is_an_error() -> Result<()> {
    let server = switchover_harness::Postgres::shared().await?;
    let mut raw = PgConnection::connect(&server.url()).await?;
    for rows in [0, 40] {
        let table = new_table();
        let database = Postgres::builder(server.url()).table(&table).connect().await?;
        database.upkeep().create_schema(soon()).await?;
        let rows: Vec<_> = (0..rows).map(|number| Write::Insert(ended(number, "v1"))).collect();
        if !rows.is_empty() {
            database.write(rows, Terms::by(soon())).await?;
        }
        let trigger = format!(
            "CREATE FUNCTION no_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'none'; END $$; \
             CREATE TRIGGER no_{table} BEFORE DELETE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION no_{table}()"
        );
        raw.execute(sqlx::raw_sql(&trigger)).await?;
        let swept = database.upkeep().sweep(None, 0, 100, soon()).await;
        ensure!(matches!(swept, Err(DatabaseError::Corrupt { .. })), "{swept:?}");
        database.close().await;
    }
    Ok(())
}

/// A trigger may raise any code, with the key in its text, or execute a statement that has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_error_repeats_what_a_trigger_says() -> Result<()> {
    let (postgres, mariadb) = (switchover_harness::Postgres::shared().await?.url(), MariaDb::shared().await?.url());
    let far = expires_in(Duration::from_secs(3_600));
    let errors = async |database: &dyn Database| -> Result<()> {
        let write = vec![Write::Upsert(session("secretsecret", "v1", far))];
        for error in [
            database.write(write, Terms::by(soon())).await.err().map(|error| error.to_string()),
            match database.upkeep().sweep(None, 0, 10, soon()).await {
                Ok(swept) => swept.reason,
                Err(error) => Some(error.to_string()),
            },
        ] {
            let error = error.unwrap_or_default();
            ensure!(!error.contains("secret"), "{error}");
        }
        Ok(())
    };
    let mut raw = PgConnection::connect(&postgres).await?;
    for action in [
        "RAISE EXCEPTION 'no %', coalesce(OLD.session_key, NEW.session_key) USING ERRCODE = '55P03'",
        "RAISE EXCEPTION 'no %', coalesce(OLD.session_key, NEW.session_key) USING ERRCODE = '40001'",
        "RAISE EXCEPTION 'no %', coalesce(OLD.session_key, NEW.session_key) USING ERRCODE = '53100'",
        "EXECUTE format('DROP FUNCTION f_%s()', coalesce(OLD.session_key, NEW.session_key))",
    ] {
        let table = new_table();
        let database = Postgres::builder(&*postgres).table(&table).connect().await?;
        database.upkeep().create_schema(soon()).await?;
        let row = session("secretsecret", "v1", Timestamp::from_micros(1_000_000));
        database.write(vec![Write::Insert(row)], Terms::by(soon())).await?;
        let trigger = format!(
            "CREATE FUNCTION no_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {action}; RETURN NEW; END $$; \
             CREATE TRIGGER no_{table} BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION no_{table}()"
        );
        raw.execute(sqlx::raw_sql(&trigger)).await?;
        errors(&database).await?;
        database.close().await;
    }
    let mut raw = MySqlConnection::connect(&mariadb).await?;
    for number in [1142, 1054, 1205, 1213, 1021, 1227, 1644, 31337] {
        let table = new_table();
        let database = MySql::builder(&*mariadb).table(&table).connect().await?;
        database.upkeep().create_schema(soon()).await?;
        let row = session("secretsecret", "v1", Timestamp::from_micros(1_000_000));
        database.write(vec![Write::Insert(row)], Terms::by(soon())).await?;
        for event in ["UPDATE", "DELETE"] {
            let trigger = format!(
                "CREATE TRIGGER no_{event}_{table} BEFORE {event} ON {table} FOR EACH ROW \
                 SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = {number}, MESSAGE_TEXT = OLD.session_key"
            );
            raw.execute(sqlx::raw_sql(&trigger)).await?;
        }
        errors(&database).await?;
        database.close().await;
    }
    Ok(())
}
