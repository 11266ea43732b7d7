//! Another process that writes the same file, queues that are full, and deadlines in both cases.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rusqlite::Connection;
use switchover_backends::Sqlite;
use switchover_core::Timestamp;
use switchover_core::capabilities::{Database, DatabaseError, Read, Terms, Write, WriteOutcome};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::fixture::{error_of, exists, hold, key, load, session, soon, within, write};

struct File {
    directory: TempDir,
}

impl File {
    async fn open(queue: usize) -> Result<(Self, Arc<Sqlite>)> {
        let file = Self { directory: TempDir::new()? };
        let database = Sqlite::builder(file.path()).create_if_missing(true).queue(queue).open().await?;
        database.upkeep().create_schema(soon()).await?;
        Ok((file, Arc::new(database)))
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("db.sqlite3")
    }

    /// Another process in the middle of a write.
    fn locked(&self) -> Result<Connection> {
        let raw = Connection::open(self.path())?;
        raw.execute_batch("BEGIN IMMEDIATE")?;
        Ok(raw)
    }
}

fn insert(at: u32) -> Write {
    Write::Insert(session(&format!("key{at:05}"), "payload", Timestamp::MAX))
}

#[tokio::test]
async fn write_waits_for_another_process() -> Result<()> {
    let (file, database) = File::open(100).await?;
    let other = file.locked()?;
    let waiting = {
        let database = Arc::clone(&database);
        tokio::spawn(async move { write(&*database, insert(1)).await })
    };
    // A read never waits for a writer.
    assert_eq!(load(&*database, &key("key00001")).await?, None);
    other.execute_batch("INSERT INTO django_session VALUES ('key00001', 'theirs', '9999-01-01 00:00:00'); COMMIT")?;
    assert_eq!(waiting.await??, WriteOutcome::Exists);
    Ok(())
}

#[tokio::test]
async fn write_that_waited_too_long_has_written_nothing_and_says_why() -> Result<()> {
    let (file, database) = File::open(100).await?;
    let other = file.locked()?;
    let deadline = within(200);
    let refused = database.write(vec![insert(1)], Terms::by(deadline)).await.err().context("the file is locked")?;
    assert!(matches!(refused, DatabaseError::Conflict { .. } | DatabaseError::Timeout), "{refused}");
    assert!(Instant::now() < deadline + Duration::from_secs(2));
    let refused = error_of(hold(&*database, vec![insert(1)], within(50)).await)?;
    assert!(matches!(refused, DatabaseError::Conflict { .. } | DatabaseError::Timeout), "{refused}");
    let refused = database.upkeep().delete_expired(None, 10, within(50)).await.err().context("the file is locked")?;
    assert!(matches!(refused, DatabaseError::Conflict { .. } | DatabaseError::Timeout), "{refused}");
    other.execute_batch("ROLLBACK")?;
    write(&*database, insert(2)).await?;
    assert!(!exists(&*database, &key("key00001")).await?);
    Ok(())
}

#[tokio::test]
async fn what_gave_up_in_the_queue_is_never_done() -> Result<()> {
    let (_file, database) = File::open(100).await?;
    let held = hold(&*database, Vec::new(), soon()).await?;
    let mut tasks = JoinSet::new();
    for at in 0..20 {
        let database = Arc::clone(&database);
        tasks.spawn(async move { database.write(vec![insert(at)], Terms::by(within(30))).await });
    }
    for outcome in tasks.join_all().await {
        assert_eq!(outcome, Err(DatabaseError::Timeout));
    }
    held.commit().await?;
    write(&*database, insert(99)).await?;
    assert_eq!(database.upkeep().scan(None, 100, soon()).await?.sessions.len(), 1);
    Ok(())
}

#[tokio::test]
async fn full_queue_is_overloaded_and_empties_again() -> Result<()> {
    let (_file, database) = File::open(4).await?;
    let held = hold(&*database, Vec::new(), soon()).await?;
    let mut tasks = JoinSet::new();
    for at in 0..10 {
        let database = Arc::clone(&database);
        tasks.spawn(async move { database.write(vec![insert(at)], Terms::by(soon())).await });
    }
    // Six are refused at once; the other four wait for the hold.
    for _ in 0..6 {
        let turned_away = tasks.join_next().await.context("ten tasks")??;
        assert_eq!(turned_away, Err(DatabaseError::Overloaded));
    }
    held.commit().await?;
    for outcome in tasks.join_all().await {
        assert_eq!(outcome?.len(), 1);
    }
    write(&*database, insert(99)).await?;
    assert_eq!(database.upkeep().scan(None, 100, soon()).await?.sessions.len(), 5);
    Ok(())
}

#[tokio::test]
async fn closing_answers_what_is_queued() -> Result<()> {
    let (_file, database) = File::open(100).await?;
    let held = hold(&*database, vec![insert(0)], soon()).await?;
    let mut tasks = JoinSet::new();
    for at in 1..20 {
        let database = Arc::clone(&database);
        tasks.spawn(async move { database.write(vec![insert(at)], Terms::by(soon())).await });
    }
    tokio::task::yield_now().await;
    let closing = {
        let database = Arc::clone(&database);
        tokio::spawn(async move { database.close().await })
    };
    held.commit().await?;
    closing.await?;
    for outcome in tasks.join_all().await {
        assert!(matches!(outcome, Ok(_) | Err(DatabaseError::Unavailable { .. })), "{outcome:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hosts_on_one_file_lose_nothing() -> Result<()> {
    let (file, first) = File::open(1_000).await?;
    let second = Arc::new(Sqlite::open(file.path()).await?);
    let mut tasks = JoinSet::new();
    for at in 0..64 {
        let databases = [Arc::clone(&first), Arc::clone(&second)];
        tasks.spawn(async move {
            let mut rows = 0;
            for turn in 0..10 {
                let database = &databases[(at + turn) % 2];
                rows += usize::from(write(&**database, insert(turn as u32)).await? != WriteOutcome::Exists);
                let there = database.read(vec![Read::Exists(key(&format!("key{turn:05}")))], Terms::by(soon())).await?;
                assert_eq!(there, [switchover_core::capabilities::ReadOutcome::Exists(true)]);
            }
            Ok::<_, DatabaseError>(rows)
        });
    }
    let rows = tasks.join_all().await.into_iter().sum::<Result<usize, _>>()?;
    assert_eq!(rows, 10, "each key was inserted once");
    Ok(())
}
