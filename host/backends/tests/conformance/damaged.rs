//! PostgreSQL with rows that it cannot return. In loads and in scans each affects only its own key.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use sqlx::{Connection as _, Executor as _, PgConnection, Row as _};
use switchover_backends::{Postgres, Server};
use switchover_core::capabilities::{Database, DatabaseError, Read, ReadOutcome, Terms, Write, WriteOutcome};
use tokio::task::JoinSet;

use super::fixture::{key, load, new_table, session, soon, write};

/// Good rows besides the bad one, before it and after it in the order of keys.
const GOOD: [&str; 6] = ["aaaaaaaa", "bbbbbbbb", "cccccccc", "xxxxxxxx", "yyyyyyyy", "zzzzzzzz"];
const BAD: &str = "mmmmmmmm";

async fn with_good_rows(url: &str, table: &str) -> Result<Server> {
    let database = Postgres::builder(url).table(table).readers(1).writers(1).connect().await?;
    database.upkeep().create_schema(soon()).await?;
    let far = switchover_core::expires_in(Duration::from_secs(3_600));
    let rows = GOOD.iter().map(|key| Write::Insert(session(key, &format!("payload of {key}"), far)));
    database.write(rows.collect(), Terms::by(soon())).await?;
    Ok(database)
}

/// Every operation that meets the bad row names it by its hash. The other rows are not affected.
async fn bad_row_costs_nobody(database: Server) -> Result<()> {
    let reads = GOOD.iter().chain([&BAD]).map(|text| Read::Load(key(text))).collect();
    let outcomes = database.read(reads, Terms::by(soon())).await?;
    let (bad, good) = outcomes.split_last().context("each read is answered")?;
    for (outcome, text) in good.iter().zip(GOOD) {
        let ReadOutcome::Session(Some(found)) = outcome else { panic!("{outcome:?}") };
        assert_eq!(found.payload.as_text().unwrap_or_default(), format!("payload of {text}"));
    }
    let ReadOutcome::Unreadable(row) = bad else { panic!("{bad:?}") };
    assert_eq!(row.row, key(BAD).short_hash());

    // Loads of many callers share a statement.
    let database = Arc::new(database);
    let mut loads = JoinSet::new();
    for number in 0..1_200 {
        let (database, text) = (Arc::clone(&database), if number % 6 == 0 { BAD } else { GOOD[number % GOOD.len()] });
        loads.spawn(async move { (text, load(&*database, &key(text)).await) });
    }
    for (text, loaded) in loads.join_all().await {
        match loaded {
            Ok(found) => assert!(text != BAD && found.is_some(), "{text}: {found:?}"),
            Err(DatabaseError::Corrupt { message }) if text == BAD => {
                assert!(message.contains(&key(BAD).short_hash()) && !message.contains(BAD), "{message}");
            }
            Err(error) => panic!("{text}: {error}"),
        }
    }

    for limit in [1, 2, 3, 100] {
        let (mut after, mut found, mut unreadable) = (None, Vec::new(), Vec::new());
        loop {
            let page = database.upkeep().scan(after, limit, soon()).await?;
            found.extend(page.sessions.iter().map(|session| session.key.expose().to_owned()));
            unreadable.extend(page.unreadable);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, GOOD, "pages of {limit}");
        assert_eq!(unreadable.iter().map(|row| row.row.clone()).collect::<Vec<_>>(), [key(BAD).short_hash()]);
    }

    // A touch does not read the row either, and the writes in the same statement get their own outcomes.
    let far = switchover_core::expires_in(Duration::from_secs(3_600));
    let mut writes = JoinSet::new();
    for number in 0..24 {
        let inserted = session(&format!("inserted{number:02}"), "payload", far);
        let (database, touches) = (Arc::clone(&database), number == 12);
        let write = if touches { Write::Touch(key(BAD), far) } else { Write::Insert(inserted.clone()) };
        let expected = WriteOutcome::Done((!touches).then_some(inserted));
        writes.spawn(async move { (database.write(vec![write], Terms::by(soon())).await, expected) });
    }
    for (written, expected) in writes.join_all().await {
        assert_eq!(written?, [expected]);
    }

    // A logout and a save do not read it either.
    let whole = session(BAD, "whole", far);
    assert_eq!(write(&*database, Write::Update(whole.clone())).await?, WriteOutcome::Done(Some(whole)));
    assert_eq!(write(&*database, Write::Delete(key(BAD))).await?, WriteOutcome::Done(None));
    database.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payload_that_is_no_text_costs_only_its_key() -> Result<()> {
    let server = switchover_harness::Postgres::shared().await?;
    let mut connection = PgConnection::connect(&server.url()).await?;
    let create = "CREATE DATABASE any_bytes ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0";
    connection.execute(create).await?;
    let (url, table) = (server.url_of("any_bytes"), new_table());
    let database = with_good_rows(&url, &table).await?;
    let mut connection = PgConnection::connect(&url).await?;
    let insert =
        format!("SET client_encoding = SQL_ASCII; INSERT INTO {table} VALUES ('{BAD}', E'\\xff\\xfe', '2999-01-01')");
    connection.execute(sqlx::raw_sql(&insert)).await?;
    bad_row_costs_nobody(database).await
}

/// The pages of a large payload are gone, as after a fault of a disk: a statement that reads it fails as a whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payload_that_is_damaged_on_the_disk_costs_only_its_key() -> Result<()> {
    let server = switchover_harness::Postgres::shared().await?;
    let (url, table) = (server.create_database("damaged").await?, new_table());
    let database = with_good_rows(&url, &table).await?;
    let mut connection = PgConnection::connect(&url).await?;
    let insert = format!(
        "ALTER TABLE {table} ALTER session_data SET STORAGE EXTERNAL; \
         INSERT INTO {table} VALUES ('{BAD}', repeat('x', 100000), '2999-01-01')"
    );
    connection.execute(sqlx::raw_sql(&insert)).await?;
    let sql = format!("SELECT reltoastrelid::regclass::text FROM pg_class WHERE oid = '{table}'::regclass");
    let toast: String = connection.fetch_one(sqlx::raw_sql(&sql)).await?.try_get(0)?;
    let kill = format!(
        "CREATE EXTENSION pg_surgery; SELECT heap_force_kill('{toast}'::regclass, ARRAY(SELECT ctid FROM {toast}))"
    );
    connection.execute(sqlx::raw_sql(&kill)).await?;
    bad_row_costs_nobody(database).await
}
