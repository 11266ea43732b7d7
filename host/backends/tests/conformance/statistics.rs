//! What a database reports of its table: exact counts on each, and the room that it takes if the database reports it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rusqlite::Connection;
use switchover_backends::Sqlite;
use switchover_core::Timestamp;
use switchover_core::capabilities::{Database, DatabaseError, Statistics, Terms, Write};
use tempfile::TempDir;

use super::fixture::{Fixture, SECOND, TestClock, session, soon, write};

claims! {
    rows_and_payload_bytes_are_counted,
    empty_table_holds_nothing,
    expired_is_what_the_cleaner_would_delete,
    statistics_end_at_their_deadline_and_with_the_database,
}

/// Four bytes in UTF-8, three characters.
const PAYLOAD: &str = "vé1";

fn counts(statistics: &Statistics) -> [u64; 4] {
    [statistics.rows, statistics.expired_rows, statistics.payload_bytes, statistics.expired_payload_bytes]
}

async fn rows_and_payload_bytes_are_counted(f: Fixture) -> Result<()> {
    let alive = (0..30).map(|at| f.session(&format!("alive{at:05}"), PAYLOAD));
    let ended =
        (0..12).map(|at| session(&format!("ended{at:05}"), "12345678", Timestamp::from_micros(SECOND - 1 - at)));
    f.database.write(alive.chain(ended).map(Write::Insert).collect(), Terms::by(soon())).await?;
    let statistics = f.database.upkeep().statistics(soon()).await?;
    assert_eq!(counts(&statistics), [42, 12, 30 * 4 + 12 * 8, 12 * 8]);
    if let (Some(total), Some(used)) = (statistics.total_bytes(), statistics.used_bytes()) {
        assert!(used <= total && used > statistics.payload_bytes, "{statistics:?}");
    }
    Ok(())
}

async fn empty_table_holds_nothing(f: Fixture) -> Result<()> {
    assert_eq!(counts(&f.database.upkeep().statistics(soon()).await?), [0; 4]);
    Ok(())
}

async fn expired_is_what_the_cleaner_would_delete(f: Fixture) -> Result<()> {
    for micros in [0, 1, 500_000, 1_000_000] {
        let ends = session(&format!("key{micros:07}"), "x", Timestamp::from_micros(SECOND + micros));
        write(&*f.database, Write::Insert(ends)).await?;
    }
    for (now, expired) in [(SECOND, 0), (SECOND + 1, 1), (SECOND + 500_000, 2), (SECOND + 500_001, 3)] {
        f.clock.set(Timestamp::from_micros(now));
        assert_eq!(f.database.upkeep().statistics(soon()).await?.expired_rows, expired, "now {now}");
    }
    assert_eq!(f.database.upkeep().delete_expired(None, 10, soon()).await?, 3);
    assert_eq!(counts(&f.database.upkeep().statistics(soon()).await?), [1, 0, 1, 0]);
    Ok(())
}

async fn statistics_end_at_their_deadline_and_with_the_database(f: Fixture) -> Result<()> {
    assert_eq!(f.database.upkeep().statistics(Instant::now()).await, Err(DatabaseError::Timeout));
    f.database.close().await;
    assert!(matches!(f.database.upkeep().statistics(soon()).await, Err(DatabaseError::Unavailable { .. })));
    Ok(())
}

/// A file, and a database on it.
async fn file(rows: u32) -> Result<(TempDir, Sqlite, Connection)> {
    let directory = TempDir::new()?;
    let path = directory.path().join("sessions.sqlite3");
    let database = Sqlite::builder(&path).create_if_missing(true).clock(TestClock::at(SECOND)).open().await?;
    database.upkeep().create_schema(soon()).await?;
    let raw = Connection::open(&path)?;
    raw.busy_timeout(Duration::from_secs(5))?;
    raw.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) \
         INSERT INTO django_session SELECT format('key%08d', i), hex(zeroblob(400)), '2999-01-01 00:00:00' FROM n",
        [rows],
    )?;
    Ok((directory, database, raw))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn room_of_deleted_rows_is_unused_until_the_remedy_is_run() -> Result<()> {
    let (_directory, database, raw) = file(5_000).await?;
    let full = database.upkeep().statistics(soon()).await?;
    let (total, table) = (full.total_bytes().context("a file")?, full.table_bytes.context("a table")?);
    assert_eq!(full.payload_bytes, 5_000 * 800);
    assert!(table > full.payload_bytes && table < total, "{full:?}");
    assert!(full.index_bytes.is_some_and(|index| index > 0 && index < table), "{full:?}");
    assert!(full.unused_bytes.is_some_and(|unused| unused < total / 2), "{full:?}");

    raw.execute("DELETE FROM django_session WHERE session_key > 'key00001000'", [])?;
    let thin = database.upkeep().statistics(soon()).await?;
    assert_eq!(thin.total_bytes(), Some(total), "deleting gives nothing back");
    assert!(thin.used_bytes().is_some_and(|used| used < total / 3 && used > thin.payload_bytes), "{thin:?}");

    raw.execute_batch(&thin.remedies.first().context("a remedy")?.command)?;
    let mended = database.upkeep().statistics(soon()).await?;
    assert_eq!(counts(&mended), counts(&thin));
    assert!(mended.total_bytes().is_some_and(|mended| mended < total / 3), "{mended:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn count_that_takes_too_long_ends_and_leaves_the_reader_for_others() -> Result<()> {
    let (_directory, database, _raw) = file(200_000).await?;
    let late = database.upkeep().statistics(Instant::now() + Duration::from_millis(2)).await;
    assert_eq!(late, Err(DatabaseError::Timeout));
    assert_eq!(database.upkeep().statistics(soon()).await?.rows, 200_000);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statistics_need_a_table_and_other_tables_are_not_counted() -> Result<()> {
    let (_directory, database, raw) = file(10).await?;
    let alone = database.upkeep().statistics(soon()).await?;
    raw.execute_batch("CREATE TABLE other AS SELECT hex(zeroblob(100000)) AS text")?;
    let beside = database.upkeep().statistics(soon()).await?;
    assert_eq!((beside.table_bytes, beside.index_bytes), (alone.table_bytes, alone.index_bytes));
    assert!(beside.file_bytes > alone.file_bytes);
    raw.execute_batch("DROP TABLE django_session")?;
    let error = database.upkeep().statistics(soon()).await.err().context("there is no table")?;
    assert!(matches!(&error, DatabaseError::Corrupt { message } if message.contains("switchover init")), "{error}");
    Ok(())
}
