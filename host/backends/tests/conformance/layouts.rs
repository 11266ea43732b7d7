//! Keys, payloads and names of tables that Django does not have. What a layout takes is kept to the byte, and
//! everything else is refused.

use std::time::Duration;

use anyhow::{Result, ensure};
use sqlx::{Connection as _, Executor as _, MySqlConnection, PgConnection};
use switchover_backends::{MySql, Postgres, Sqlite};
use switchover_core::capabilities::{Database, DatabaseError, Read, ReadOutcome, Terms, Write, WriteOutcome};
use switchover_core::{Layout, Payload, Session, expires_in};
use switchover_harness::MariaDb;

use super::fixture::{Fixture, exists, key, load, lock, new_table, row, session, soon, write};

const HOUR: Duration = Duration::from_secs(3_600);

/// Three databases of one layout, each with a fresh table.
async fn each(layout: Layout) -> Result<[(&'static str, Fixture); 3]> {
    Ok([
        ("sqlite", Fixture::sqlite_of(layout).await?),
        ("postgres", Fixture::postgres_of(layout).await?),
        ("mariadb", Fixture::mariadb_of(layout).await?),
    ])
}

/// Keys that collations, patterns, quoting and padding confuse with each other or misread.
fn adversarial_keys() -> Vec<String> {
    let mut keys: Vec<String> = [
        "a",
        "A",
        "aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789-_aBcDe",
        "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdE",
        "%",
        "_",
        "__",
        "'",
        "''",
        "\"",
        "\\",
        "\\'",
        "`",
        ";--",
        "$1",
        "?",
        ":a",
        "{}",
        "{a}",
        "session:a",
        "a/b",
        "a.b",
        "a,b",
        "0",
        "00",
        "0x41",
        "1e0",
        "NULL",
        "null",
        "!",
        "~",
        "<script>",
    ]
    .map(str::to_owned)
    .to_vec();
    keys.extend(["z".repeat(255), "Z".repeat(255), "z".repeat(254)]);
    keys
}

/// Payloads that texts, connections and drivers change or truncate.
fn adversarial_payloads() -> Vec<Vec<u8>> {
    vec![
        Vec::new(),
        vec![0],
        b"a\0b".to_vec(),
        (0..=255).collect(),
        b"\xff\xfe\x00\xd8".to_vec(),
        b"\\x4142".to_vec(),
        b"\\101'; --".to_vec(),
        "größe 🦀".as_bytes().to_vec(),
        b" trailing  ".to_vec(),
        vec![0; 100_000],
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_layout_keeps_every_key_and_payload_to_the_byte() -> Result<()> {
    for (name, fixture) in each(Layout::SWITCHOVER).await? {
        let database = &*fixture.database;
        let end = fixture.now().plus(HOUR);
        let payloads = adversarial_payloads();
        let sessions: Vec<Session> = adversarial_keys()
            .iter()
            .zip(payloads.iter().cycle())
            .map(|(text, payload)| Session::new(key(text), Payload::from(payload.as_slice()), end))
            .collect();
        let inserts: Vec<Write> = sessions.iter().cloned().map(Write::Insert).collect();
        let done = database.write(inserts, Terms::by(soon())).await?;
        ensure!(done.iter().all(|outcome| matches!(outcome, WriteOutcome::Done(_))), "{name}: {done:?}");
        for session in &sessions {
            ensure!(
                load(database, &session.key).await?.as_ref() == Some(session),
                "{name}: {:?}",
                session.key.expose()
            );
        }
        let reads = sessions.iter().map(|session| Read::Load(session.key.clone())).collect();
        let together = database.read(reads, Terms::by(soon())).await?;
        let expected: Vec<_> = sessions.iter().cloned().map(Some).map(ReadOutcome::Session).collect();
        ensure!(together == expected, "{name}: a batch");
        let mut scanned = Vec::new();
        let mut after = None;
        loop {
            let page = database.upkeep().scan(after, 5, soon()).await?;
            ensure!(page.unreadable.is_empty() && page.expired == 0, "{name}: {page:?}");
            scanned.extend(page.sessions);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        scanned.sort_by(|a, b| a.key.cmp(&b.key));
        let mut sorted = sessions.clone();
        sorted.sort_by(|a, b| a.key.cmp(&b.key));
        ensure!(scanned == sorted, "{name}: a scan");
        // Each kind of write, alone and in a batch, changes the row of its key and no other.
        for (at, session) in sessions.iter().enumerate() {
            let other = Session { payload: Payload::from(payloads[at % payloads.len()].as_slice()), ..session.clone() };
            let later = end.plus(HOUR);
            for change in
                [Write::Update(other.clone()), Write::Upsert(other.clone()), Write::Touch(session.key.clone(), later)]
            {
                let changed = write(database, change).await?;
                ensure!(matches!(changed, WriteOutcome::Done(Some(_))), "{name}: {changed:?}");
            }
            let expected = Session { expires_at: later, ..other };
            ensure!(row(database, &session.key).await? == Some(expected), "{name}: {:?}", session.key.expose());
            ensure!(write(database, Write::Insert(session.clone())).await? == WriteOutcome::Exists, "{name}");
        }
        let half: Vec<Write> = sessions.iter().step_by(2).map(|session| Write::Delete(session.key.clone())).collect();
        database.write(half, Terms::by(soon())).await?;
        for (at, session) in sessions.iter().enumerate() {
            ensure!(exists(database, &session.key).await? == (at % 2 == 1), "{name}: {:?}", session.key.expose());
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_django_cannot_hold_is_refused_by_its_column_and_under_its_keys_is_nothing() -> Result<()> {
    for (name, fixture) in each(Layout::DJANGO).await? {
        let database = &*fixture.database;
        let end = fixture.now().plus(HOUR);
        let good = session("abcdefgh", "v1", end);
        let foreign = session("ABCDEFGH", "secret", end);
        let binary = Session { payload: Payload::from(&b"secret\0"[..]), ..session("bcdefghi", "", end) };
        for (bad, column) in [(&foreign, "session_key"), (&binary, "session_data")] {
            for put in [Write::Insert(bad.clone()), Write::Upsert(bad.clone())] {
                let refused = database.write(vec![Write::Insert(good.clone()), put.clone()], Terms::by(soon())).await;
                let Err(DatabaseError::Invalid { message }) = refused else { panic!("{name}: {refused:?}") };
                ensure!(message.contains(column) && !message.contains("secret"), "{name}: {message}");
                let mut transaction = database.begin(Terms::by(soon())).await?;
                let refused = transaction.write(vec![put]).await;
                ensure!(matches!(refused, Err(DatabaseError::Invalid { .. })), "{name}: {refused:?}");
                transaction.roll_back().await;
            }
        }
        ensure!(!exists(database, &good.key).await?, "{name}: nothing of a refused batch is written");
        database.write(vec![Write::Insert(good.clone())], Terms::by(soon())).await?;
        // Together with a key that the table can hold.
        let reads = [&foreign.key, &good.key, &foreign.key].map(|key| Read::Load(key.clone()));
        let found = database.read(reads.to_vec(), Terms::by(soon())).await?;
        let expected = [None, Some(good.clone()), None].map(ReadOutcome::Session);
        ensure!(found == expected, "{name}: {found:?}");
        ensure!(!exists(database, &foreign.key).await?, "{name}");
        let changes = vec![
            Write::Update(foreign.clone()),
            Write::Touch(good.key.clone(), end.plus(HOUR)),
            Write::Delete(key("Absent!!")),
        ];
        let done = database.write(changes, Terms::by(soon())).await?;
        ensure!(done[0] == WriteOutcome::Missing && done[2] == WriteOutcome::Missing, "{name}: {done:?}");
        ensure!(matches!(done[1], WriteOutcome::Done(_)), "{name}: {done:?}");
        let locked = lock(database, vec![foreign.key.clone(), good.key.clone()], soon()).await?;
        ensure!(locked.outcomes()[0].is_none() && locked.outcomes()[1].is_some(), "{name}");
        locked.roll_back().await;
    }
    Ok(())
}

/// Names that end a quote, or contain a dot, a space, a letter of another alphabet or an SQL keyword.
const NAMES: [&str; 6] =
    ["\"Web Sessions\"", "\"a.b\"", "\"it's \"\"quoted\"\"\"", "\"back`tick\"", "\"größe\"", "\"select\""];

/// Does everything that names the table once.
async fn uses_its_table(database: &dyn Database, name: &str) -> Result<()> {
    ensure!(!database.upkeep().create_schema(soon()).await?.is_empty(), "{name}");
    ensure!(database.upkeep().missing_schema(soon()).await?.is_empty(), "{name}: everything is found again");
    database.upkeep().check_columns(soon()).await?;
    let session = session("abcdefgh", "v1", expires_in(HOUR));
    for change in [Write::Insert(session.clone()), Write::Update(session.clone()), Write::Upsert(session.clone())] {
        ensure!(matches!(write(database, change).await?, WriteOutcome::Done(_)), "{name}");
    }
    ensure!(load(database, &session.key).await?.as_ref() == Some(&session), "{name}");
    ensure!(database.upkeep().scan(None, 10, soon()).await?.sessions.len() == 1, "{name}");
    ensure!(database.upkeep().statistics(soon()).await?.rows == 1, "{name}");
    ensure!(database.upkeep().identity(soon()).await?.is_some(), "{name}");
    ensure!(database.upkeep().feeds(soon()).await?.incoming.is_empty(), "{name}");
    ensure!(database.upkeep().expired_left(None, soon()).await?.expired == 0, "{name}");
    ensure!(database.upkeep().delete_expired(None, 10, soon()).await? == 0, "{name}");
    ensure!(write(database, Write::Delete(session.key)).await? == WriteOutcome::Done(None), "{name}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn table_may_have_any_name_and_any_schema() -> Result<()> {
    let (postgres, mariadb) = (switchover_harness::Postgres::shared().await?, MariaDb::shared().await?);
    let folder = tempfile::tempdir()?;
    let schema = new_table();
    let mut raw = PgConnection::connect(&postgres.url()).await?;
    raw.execute(sqlx::raw_sql(&format!("CREATE SCHEMA \"{schema} \""))).await?;
    let mut raw = MySqlConnection::connect(&mariadb.url()).await?;
    raw.execute(sqlx::raw_sql(&format!("CREATE DATABASE `{schema}-x`"))).await?;
    for layout in Layout::ALL {
        for name in NAMES {
            let file = folder.path().join(format!("{}.sqlite3", layout.name()));
            let sqlite = Sqlite::builder(file).create_if_missing(true).layout(layout).table(name).open().await?;
            uses_its_table(&sqlite, name).await?;
            sqlite.close().await;
            // A name may be used for one layout only.
            let name = format!("{}{}\"", name.strip_suffix('"').unwrap_or(name), layout.name());
            for name in [name.clone(), format!("\"{schema} \".{name}")] {
                let database = Postgres::builder(postgres.url()).layout(layout).table(&name).connect().await?;
                uses_its_table(&database, &name).await?;
                database.close().await;
            }
            for name in [name.clone(), format!("\"{schema}-x\".{name}")] {
                let database = MySql::builder(mariadb.url()).layout(layout).table(&name).connect().await?;
                uses_its_table(&database, &name).await?;
                database.close().await;
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn table_of_another_layout_or_with_a_blind_collation_is_refused() -> Result<()> {
    let mariadb = MariaDb::shared().await?;
    let folder = tempfile::tempdir()?;
    for (made, used) in [(Layout::DJANGO, Layout::SWITCHOVER), (Layout::SWITCHOVER, Layout::DJANGO)] {
        let file = folder.path().join(format!("{}.sqlite3", made.name()));
        let sqlite = |layout| Sqlite::builder(&file).create_if_missing(true).layout(layout).table("sessions").open();
        let table = new_table();
        let postgres = switchover_harness::Postgres::shared().await?;
        let on_postgres = |layout| Postgres::builder(postgres.url()).layout(layout).table(&table).connect();
        let on_mariadb = |layout| MySql::builder(mariadb.url()).layout(layout).table(&table).connect();
        sqlite(made).await?.upkeep().create_schema(soon()).await?;
        on_postgres(made).await?.upkeep().create_schema(soon()).await?;
        on_mariadb(made).await?.upkeep().create_schema(soon()).await?;
        let other: [Box<dyn Database>; 3] =
            [Box::new(sqlite(used).await?), Box::new(on_postgres(used).await?), Box::new(on_mariadb(used).await?)];
        for database in other {
            let Err(DatabaseError::Corrupt { message }) = database.upkeep().check_columns(soon()).await else {
                panic!("{}: another layout is no difference", database.summary())
            };
            ensure!(message.contains(used.name()) && message.contains("column"), "{message}");
        }
    }
    let table = new_table();
    let own = MySql::builder(mariadb.url()).layout(Layout::SWITCHOVER).table(&table).connect().await?;
    own.upkeep().create_schema(soon()).await?;
    let mut raw = MySqlConnection::connect(&mariadb.url()).await?;
    let blind = format!("ALTER TABLE {table} MODIFY session_key varchar(255) COLLATE utf8mb4_general_ci NOT NULL");
    raw.execute(sqlx::raw_sql(&blind)).await?;
    let refused = own.upkeep().check_columns(soon()).await;
    ensure!(
        matches!(&refused, Err(DatabaseError::Corrupt { message }) if message.contains("collation")),
        "{refused:?}"
    );

    let file = folder.path().join("blind.sqlite3");
    let own = Sqlite::builder(&file).create_if_missing(true).layout(Layout::SWITCHOVER).open().await?;
    rusqlite::Connection::open(&file)?.execute_batch(
        "CREATE TABLE switchover_session (session_key varchar(255) COLLATE NOCASE NOT NULL PRIMARY KEY, payload blob \
         NOT NULL, expires_at datetime NOT NULL)",
    )?;
    let refused = own.upkeep().check_columns(soon()).await;
    ensure!(
        matches!(&refused, Err(DatabaseError::Corrupt { message }) if message.contains("collation")),
        "{refused:?}"
    );
    Ok(())
}
