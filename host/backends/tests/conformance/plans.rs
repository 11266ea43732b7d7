//! How much an operation reads depends only on its batch, never on the table. This holds on a connection that has kept
//! its plans since the table was empty, and on a new one; before the table was analysed, and after; with living
//! sessions, and with none.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use sqlx::{Connection as _, Executor as _, MySqlConnection, PgConnection, Row as _};
use switchover_backends::{MySql, Postgres, Server};
use switchover_core::capabilities::{Database, Read, Terms, Write};
use switchover_core::{Session, SessionKey, Timestamp, expires_in};
use switchover_harness::MariaDb;

use super::collations::{COLLATIONS, convert};
use super::fixture::{hold, key, load, lock, new_table, session, soon, write};

pub(crate) const SIZES: [u64; 4] = [0, 300, 3_000, 300_000];
const BATCHES: [usize; 4] = [1, 2, 24, 128];
/// How many rows a page has, and how many one deletion of expired rows takes.
const PAGE: usize = 50;
/// Keys are scattered over the table like random ones: row `n` has `n * SCATTER % MODULUS`, which no other row has.
const SCATTER: u64 = 2_654_435_761;
const MODULUS: u64 = 1 << 32;

/// Which sessions have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// One in three.
    Some,
    All,
}

impl Ended {
    /// The end of row `row`, in days from now, as SQL.
    fn end_in_days(self, row: &str) -> String {
        match self {
            Self::Some => format!("({row} % 3 - 1)"),
            Self::All => "(-1)".to_owned(),
        }
    }

    /// The keys of rows that no deletion of expired rows has taken yet.
    pub(crate) fn keys(self, rows: u64) -> Vec<SessionKey> {
        let most = BATCHES[BATCHES.len() - 1];
        let numbers: Vec<u64> = match self {
            Self::Some => (1..=rows).filter(|row| row % 3 == 2).take(most).collect(),
            // They are deleted in the order of their ends.
            Self::All => (1..=rows).rev().take(most).collect(),
        };
        numbers.into_iter().map(|row| key(&format!("key{:08x}", row * SCATTER % MODULUS))).collect()
    }
}

/// The most that an operation may read: a base, and a part for each row or key of its batch.
#[derive(Clone, Copy)]
pub(crate) struct Bound {
    pub(crate) base: u64,
    pub(crate) each: u64,
}

/// Counts what a server reads, in its own units.
#[async_trait::async_trait]
pub(crate) trait Counter: Send {
    /// The bound for one operation, in the same units.
    fn bound(&self) -> Bound;
    /// The units since the last call.
    async fn count(&mut self) -> Result<u64>;
    async fn fill(&mut self, from: u64, to: u64, ended: Ended) -> Result<()>;
    async fn analyse(&mut self) -> Result<()>;
}

/// The blocks that statements on the table and on the side tables touch, by `pg_stat_statements`.
pub(crate) struct PostgresBlocks(pub(crate) PgConnection);

#[async_trait::async_trait]
impl Counter for PostgresBlocks {
    /// PostgreSQL finds a row through three or four blocks, and writes it in three indexes. It also passes dead rows,
    /// which nothing removes here.
    fn bound(&self) -> Bound {
        Bound { base: 150, each: 40 }
    }

    async fn count(&mut self) -> Result<u64> {
        let sql = "SELECT coalesce(sum(shared_blks_hit + shared_blks_read), 0)::bigint FROM pg_stat_statements \
                   WHERE (query LIKE '%django_session%' OR query LIKE '%switchover%') \
                       AND query NOT LIKE '%pg_stat_statements%'";
        let blocks: i64 = self.0.fetch_one(sqlx::raw_sql(sql)).await?.try_get(0)?;
        self.0.execute(sqlx::raw_sql("SELECT pg_stat_statements_reset()")).await?;
        Ok(blocks.unsigned_abs())
    }

    async fn fill(&mut self, from: u64, to: u64, ended: Ended) -> Result<()> {
        let days = ended.end_in_days("g");
        let sql = format!(
            "INSERT INTO django_session \
             SELECT 'key' || lpad(to_hex(g * {SCATTER} % {MODULUS}), 8, '0'), repeat('x', 150), \
                    now() + {days} * interval '1 day' - interval '1 minute' + g * interval '1 microsecond' \
             FROM generate_series({from} + 1, {to}::bigint) AS g"
        );
        self.0.execute(sqlx::raw_sql(&sql)).await?;
        Ok(())
    }

    async fn analyse(&mut self) -> Result<()> {
        self.0.execute(sqlx::raw_sql("ANALYZE django_session")).await?;
        Ok(())
    }
}

/// The rows that are requested from the storage engine.
struct MariaDbRows(MySqlConnection, u64);

#[async_trait::async_trait]
impl Counter for MariaDbRows {
    /// A row is locked, read and written, in a sweep by way of a list; asking for the count reads ten. Many keys may be
    /// looked for in all of a small table, of 300 rows.
    fn bound(&self) -> Bound {
        Bound { base: 70, each: 8 }
    }

    async fn count(&mut self) -> Result<u64> {
        let sql = "SHOW GLOBAL STATUS LIKE 'Handler_read%'";
        let rows = self.0.fetch_all(sqlx::raw_sql(sql)).await?;
        let mut total = 0;
        for row in rows {
            total += row.try_get::<String, _>(1)?.parse::<u64>()?;
        }
        Ok(total - std::mem::replace(&mut self.1, total))
    }

    async fn fill(&mut self, from: u64, to: u64, ended: Ended) -> Result<()> {
        if from == to {
            return Ok(());
        }
        let days = ended.end_in_days("cast(seq AS signed)");
        let sql = format!(
            "INSERT INTO django_session \
             SELECT concat('key', lpad(lower(hex(seq * {SCATTER} % {MODULUS})), 8, '0')), repeat('x', 150), \
                    utc_timestamp(6) + INTERVAL {days} DAY - INTERVAL 1 MINUTE + INTERVAL seq MICROSECOND \
             FROM seq_{}_to_{to}",
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

/// What an operation has read, with a batch of this size.
pub(crate) struct Count {
    pub(crate) what: String,
    pub(crate) batch: usize,
    pub(crate) count: u64,
}

/// Measures what each operation of the product reads.
async fn measure(database: &Server, counter: &mut dyn Counter, keys: &[SessionKey]) -> Result<Vec<Count>> {
    static MEASURES: AtomicU64 = AtomicU64::new(0);
    // Keys that were inserted and deleted before leave dead rows behind, which PostgreSQL passes.
    let measures = MEASURES.fetch_add(1, Ordering::SeqCst);
    let far = expires_in(Duration::from_secs(7_200));
    let mut counts = Vec::new();
    counter.count().await?;
    for batch in BATCHES {
        // The first use of a statement prepares it, which reads other things.
        for first in [true, false] {
            let mut note = async |what: &str, counter: &mut dyn Counter| -> Result<()> {
                let count = counter.count().await?;
                if !first {
                    counts.push(Count { what: what.to_owned(), batch, count });
                }
                Ok(())
            };
            let there: Vec<SessionKey> = keys.iter().take(batch).cloned().collect();
            let absent: Vec<SessionKey> = (0..batch).map(|at| key(&format!("absent{measures:06}{at:06}"))).collect();
            let write = async |writes: Vec<Write>| -> Result<()> {
                if !writes.is_empty() {
                    database.write(writes, Terms::by(soon())).await?;
                }
                Ok(())
            };
            let sessions = |keys: &[SessionKey]| -> Vec<Session> {
                keys.iter().map(|key| session(key.expose(), "payload", far)).collect()
            };
            for (what, keys) in [("present", &there), ("absent", &absent)] {
                database.read(keys.iter().cloned().map(Read::Load).collect(), Terms::by(soon())).await?;
                note(&format!("load, {what},"), counter).await?;
                database.read(keys.iter().cloned().map(Read::Exists).collect(), Terms::by(soon())).await?;
                note(&format!("exists, {what},"), counter).await?;
                write(sessions(keys).into_iter().map(Write::Update).collect()).await?;
                note(&format!("update, {what},"), counter).await?;
                write(keys.iter().map(|key| Write::Touch(key.clone(), far)).collect()).await?;
                note(&format!("touch, {what},"), counter).await?;
                if !keys.is_empty() {
                    let held = lock(database, keys.to_vec(), soon()).await?;
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
            let held = hold(database, sessions(&absent).into_iter().map(Write::Upsert).collect(), soon()).await?;
            held.roll_back().await;
            note("held upsert", counter).await?;
        }
    }
    for first in [true, false] {
        let mut note = async |what: &str, batch: usize, counter: &mut dyn Counter| -> Result<()> {
            let count = counter.count().await?;
            if !first {
                counts.push(Count { what: what.to_owned(), batch, count });
            }
            Ok(())
        };
        let limit = u32::try_from(PAGE)?;
        let page = database.upkeep().scan(None, limit, soon()).await?;
        note("first page", PAGE, counter).await?;
        if let Some(after) = page.next {
            database.upkeep().scan(Some(after), limit, soon()).await?;
        }
        note("later page", PAGE, counter).await?;
        database.upkeep().delete_expired(None, limit, soon()).await?;
        note("expired rows", PAGE, counter).await?;
        let long_ago = Some(Timestamp::from_micros(1_000_000));
        database.upkeep().delete_expired(long_ago, limit, soon()).await?;
        note("expired rows, none", 0, counter).await?;
    }
    Ok(counts)
}

/// A count that grows with the table means a scan of it.
pub(crate) fn check(what: &str, counts: &[Count], bound: Bound) -> Result<()> {
    for Count { what: operation, batch, count } in counts {
        let most = bound.base + bound.each * u64::try_from(*batch)?;
        anyhow::ensure!(*count <= most, "{what}: {operation} with a batch of {batch} reads {count}, {most} at most");
    }
    Ok(())
}

async fn depends_on_the_batch_alone(
    open: impl AsyncFn() -> Result<Server>,
    counter: &mut dyn Counter,
    ended: Ended,
) -> Result<()> {
    open().await?.upkeep().create_schema(soon()).await?;
    // Each keeps the plans of the table as it was when the database was opened.
    let mut kept: Vec<(String, Server)> = Vec::new();
    let mut rows = 0;
    for size in SIZES {
        counter.fill(rows, size, ended).await?;
        rows = size;
        let keys = ended.keys(rows);
        for analysed in [false, true] {
            if analysed {
                counter.analyse().await?;
            }
            kept.push((format!("planned at {size} rows, analysed: {analysed}"), open().await?));
            for (plans, database) in &kept {
                let counts = measure(database, counter, &keys).await?;
                anyhow::ensure!(counts.iter().filter(|count| count.count > 0).count() > 40, "nothing is measured");
                let what = format!("{size} rows, ended: {ended:?}, analysed: {analysed}, {plans}");
                check(&what, &counts, counter.bound())?;
            }
        }
    }
    for (_, database) in kept {
        database.close().await;
    }
    Ok(())
}

/// A PostgreSQL server with an extension that counts blocks. It does not analyse tables in the background.
pub(crate) async fn postgres() -> Result<(switchover_harness::Server, PostgresBlocks)> {
    let builder = switchover_harness::Postgres::builder();
    let builder = builder.setting("shared_preload_libraries", "pg_stat_statements").setting("autovacuum", "off");
    let server = builder.start().await?;
    let mut connection = PgConnection::connect(&server.url()).await?;
    connection.execute(sqlx::raw_sql("CREATE EXTENSION pg_stat_statements")).await?;
    Ok((server, PostgresBlocks(connection)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_statement_on_postgres_reads_more_of_a_larger_table() -> Result<()> {
    for ended in [Ended::Some, Ended::All] {
        let (server, mut counter) = postgres().await?;
        depends_on_the_batch_alone(async || Ok(Postgres::connect(server.url()).await?), &mut counter, ended).await?;
    }
    Ok(())
}

/// Two statements that once had such plans. The load used the index on the end, because the table was small when it was
/// planned. The join of a batch of writes read a whole index, because the table was empty when it was analysed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn measure_finds_plans_that_grow_with_the_table() -> Result<()> {
    // Looks for the last key, so that a scan has to go to the end.
    let load = "SELECT session_key, session_data, expire_date FROM django_session \
                WHERE session_key = ANY($1) AND expire_date > coalesce($2, statement_timestamp())";
    let touch = "WITH locked AS MATERIALIZED (SELECT session_key FROM django_session WHERE session_key = ANY($1) \
                     FOR UPDATE) \
                 UPDATE django_session AS t SET expire_date = v.expire_date \
                     FROM unnest($1, ARRAY[$2]) AS v (session_key, expire_date) \
                 JOIN locked USING (session_key) WHERE t.session_key = v.session_key";
    let emptied = "INSERT INTO django_session SELECT 'spare' || g, '', now() FROM generate_series(1, 500) AS g; \
                   DELETE FROM django_session; ANALYZE django_session";
    for (statement, before) in [(load, "SELECT"), (touch, emptied)] {
        let (server, mut counter) = postgres().await?;
        Postgres::connect(server.url()).await?.upkeep().create_schema(soon()).await?;
        let mut connection = PgConnection::connect(&server.url()).await?;
        let settings = format!(
            "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; \
             PREPARE statement (text[], timestamptz) AS {statement}; {before}"
        );
        connection.execute(sqlx::raw_sql(&settings)).await?;
        let execute = "EXECUTE statement ('{keyffffffff}', now())";
        // Planned at 300 rows, and kept.
        counter.fill(0, 300, Ended::Some).await?;
        connection.execute(sqlx::raw_sql(execute)).await?;
        counter.fill(300, 30_000, Ended::Some).await?;
        connection.execute(sqlx::raw_sql("INSERT INTO django_session VALUES ('keyffffffff', '', now())")).await?;
        counter.count().await?;
        connection.execute(sqlx::raw_sql(execute)).await?;
        let count = Count { what: "it".to_owned(), batch: 1, count: counter.count().await? };
        let (found, read) = (check("as it was once", &[count], counter.bound()).is_err(), statement);
        assert!(found, "{read}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_statement_on_mariadb_reads_more_of_a_larger_table() -> Result<()> {
    for ended in [Ended::Some, Ended::All] {
        let server = MariaDb::builder().setting("innodb-stats-auto-recalc", "OFF").start().await?;
        let mut counter = MariaDbRows(MySqlConnection::connect(&server.url()).await?, 0);
        depends_on_the_batch_alone(async || Ok(MySql::connect(server.url()).await?), &mut counter, ended).await?;
    }
    Ok(())
}

/// A parameter has another character set than most of these columns.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_collation_keeps_mariadb_from_the_index() -> Result<()> {
    let server = MariaDb::builder().setting("innodb-stats-auto-recalc", "OFF").start().await?;
    let mut raw = MySqlConnection::connect(&server.url()).await?;
    let mut counter = MariaDbRows(MySqlConnection::connect(&server.url()).await?, 0);
    for collation in COLLATIONS {
        raw.execute(sqlx::raw_sql("DROP TABLE IF EXISTS django_session")).await?;
        let database = MySql::connect(server.url()).await?;
        database.upkeep().create_schema(soon()).await?;
        convert(&mut raw, "django_session", collation).await?;
        counter.fill(0, SIZES[2], Ended::Some).await?;
        let counts = measure(&database, &mut counter, &Ended::Some.keys(SIZES[2])).await?;
        check(collation, &counts, counter.bound())?;
        database.close().await;
    }
    Ok(())
}

/// PostgreSQL refuses a kept plan if the types of its columns have changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kept_plan_ends_with_the_type_of_its_column() -> Result<()> {
    let (server, table) = (switchover_harness::Postgres::shared().await?, new_table());
    let database = Postgres::builder(server.url()).table(&table).readers(1).writers(1).connect().await?;
    database.upkeep().create_schema(soon()).await?;
    let session = session("aaaaaaaa", "payload", expires_in(Duration::from_secs(3_600)));
    write(&database, Write::Upsert(session.clone())).await?;
    let mut raw = PgConnection::connect(&server.url()).await?;
    for kind in ["varchar(1000)", "text"] {
        assert_eq!(load(&database, &session.key).await?.as_ref(), Some(&session));
        raw.execute(sqlx::raw_sql(&format!("ALTER TABLE {table} ALTER session_data TYPE {kind}"))).await?;
        assert_eq!(load(&database, &session.key).await?.as_ref(), Some(&session), "{kind}");
        write(&database, Write::Upsert(session.clone())).await?;
    }
    Ok(())
}
