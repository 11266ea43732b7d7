//! Claims about MySQL and MariaDB only: errors that only MySQL has, raised by a trigger; whose statement it is; sizes
//! that the server caches.

use anyhow::Result;
use sqlx::{Connection as _, Executor as _, MySqlConnection};
use switchover_backends::{MySql, Server};
use switchover_core::capabilities::{Database, DatabaseError, Terms, Write, WriteOutcome};
use switchover_harness::MariaDb;

use super::fixture::{eventually, key, new_table, session, soon, within, write};
use super::server_fixture::far;

/// An empty table, and another client that connected to the server later.
async fn started(application_name: &str) -> Result<(Server, String, MySqlConnection)> {
    let url = MariaDb::shared().await?.url();
    let table = new_table();
    let builder = MySql::builder(&url).table(&table).writers(1).application_name(application_name);
    let database = builder.connect().await?;
    database.upkeep().create_schema(soon()).await?;
    // The writer's connection is made now.
    write(&database, Write::Insert(far(&key("aaaaaaaa")))).await?;
    Ok((database, table, MySqlConnection::connect(&url).await?))
}

/// Makes inserts fail with an error of the server, on the connections that `whose` selects.
async fn spoil(raw: &mut MySqlConnection, table: &str, whose: &str, state: &str, number: u16) -> Result<()> {
    let sql = format!(
        "CREATE TRIGGER spoil_{table} BEFORE INSERT ON `{table}` FOR EACH ROW \
         IF {whose} THEN SIGNAL SQLSTATE '{state}' SET MYSQL_ERRNO = {number}; END IF"
    );
    raw.execute(sqlx::raw_sql(&sql)).await?;
    Ok(())
}

#[tokio::test]
async fn connection_that_was_idle_too_long_for_mysql_is_replaced() -> Result<()> {
    let (database, table, mut raw) = started("switchover").await?;
    let now: u64 = sqlx::query_scalar("SELECT cast(connection_id() AS unsigned)").fetch_one(&mut raw).await?;
    spoil(&mut raw, &table, &format!("connection_id() < {now}"), "HY000", 4031).await?;
    let session = far(&key("bbbbbbbb"));
    let outcomes = database.write(vec![Write::Insert(session.clone())], Terms::by(soon())).await?;
    assert_eq!(outcomes, [WriteOutcome::Done(Some(session))]);
    Ok(())
}

#[tokio::test]
async fn transaction_that_a_group_rolled_back_is_a_conflict() -> Result<()> {
    let (database, table, mut raw) = started("switchover").await?;
    spoil(&mut raw, &table, "true", "40000", 3101).await?;
    let refused = database.write(vec![Write::Insert(far(&key("bbbbbbbb")))], Terms::by(within(1_000))).await;
    assert!(matches!(refused, Err(DatabaseError::Conflict { .. })), "{refused:?}");
    raw.execute(sqlx::raw_sql(&format!("DROP TRIGGER spoil_{table}"))).await?;
    database.write(vec![Write::Insert(far(&key("bbbbbbbb")))], Terms::by(soon())).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runs_tells_whose_it_is_and_the_name_ends_no_comment() -> Result<()> {
    let (database, table, mut raw) = started("shop-2 */; DROP").await?;
    let lock = async |database: &Server| super::fixture::lock(database, vec![key("aaaaaaaa")], soon()).await;
    let held = lock(&database).await?;
    let waiting = tokio::spawn({
        let database = database.clone();
        async move { lock(&database).await.map(drop) }
    });
    let sql = format!(
        "SELECT cast(info AS char) FROM information_schema.processlist \
         WHERE info LIKE '%{table}`%' AND id <> connection_id()"
    );
    eventually("it is shown", async || {
        let shown: Vec<String> = sqlx::query_scalar(&sql).fetch_all(&mut raw).await?;
        Ok(shown.iter().any(|statement| statement.starts_with("/* shop-2 ___ DROP */ SELECT session_key")))
    })
    .await?;
    held.roll_back().await;
    waiting.await??;
    Ok(())
}

#[tokio::test]
async fn sizes_that_the_server_kept_are_not_told() -> Result<()> {
    let (database, table, mut raw) = started("switchover").await?;
    // InnoDB makes its estimates at once, not in the background.
    raw.execute(sqlx::raw_sql(&format!("ALTER TABLE `{table}` STATS_PERSISTENT = 0"))).await?;
    let small = database.upkeep().statistics(soon()).await?.table_bytes;
    let large = "x".repeat(64 << 10);
    for at in 0..64 {
        let row = session(&format!("key{at:05}"), &large, far(&key("aaaaaaaa")).expires_at);
        write(&database, Write::Insert(row)).await?;
    }
    eventually("the new size is told", async || {
        let table = database.upkeep().statistics(soon()).await?.table_bytes;
        Ok(table > small && table >= Some(64 << 16))
    })
    .await
}
