//! MySQL and MariaDB with every kind of collation and character set: the same rows are read and written, and no others.

use std::time::Duration;

use anyhow::Result;
use sqlx::{Connection as _, Executor as _, MySqlConnection, Row as _};
use switchover_backends::MySql;
use switchover_core::capabilities::{Database, Read, ReadOutcome, Terms, Write, WriteOutcome};
use switchover_core::{Session, expires_in};
use switchover_harness::MariaDb;

use super::fixture::{exists, hold, key, load, lock, new_table, row, session, soon, write};

/// Binary, case-sensitive and case-insensitive collations; character sets of one, two, three and four bytes.
pub(crate) const COLLATIONS: [&str; 16] = [
    "utf8mb4_bin",
    "utf8mb4_nopad_bin",
    "utf8mb4_general_ci",
    "utf8mb4_unicode_ci",
    "utf8mb4_unicode_520_ci",
    "utf8mb4_uca1400_as_cs",
    "utf8mb4_uca1400_ai_ci",
    "utf8mb3_bin",
    "utf8mb3_general_ci",
    "latin1_bin",
    "latin1_general_cs",
    "latin1_swedish_ci",
    "ascii_bin",
    "ascii_general_ci",
    "utf16_bin",
    "ucs2_general_ci",
];

/// Gives a table made by `create_schema` another collation.
pub(crate) async fn convert(raw: &mut MySqlConnection, table: &str, collation: &str) -> Result<()> {
    let set = collation.split('_').next().unwrap_or_default();
    let convert = format!("ALTER TABLE {table} CONVERT TO CHARACTER SET {set} COLLATE {collation}");
    raw.execute(sqlx::raw_sql(&convert)).await?;
    // The conversion turns a text of a wider character set into a narrower type.
    raw.execute(sqlx::raw_sql(&format!("ALTER TABLE {table} MODIFY session_data longtext NOT NULL"))).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_collation_holds_sessions() -> Result<()> {
    let server = MariaDb::shared().await?;
    let mut raw = MySqlConnection::connect(&server.url()).await?;
    let mut told_apart = 0;
    for collation in COLLATIONS {
        let table = new_table();
        let database = MySql::builder(server.url()).table(&table).connect().await?;
        database.upkeep().create_schema(soon()).await?;
        convert(&mut raw, &table, collation).await?;
        database.upkeep().check_columns(soon()).await?;
        assert_eq!(database.upkeep().missing_schema(soon()).await?, [""; 0], "{collation}");
        holds_sessions(&database, collation).await?;

        let other = format!("INSERT INTO {table} VALUES ('AAAAAAAA', 'another', '2999-01-01')");
        if raw.execute(sqlx::raw_sql(&other)).await.is_ok() {
            told_apart += 1;
            leaves_the_other_case_alone(&database, collation).await?;
            let sql = format!("SELECT cast(count(*) AS signed) FROM {table} WHERE session_data = 'another'");
            let left: i64 = raw.fetch_one(sqlx::raw_sql(&sql)).await?.try_get(0)?;
            assert_eq!(left, 1, "{collation}");
        }
        database.close().await;
    }
    assert_eq!(told_apart, 8);
    Ok(())
}

/// The table has the rows `aaaaaaaa` and `AAAAAAAA`.
async fn leaves_the_other_case_alone(database: &dyn Database, collation: &str) -> Result<()> {
    assert_eq!(database.upkeep().scan(None, 10, soon()).await?.unreadable.len(), 1, "{collation}");
    let (far, later) = (expires_in(Duration::from_secs(3_600)), expires_in(Duration::from_secs(9_000)));
    let ours = |payload: &str| session("aaaaaaaa", payload, far);
    let key = ours("v3").key;
    for change in [Write::Update(ours("v3")), Write::Upsert(ours("v4")), Write::Touch(key.clone(), later)] {
        // Alone, and together with another write, which takes another statement.
        for beside in [None, Some(Write::Delete(super::fixture::key("missing0")))] {
            let batch = [Some(change.clone()), beside].into_iter().flatten().collect();
            let done = database.write(batch, Terms::by(soon())).await?;
            assert!(matches!(done[0], WriteOutcome::Done(_)), "{collation}: {done:?}");
        }
    }
    let expected = Session { expires_at: later, ..ours("v4") };
    assert_eq!(load(database, &key).await?, Some(expected.clone()), "{collation}");
    let missing = super::fixture::key("missing0");
    let mut held = lock(database, vec![key.clone(), missing.clone()], soon()).await?;
    assert_eq!(held.outcomes(), [Some(expected), None], "{collation}");
    let touched = held.transaction.write(vec![Write::Touch(missing, far)]).await?;
    assert_eq!(touched, [WriteOutcome::Missing], "{collation}");
    held.roll_back().await;
    let delete = vec![Write::Delete(key.clone()), Write::Delete(super::fixture::key("missing0"))];
    hold(database, delete, soon()).await?.commit().await?;
    // Now only the other row is left.
    assert_eq!(load(database, &key).await?, None, "{collation}");
    assert!(!exists(database, &key).await?, "{collation}");
    assert_eq!(row(database, &key).await?, None, "{collation}");
    for change in [Write::Update(ours("v5")), Write::Touch(key.clone(), later), Write::Delete(key)] {
        assert_eq!(write(database, change).await?, WriteOutcome::Missing, "{collation}");
    }
    assert!(matches!(write(database, Write::Insert(ours("v6"))).await?, WriteOutcome::Done(_)), "{collation}");
    Ok(())
}

async fn holds_sessions(database: &dyn Database, collation: &str) -> Result<()> {
    let far = expires_in(Duration::from_secs(3_600));
    let sessions: Vec<Session> =
        ["aaaaaaaa", "bbbbbbbb", "zzzzzzzz"].iter().map(|key| session(key, "v1", far)).collect();
    let inserted = database.write(sessions.iter().cloned().map(Write::Insert).collect(), Terms::by(soon())).await?;
    assert!(inserted.iter().all(|outcome| matches!(outcome, WriteOutcome::Done(_))), "{collation}: {inserted:?}");
    let reads = sessions.iter().map(|session| Read::Load(session.key.clone())).collect();
    let found = database.read(reads, Terms::by(soon())).await?;
    let expected: Vec<_> = sessions.iter().cloned().map(Some).map(ReadOutcome::Session).collect();
    assert_eq!(found, expected, "{collation}");
    assert_eq!(database.upkeep().scan(None, 10, soon()).await?.sessions, sessions, "{collation}");
    let page = database.upkeep().scan(None, 1, soon()).await?;
    assert_eq!(database.upkeep().scan(page.next, 10, soon()).await?.sessions, sessions[1..], "{collation}");

    let v2 = session("aaaaaaaa", "v2", far);
    for change in [Write::Update(v2.clone()), Write::Upsert(v2.clone())] {
        assert_eq!(write(database, change).await?, WriteOutcome::Done(Some(v2.clone())), "{collation}");
    }
    let later = expires_in(Duration::from_secs(7_200));
    let touched = Session { expires_at: later, ..v2.clone() };
    assert_eq!(write(database, Write::Touch(v2.key.clone(), later)).await?, WriteOutcome::Done(Some(touched.clone())));
    assert_eq!(write(database, Write::Insert(v2.clone())).await?, WriteOutcome::Exists, "{collation}");
    let mut held = lock(database, vec![v2.key.clone()], soon()).await?;
    assert_eq!(held.outcomes(), [Some(touched.clone())], "{collation}");
    let deleted = held.transaction.write(vec![Write::Delete(key("bbbbbbbb"))]).await?;
    assert_eq!(deleted, [WriteOutcome::Done(None)], "{collation}");
    held.commit().await?;
    assert!(exists(database, &v2.key).await? && !exists(database, &key("bbbbbbbb")).await?, "{collation}");
    let ended = session("cccccccc", "v1", switchover_core::Timestamp::from_micros(1_000_000));
    write(database, Write::Upsert(ended)).await?;
    assert_eq!(database.upkeep().delete_expired(None, 10, soon()).await?, 1, "{collation}");
    assert_eq!(write(database, Write::Delete(key("zzzzzzzz"))).await?, WriteOutcome::Done(None), "{collation}");
    assert_eq!(write(database, Write::Delete(key("zzzzzzzz"))).await?, WriteOutcome::Missing, "{collation}");
    Ok(())
}
