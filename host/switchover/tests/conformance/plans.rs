//! No statement of a session reads more of a table that has grown: on a connection that has kept its plans since the table was empty, on
//! a new one, before the table was analysed and after.

use std::time::Duration;

use anyhow::{Context, Result};
use sqlx::{Connection as _, Executor as _, MySqlConnection, PgConnection, Row as _};
use switchover::backends::{MySql, Postgres, Server};
use switchover::capabilities::{Database, Read, Write};
use switchover::{Session, SessionKey, Timestamp, expires_in};
use switchover_harness::MariaDb;

use super::fixture::{key, session, soon};

const SIZES: [u64; 4] = [0, 300, 3_000, 300_000];
const BATCHES: [usize; 3] = [1, 24, 128];
/// Rows of a page, and rows that one deletion of expired ones takes.
const PAGE: u32 = 50;
/// What a tree that is higher by a level or two may add to each access, and what a batch may add by itself.
const GROWTH: u64 = 3;
const SLACK: u64 = 100;

/// Counts what a server reads, in units of its own.
#[async_trait::async_trait]
trait Counter: Send {
    /// Units since it was asked last.
    async fn count(&mut self) -> Result<u64>;
    async fn fill(&mut self, from: u64, to: u64) -> Result<()>;
    async fn analyse(&mut self) -> Result<()>;
}

/// Blocks that statements on the table touch, by `pg_stat_statements`.
struct PostgresBlocks(PgConnection);

#[async_trait::async_trait]
impl Counter for PostgresBlocks {
    async fn count(&mut self) -> Result<u64> {
        let sql = "SELECT coalesce(sum(shared_blks_hit + shared_blks_read), 0)::bigint FROM pg_stat_statements \
                   WHERE query LIKE '%django_session%' AND query NOT LIKE '%pg_stat_statements%'";
        let blocks: i64 = self.0.fetch_one(sqlx::raw_sql(sql)).await?.try_get(0)?;
        self.0.execute(sqlx::raw_sql("SELECT pg_stat_statements_reset()")).await?;
        Ok(blocks.unsigned_abs())
    }

    async fn fill(&mut self, from: u64, to: u64) -> Result<()> {
        let sql = format!(
            "INSERT INTO django_session SELECT 'key' || lpad(g::text, 8, '0'), repeat('x', 150), now() + (g % 3 - 1) * interval '1 day' - interval '1 minute' \
             FROM generate_series({from} + 1, {to}) AS g"
        );
        self.0.execute(sqlx::raw_sql(&sql)).await?;
        Ok(())
    }

    async fn analyse(&mut self) -> Result<()> {
        self.0.execute(sqlx::raw_sql("ANALYZE django_session")).await?;
        Ok(())
    }
}

/// Rows that the storage engine is asked for.
struct MariaDbRows(MySqlConnection, u64);

#[async_trait::async_trait]
impl Counter for MariaDbRows {
    async fn count(&mut self) -> Result<u64> {
        let sql = "SHOW GLOBAL STATUS LIKE 'Handler_read%'";
        let rows = self.0.fetch_all(sqlx::raw_sql(sql)).await?;
        let mut total = 0;
        for row in rows {
            total += row.try_get::<String, _>(1)?.parse::<u64>()?;
        }
        Ok(total - std::mem::replace(&mut self.1, total))
    }

    async fn fill(&mut self, from: u64, to: u64) -> Result<()> {
        if from == to {
            return Ok(());
        }
        let sql = format!(
            "INSERT INTO django_session SELECT concat('key', lpad(seq, 8, '0')), repeat('x', 150), \
             utc_timestamp(6) + INTERVAL (cast(seq AS signed) % 3 - 1) DAY - INTERVAL 1 MINUTE FROM seq_{}_to_{to}",
            from + 1
        );
        self.0.execute(sqlx::raw_sql(&sql)).await?;
        self.count().await?;
        Ok(())
    }

    async fn analyse(&mut self) -> Result<()> {
        self.0.execute(sqlx::raw_sql("ANALYZE TABLE django_session")).await?;
        self.count().await?;
        Ok(())
    }
}

/// What each operation of the product reads, by name.
async fn measure(database: &Server, counter: &mut dyn Counter, keys: &[SessionKey]) -> Result<Vec<(String, u64)>> {
    let far = expires_in(Duration::from_secs(7_200));
    let mut counts = Vec::new();
    counter.count().await?;
    for batch in BATCHES {
        // The first use of a statement prepares it, which looks at other things.
        for first in [true, false] {
            let mut note = async |what: &str, counter: &mut dyn Counter| -> Result<()> {
                let count = counter.count().await?;
                if !first {
                    counts.push((format!("{what} of {batch}"), count));
                }
                Ok(())
            };
            let there: Vec<SessionKey> = keys.iter().take(batch).cloned().collect();
            let absent: Vec<SessionKey> = (0..batch).map(|at| key(&format!("absent{at:026}"))).collect();
            let write = async |writes: Vec<Write>| -> Result<()> {
                if !writes.is_empty() {
                    database.write(writes, None, soon()).await?;
                }
                Ok(())
            };
            let sessions = |keys: &[SessionKey]| -> Vec<Session> {
                keys.iter().map(|key| session(key.expose(), "payload", far)).collect()
            };
            for (what, keys) in [("present", &there), ("absent", &absent)] {
                database.read(keys.iter().cloned().map(Read::Load).collect(), None, soon()).await?;
                note(&format!("load, {what},"), counter).await?;
                database.read(keys.iter().cloned().map(Read::Exists).collect(), None, soon()).await?;
                note(&format!("exists, {what},"), counter).await?;
                write(sessions(keys).into_iter().map(Write::Update).collect()).await?;
                note(&format!("update, {what},"), counter).await?;
                write(keys.iter().map(|key| Write::Touch(key.clone(), far)).collect()).await?;
                note(&format!("touch, {what},"), counter).await?;
                if !keys.is_empty() {
                    let held = database.hold(keys.iter().cloned().map(Write::Lock).collect(), None, soon()).await?;
                    held.roll_back().await;
                }
                note(&format!("lock, {what},"), counter).await?;
            }
            write(sessions(&there).into_iter().map(Write::Upsert).collect()).await?;
            note("upsert, present,", counter).await?;
            write(sessions(&absent).into_iter().map(Write::Insert).collect()).await?;
            note("insert", counter).await?;
            write(sessions(&absent).into_iter().map(Write::Insert).collect()).await?;
            note("insert, present,", counter).await?;
            write(absent.iter().cloned().map(Write::Delete).collect()).await?;
            note("delete", counter).await?;
            write(absent.iter().cloned().map(Write::Delete).collect()).await?;
            note("delete, absent,", counter).await?;
            let held = database.hold(sessions(&absent).into_iter().map(Write::Upsert).collect(), None, soon()).await?;
            held.roll_back().await;
            note("held upsert", counter).await?;
        }
    }
    for _ in 0..2 {
        counter.count().await?;
        let page = database.scan(None, PAGE, soon()).await?;
        counts.push(("first page".to_owned(), counter.count().await?));
        if let Some(after) = page.next {
            database.scan(Some(after), PAGE, soon()).await?;
        }
        counts.push(("later page".to_owned(), counter.count().await?));
        database.delete_expired(None, PAGE, soon()).await?;
        counts.push(("expired rows".to_owned(), counter.count().await?));
        let long_ago = Some(Timestamp::from_micros(1_000_000));
        database.delete_expired(long_ago, PAGE, soon()).await?;
        counts.push(("expired rows, none".to_owned(), counter.count().await?));
    }
    Ok(counts)
}

/// A count that grows with the table is a scan of it.
fn check(what: &str, small: &[(String, u64)], large: &[(String, u64)]) -> Result<()> {
    for (name, before) in small {
        let same = large.iter().filter(|(other, _)| other == name).map(|(_, count)| *count);
        let after = same.max().with_context(|| format!("{name} was not measured"))?;
        anyhow::ensure!(after <= before * GROWTH + SLACK, "{what}: {name} reads {after} where it read {before}");
    }
    Ok(())
}

async fn stays_flat(open: impl AsyncFn() -> Result<Server>, counter: &mut dyn Counter) -> Result<()> {
    open().await?.create_schema(soon()).await?;
    // Each keeps the plans of the table as it was when it was opened.
    let mut kept: Vec<(String, Server)> = Vec::new();
    let mut baseline: Vec<(String, u64)> = Vec::new();
    let mut rows = 0;
    for size in SIZES {
        counter.fill(rows, size).await?;
        rows = size;
        // Living ones, and none that another size has deleted.
        let keys = (1..=size).filter(|row| row % 3 == 2).take(BATCHES[2]);
        let keys: Vec<_> = keys.map(|row| key(&format!("key{row:08}"))).collect();
        for analysed in [false, true] {
            if analysed {
                counter.analyse().await?;
            }
            kept.push((format!("planned at {size} rows, analysed: {analysed}"), open().await?));
            for (plans, database) in &kept {
                let counts = measure(database, counter, &keys).await?;
                if size < 3_000 {
                    // In a small table a full one is as good as any.
                    continue;
                }
                if baseline.is_empty() {
                    anyhow::ensure!(counts.iter().filter(|(_, count)| *count > 0).count() > 40, "nothing is measured");
                    baseline = counts;
                } else {
                    check(&format!("{size} rows, analysed: {analysed}, {plans}"), &baseline, &counts)?;
                }
            }
        }
    }
    for (_, database) in kept {
        database.close().await;
    }
    Ok(())
}

/// PostgreSQL by itself, with what counts blocks, and nobody who analyses tables in the background.
async fn postgres() -> Result<(switchover_harness::Server, PostgresBlocks)> {
    let builder = switchover_harness::Postgres::builder();
    let builder = builder.setting("shared_preload_libraries", "pg_stat_statements").setting("autovacuum", "off");
    let server = builder.start().await?;
    let mut connection = PgConnection::connect(&server.url()).await?;
    connection.execute(sqlx::raw_sql("CREATE EXTENSION pg_stat_statements")).await?;
    Ok((server, PostgresBlocks(connection)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_statement_on_postgres_reads_more_of_a_larger_table() -> Result<()> {
    let (server, mut counter) = postgres().await?;
    stays_flat(async || Ok(Postgres::connect(server.url()).await?), &mut counter).await
}

/// What once took the index on the end, since the table was small when it was planned.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_measure_finds_a_plan_that_grows_with_the_table() -> Result<()> {
    let (server, mut counter) = postgres().await?;
    Postgres::connect(server.url()).await?.create_schema(soon()).await?;
    let mut connection = PgConnection::connect(&server.url()).await?;
    let settings = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; \
                    PREPARE load (text[], timestamptz) AS SELECT session_key, session_data, expire_date FROM django_session \
                    WHERE session_key = ANY($1) AND expire_date > coalesce($2, statement_timestamp())";
    connection.execute(sqlx::raw_sql(settings)).await?;
    counter.fill(0, 300).await?;
    let mut counts = Vec::new();
    for (from, to) in [(300, 3_000), (3_000, 30_000)] {
        // Planned at 300 rows, and kept.
        let load = "EXECUTE load ('{key00000002}', NULL)";
        connection.execute(sqlx::raw_sql(load)).await?;
        counter.fill(from, to).await?;
        counter.count().await?;
        connection.execute(sqlx::raw_sql(load)).await?;
        counts.push(vec![("load".to_owned(), counter.count().await?)]);
    }
    assert!(check("the old load", &counts[0], &counts[1]).is_err(), "{counts:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_statement_on_mariadb_reads_more_of_a_larger_table() -> Result<()> {
    let server = MariaDb::builder().setting("innodb-stats-auto-recalc", "OFF").start().await?;
    let mut counter = MariaDbRows(MySqlConnection::connect(&server.url()).await?, 0);
    stays_flat(async || Ok(MySql::connect(server.url()).await?), &mut counter).await
}
