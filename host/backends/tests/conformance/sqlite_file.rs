//! A file that Django writes too: its table, its texts, and rows that nobody can read.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use rusqlite::Connection;
use switchover_backends::{Sqlite, SqliteBuilder, Synchronous};
use switchover_core::Timestamp;
use switchover_core::capabilities::{Clock, Database, DatabaseError, Read, Terms, Write, WriteOutcome};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::fixture::{SECOND, TestClock, exists, hold, key, load, row, session, soon, write};

/// As Django's schema editor makes them.
const TABLE: &str = concat!(
    r#"CREATE TABLE "django_session" ("session_key" varchar(40) NOT NULL PRIMARY KEY, "#,
    r#""session_data" text NOT NULL, "expire_date" datetime NOT NULL)"#
);
const INDEX: &str = r#"CREATE INDEX "django_session_expire_date_a5c62663" ON "django_session" ("expire_date")"#;

struct File {
    directory: TempDir,
}

impl File {
    fn empty() -> Result<Self> {
        Ok(Self { directory: TempDir::new()? })
    }

    /// A file with Django's table.
    fn of_django() -> Result<Self> {
        let file = Self::empty()?;
        let raw = file.raw()?;
        raw.execute_batch(TABLE)?;
        raw.execute_batch(INDEX)?;
        Ok(file)
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("db.sqlite3")
    }

    fn raw(&self) -> Result<Connection> {
        let raw = Connection::open(self.path())?;
        raw.busy_timeout(Duration::from_secs(5))?;
        Ok(raw)
    }

    fn builder(&self) -> SqliteBuilder {
        Sqlite::builder(self.path()).clock(TestClock::at(SECOND))
    }

    fn insert(&self, key: &str, expire_date: &str) -> Result<()> {
        let sql = "INSERT INTO django_session (session_key, session_data, expire_date) VALUES (?1, 'e30:1r31eq:x', ?2)";
        self.raw()?.execute(sql, [key, expire_date])?;
        Ok(())
    }

    /// The texts of a row as the file has them.
    fn row(&self, key: &str) -> Result<(String, String, String)> {
        let sql = "SELECT session_data, expire_date, typeof(expire_date) FROM django_session WHERE session_key = ?1";
        Ok(self.raw()?.query_row(sql, [key], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?)
    }
}

fn corrupt(error: &DatabaseError) -> &str {
    match error {
        DatabaseError::Corrupt { message } => message,
        other => panic!("not corrupt: {other}"),
    }
}

#[tokio::test]
async fn rows_of_django_are_read_and_rewritten_in_its_own_form() -> Result<()> {
    let file = File::of_django()?;
    file.insert("aaaaaaaa", "2026-12-06 15:05:26.508388")?;
    file.insert("bbbbbbbb", "2026-12-06 15:05:27")?;
    file.insert("cccccccc", "2026-12-06 15:05:26")?;
    let clock = TestClock::at(SECOND);
    let database = file.builder().clock(clock.clone()).open().await?;
    let read =
        async |text| anyhow::Ok(load(&database, &key(text)).await?.map(|session| session.expires_at.as_micros()));
    assert_eq!(read("aaaaaaaa").await?, Some(SECOND + 508_388));
    assert_eq!(read("bbbbbbbb").await?, Some(SECOND + 1_000_000));
    assert_eq!(read("cccccccc").await?, None, "it ends in this very microsecond");

    for (at, text) in [(7, "2026-12-06 15:05:26.000007"), (2_000_000, "2026-12-06 15:05:28")] {
        let session = session("aaaaaaaa", "é漢😀", Timestamp::from_micros(SECOND + at));
        write(&database, Write::Update(session)).await?;
        assert_eq!(file.row("aaaaaaaa")?, ("é漢😀".to_owned(), text.to_owned(), "text".to_owned()));
    }
    write(&database, Write::Touch(key("bbbbbbbb"), Timestamp::from_micros(SECOND + 3_000_000))).await?;
    assert_eq!(file.row("bbbbbbbb")?.1, "2026-12-06 15:05:29");
    write(&database, Write::Insert(session("dddddddd", "new", Timestamp::MAX))).await?;
    assert_eq!(file.row("dddddddd")?.1, "9999-12-31 23:59:59.999999");
    clock.set(Timestamp::from_micros(SECOND + 1));
    assert_eq!(database.upkeep().delete_expired(None, 10, soon()).await?, 1);
    assert!(file.row("cccccccc").is_err());
    Ok(())
}

#[tokio::test]
async fn schema_is_djangos_to_the_letter() -> Result<()> {
    let file = File::empty()?;
    let database = file.builder().create_if_missing(true).open().await?;
    let missing = database.upkeep().missing_schema(soon()).await?;
    assert_eq!(missing, [format!("{TABLE};"), format!("{INDEX};")]);
    assert_eq!(database.upkeep().create_schema(soon()).await?, missing);
    assert_eq!(database.upkeep().missing_schema(soon()).await?, [""; 0]);
    let stored = |name| {
        file.raw()?
            .query_row("SELECT sql FROM sqlite_master WHERE name = ?1", [name], |row| row.get::<_, String>(0))
            .map_err(anyhow::Error::from)
    };
    assert_eq!(stored("django_session")?, TABLE);
    assert_eq!(stored("django_session_expire_date_a5c62663")?, INDEX);

    file.raw()?.execute_batch("DROP INDEX django_session_expire_date_a5c62663")?;
    assert_eq!(database.upkeep().create_schema(soon()).await?, [format!("{INDEX};")]);
    // The name that Django 1.8 gave it.
    file.raw()?.execute_batch("DROP INDEX django_session_expire_date_a5c62663")?;
    file.raw()?.execute_batch("CREATE INDEX django_session_de54fa62 ON django_session (expire_date)")?;
    assert_eq!(database.upkeep().missing_schema(soon()).await?, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn table_that_is_not_djangos_is_refused_and_named() -> Result<()> {
    let (key, data, expiry) = ("varchar(40) NOT NULL PRIMARY KEY", "text NOT NULL", "datetime NOT NULL");
    let table = |key: &str, data: &str, expiry: &str| {
        format!("CREATE TABLE django_session (session_key {key}, session_data {data}, expire_date {expiry})")
    };
    let others = [
        ("CREATE TABLE django_session (session_key varchar(40) NOT NULL PRIMARY KEY)".to_owned(), "session_data"),
        (table("varchar(32) NOT NULL PRIMARY KEY", data, expiry), "varchar(32)"),
        (table("varchar(40) NOT NULL", data, expiry), "primary key"),
        (table(key, "text", expiry), "NULL"),
        ("CREATE VIEW django_session AS SELECT 1 AS session_key".to_owned(), "view"),
    ];
    for (sql, difference) in others {
        let file = File::empty()?;
        file.raw()?.execute_batch(&sql)?;
        let database = file.builder().open().await?;
        for error in [database.upkeep().missing_schema(soon()).await, database.upkeep().create_schema(soon()).await] {
            let error = error.err().with_context(|| format!("taken: {sql}"))?;
            assert!(corrupt(&error).contains(difference), "{error}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn missing_table_says_how_to_make_it() -> Result<()> {
    let file = File::empty()?;
    let database = file.builder().create_if_missing(true).open().await?;
    let error = load(&database, &key("aaaaaaaa")).await.err().context("there is no table")?;
    assert!(corrupt(&error).contains("switchover init"), "{error}");
    let error =
        write(&database, Write::Upsert(session("aaaaaaaa", "", Timestamp::MAX))).await.err().context("no table")?;
    assert!(corrupt(&error).contains("switchover init"), "{error}");
    // The database sees at once what another process makes meanwhile, with statements that were prepared before.
    file.raw()?.execute_batch(TABLE)?;
    assert_eq!(load(&database, &key("aaaaaaaa")).await?, None);
    file.raw()?.execute_batch("ALTER TABLE django_session ADD COLUMN user_id integer")?;
    let session = session("aaaaaaaa", "", Timestamp::MAX);
    write(&database, Write::Upsert(session.clone())).await?;
    assert_eq!(load(&database, &session.key).await?, Some(session));
    Ok(())
}

#[tokio::test]
async fn missing_file_is_an_error_unless_it_may_be_made() -> Result<()> {
    let file = File::empty()?;
    let error = Sqlite::open(file.path()).await.err().context("there is no file")?;
    assert!(error.to_string().contains("create_if_missing"), "{error}");
    assert!(!file.path().exists());
    file.builder().create_if_missing(true).open().await?.close().await;
    Sqlite::open(file.path()).await?.close().await;
    Ok(())
}

#[tokio::test]
async fn what_is_no_database_is_refused() -> Result<()> {
    let file = File::empty()?;
    std::fs::write(file.path(), "not a database, but long enough to have a header ".repeat(20))?;
    let error = Sqlite::open(file.path()).await.err().context("it is text")?;
    assert!(corrupt(&error).contains("db.sqlite3"), "{error}");
    let error =
        Sqlite::builder(":memory:").create_if_missing(true).open().await.err().context("every connection its own")?;
    assert!(error.to_string().contains("write-ahead log"), "{error}");
    for name in ["", "1st", "a b", "a\"b", "sqlite_x", "é", &"x".repeat(64)] {
        let error = file.builder().table(name).open().await.err().with_context(|| format!("taken: {name}"))?;
        assert!(error.to_string().contains("table"), "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn another_table_name_is_used_everywhere() -> Result<()> {
    let file = File::empty()?;
    let clock = TestClock::at(SECOND);
    let database = file.builder().clock(clock.clone()).create_if_missing(true).table("Sessions_2").open().await?;
    let made = database.upkeep().create_schema(soon()).await?;
    assert!(made.iter().all(|sql| sql.contains("Sessions_2") && !sql.contains("django_session")), "{made:?}");
    let session = session("aaaaaaaa", "payload", Timestamp::from_micros(SECOND + 1));
    write(&database, Write::Insert(session.clone())).await?;
    assert_eq!(load(&database, &session.key).await?, Some(session));
    clock.set(Timestamp::MAX);
    assert_eq!(database.upkeep().delete_expired(None, 10, soon()).await?, 1);
    assert!(database.summary().ends_with("table Sessions_2"));
    Ok(())
}

/// Rows that Django never wrote, by the SQL of payload and expiry.
const UNREADABLE: [(&str, &str, &str); 7] = [
    ("aaaaaaa1", "x'ff00'", "'2030-01-01 00:00:00'"),
    ("aaaaaaa2", "x'7b7d'", "'2030-01-01 00:00:00'"),
    ("aaaaaaa3", "'{}'", "'tomorrow'"),
    ("aaaaaaa4", "'{}'", "'2030-01-01T00:00:00+00:00'"),
    ("aaaaaaa5", "'{}'", "17"),
    ("aaaaaaa6", "'{}'", "''"),
    ("aaaaaaa7", "CAST(x'ff' AS text)", "'2030-01-01 00:00:00'"),
];

fn with_unreadable_rows() -> Result<File> {
    let file = File::of_django()?;
    for (key, payload, expiry) in UNREADABLE {
        file.raw()?.execute_batch(&format!("INSERT INTO django_session VALUES ('{key}', {payload}, {expiry})"))?;
    }
    file.raw()?.execute_batch("INSERT INTO django_session VALUES ('Not-A-Key!', '{}', '2030-01-01 00:00:00')")?;
    file.insert("zzzzzzzz", "2030-01-01 00:00:00")?;
    file.insert("eeeeeeee", "2020-01-01 00:00:00.5")?;
    Ok(file)
}

#[tokio::test]
async fn row_that_cannot_be_read_is_corrupt_and_names_no_secret() -> Result<()> {
    let file = with_unreadable_rows()?;
    let database = file.builder().open().await?;
    for (text, ..) in UNREADABLE {
        let key = key(text);
        let later = Write::Touch(key.clone(), Timestamp::MAX);
        let errors =
            [load(&database, &key).await.err(), write(&database, later).await.err(), row(&database, &key).await.err()];
        for error in errors {
            let error = error.with_context(|| format!("{text} was read"))?.to_string();
            assert!(error.contains(&key.short_hash()) && !error.contains(text), "{error}");
        }
        assert!(exists(&database, &key).await?);
        // A save repairs it, and a logout removes it.
        let session = session(text, "whole", Timestamp::MAX);
        assert_eq!(write(&database, Write::Update(session.clone())).await?, WriteOutcome::Done(Some(session.clone())));
        assert_eq!(load(&database, &key).await?, Some(session));
        assert_eq!(write(&database, Write::Delete(key)).await?, WriteOutcome::Done(None));
    }
    Ok(())
}

#[tokio::test]
async fn rows_that_cannot_be_read_stop_neither_a_scan_nor_a_clean_up() -> Result<()> {
    let file = with_unreadable_rows()?;
    let clock = TestClock::at(SECOND);
    let database = file.builder().clock(clock.clone()).open().await?;
    let page = database.upkeep().scan(None, 10, soon()).await?;
    assert_eq!(page.sessions.iter().map(|session| session.key.expose()).collect::<Vec<_>>(), ["zzzzzzzz"]);
    assert_eq!(page.unreadable.len(), UNREADABLE.len() + 1, "{:?}", page.unreadable);
    assert_eq!((page.expired, page.next), (1, None));
    for (text, ..) in UNREADABLE {
        assert!(page.unreadable.iter().any(|row| row.row == key(text).short_hash()));
        assert!(!page.unreadable.iter().any(|row| row.to_string().contains(text)));
    }
    assert_eq!(database.upkeep().delete_expired(None, 1, soon()).await?, 1, "what ended is found behind them");
    clock.set(Timestamp::MAX);
    assert_eq!(database.upkeep().delete_expired(None, 100, soon()).await?, 5, "and unknown ends are left alone");
    assert!(exists(&database, &key("aaaaaaa5")).await?);
    let left = database.upkeep().expired_left(None, soon()).await?;
    assert_eq!((left.expired, left.unreadable), (0, 4), "and counted");
    Ok(())
}

#[tokio::test]
async fn scan_of_nothing_but_ended_rows_comes_to_an_end_and_counts_them() -> Result<()> {
    let file = File::of_django()?;
    file.raw()?.execute_batch(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 25000) \
         INSERT INTO django_session SELECT printf('key%05d', i), '{}', '2020-01-01 00:00:00' FROM n",
    )?;
    file.insert("zzzzzzzz", "2030-01-01 00:00:00")?;
    let database = file.builder().open().await?;
    let (mut after, mut found, mut expired) = (None, Vec::new(), 0);
    loop {
        let page = database.upkeep().scan(after, 1_000, soon()).await?;
        found.extend(page.sessions);
        expired += page.expired;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((found.len(), expired), (1, 25_000));
    Ok(())
}

#[tokio::test]
async fn batch_that_fails_leaves_nothing_and_takes_nobody_with_it() -> Result<()> {
    let file = with_unreadable_rows()?;
    let database = Arc::new(file.builder().open().await?);
    // While this holds the file, everything below is queued. After that it is one group.
    let held = hold(&*database, Vec::new(), soon()).await?;
    let mut tasks = JoinSet::new();
    for at in 0..16 {
        let database = Arc::clone(&database);
        tasks.spawn(async move {
            let first = Write::Insert(session(&format!("key{at:05}"), "payload", Timestamp::MAX));
            let fails = at % 5 == 0;
            let second = if fails { key("aaaaaaa3") } else { key("zzzzzzzz") };
            let outcome = database.write(vec![first, Write::Touch(second, Timestamp::MAX)], Terms::by(soon())).await;
            (at, fails, outcome)
        });
    }
    tokio::task::yield_now().await;
    held.commit().await?;
    for (at, fails, outcome) in tasks.join_all().await {
        assert_eq!(outcome.is_err(), fails, "{outcome:?}");
        assert_eq!(exists(&*database, &key(&format!("key{at:05}"))).await?, !fails);
    }
    Ok(())
}

#[tokio::test]
async fn what_was_acknowledged_is_there_when_the_file_is_opened_again() -> Result<()> {
    for synchronous in [Synchronous::Full, Synchronous::Normal] {
        let file = File::of_django()?;
        let database = file.builder().synchronous(synchronous).readers(1).open().await?;
        let written = session("aaaaaaaa", "written", Timestamp::MAX);
        let held = session("bbbbbbbb", "held", Timestamp::MAX);
        write(&database, Write::Insert(written.clone())).await?;
        hold(&database, vec![Write::Insert(held.clone())], soon()).await?.commit().await?;
        drop(hold(&database, vec![Write::Delete(held.key.clone())], soon()).await?);
        database.close().await;
        assert!(!file.directory.path().join("db.sqlite3-wal").exists(), "the log was moved into the file");

        let database = file.builder().open().await?;
        let both = vec![Read::Load(written.key.clone()), Read::Load(held.key.clone())];
        let found = database.read(both, Terms::by(soon())).await?;
        assert_eq!(
            found,
            [written, held].map(|session| switchover_core::capabilities::ReadOutcome::Session(Some(session)))
        );
    }
    Ok(())
}

#[tokio::test]
async fn closing_moves_the_log_into_the_file_beside_another_process() -> Result<()> {
    let file = File::of_django()?;
    let database = file.builder().open().await?;
    write(&database, Write::Insert(session("aaaaaaaa", "payload", Timestamp::MAX))).await?;
    let log = file.directory.path().join("db.sqlite3-wal");
    assert!(std::fs::metadata(&log)?.len() > 0);
    // Another connection keeps SQLite from removing the log; its contents are moved into the file all the same.
    let other = file.raw()?;
    other.query_row("SELECT count(*) FROM django_session", [], |row| row.get::<_, u32>(0))?;
    database.close().await;
    assert_eq!(std::fs::metadata(&log)?.len(), 0);
    Ok(())
}

/// A clock that panics while its flag is set.
struct FragileClock(AtomicBool);

impl Clock for FragileClock {
    fn now(&self) -> Timestamp {
        assert!(!self.0.load(Ordering::SeqCst), "this clock panics on purpose");
        Timestamp::from_micros(SECOND)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn panic_costs_the_commands_in_hand_and_leaves_no_lock() -> Result<()> {
    let file = File::of_django()?;
    let clock = Arc::new(FragileClock(AtomicBool::new(false)));
    let handed: Arc<dyn Clock> = clock.clone();
    let database = file.builder().clock(handed).open().await?;
    let (read, written) = (key("aaaaaaaa"), key("bbbbbbbb"));
    let later = Timestamp::from_micros(SECOND).plus(Duration::from_secs(60));
    for key in [&read, &written] {
        write(&database, Write::Insert(session(key.expose(), "payload", later))).await?;
    }
    clock.0.store(true, Ordering::SeqCst);
    // More than there are readers, so that each thread panics more than once.
    for _ in 0..20 {
        let error = load(&database, &read).await.unwrap_err();
        assert!(error.to_string().contains("it has ended"), "{error}");
        let error = database.upkeep().delete_expired(None, 10, soon()).await.unwrap_err();
        assert!(matches!(error, DatabaseError::UnknownOutcome { .. }), "{error}");
        // Soon after the caller got its error, another process finds the file unlocked.
        file.raw()?.execute_batch("BEGIN IMMEDIATE; COMMIT")?;
    }
    clock.0.store(false, Ordering::SeqCst);
    assert!(load(&database, &read).await?.is_some());
    assert_eq!(write(&database, Write::Delete(written.clone())).await?, WriteOutcome::Done(None));
    assert!(!exists(&database, &written).await?);
    Ok(())
}
