//! A foreign table moves whole: mixed-case keys of 43 characters, payloads of any bytes, two further columns, between
//! any two databases.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use switchover::backends::{FlagSwitch, MySql, Postgres, Sqlite};
use switchover::capabilities::{Database, Terms, Write};
use switchover::migration::compare;
use switchover::{
    Builtin, CycleOutcome, Layout, Limits, Others, Payload, Policy, SaveOutcome, Session, SessionKey, Switchover,
    Value, expires_in,
};
use switchover_harness::MariaDb;
use tempfile::TempDir;

use super::fixture::{new_table, soon};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Postgres,
    MariaDb,
    Sqlite,
}

/// A table of the product's own layout with two further columns.
async fn open(kind: Kind, folder: &TempDir) -> Result<Arc<dyn Database>> {
    let (layout, table) = (Layout::SWITCHOVER, new_table());
    let more =
        "ALTER TABLE TABLE_NAME ADD COLUMN user_id bigint, ADD COLUMN agent varchar(300)".replace("TABLE_NAME", &table);
    let database: Arc<dyn Database> = match kind {
        Kind::Postgres => {
            let url = switchover_harness::Postgres::shared().await?.url();
            let database = Postgres::builder(&url).layout(layout).table(&table).connect().await?;
            database.upkeep().create_schema(soon()).await?;
            execute_postgres(&url, &more).await?;
            Arc::new(database)
        }
        Kind::MariaDb => {
            let url = MariaDb::shared().await?.url();
            let database = MySql::builder(&url).layout(layout).table(&table).connect().await?;
            database.upkeep().create_schema(soon()).await?;
            execute_mysql(&url, &more).await?;
            Arc::new(database)
        }
        Kind::Sqlite => {
            let file = folder.path().join(format!("{table}.sqlite3"));
            let database = Sqlite::builder(&file).layout(layout).table(&table).create_if_missing(true).open().await?;
            database.upkeep().create_schema(soon()).await?;
            let raw = rusqlite::Connection::open(&file)?;
            raw.execute_batch(&format!("ALTER TABLE {table} ADD COLUMN user_id integer"))?;
            raw.execute_batch(&format!("ALTER TABLE {table} ADD COLUMN agent varchar(300)"))?;
            Arc::new(database)
        }
    };
    ensure!(database.upkeep().other_columns(soon()).await?.len() == 2, "{kind:?}");
    Ok(database)
}

async fn execute_postgres(url: &str, sql: &str) -> Result<()> {
    use sqlx::{Connection as _, Executor as _};
    sqlx::PgConnection::connect(url).await?.execute(sqlx::raw_sql(sql)).await?;
    Ok(())
}

async fn execute_mysql(url: &str, sql: &str) -> Result<()> {
    use sqlx::{Connection as _, Executor as _};
    sqlx::MySqlConnection::connect(url).await?.execute(sqlx::raw_sql(sql)).await?;
    Ok(())
}

/// Keys of 43 characters, in pairs that differ in the case of their letters alone.
fn foreign_sessions() -> Vec<Session> {
    let key = |number: usize, upper: bool| {
        let key = format!("aB-_{number:04}cDeFgHiJkLmNoPqRsTuVwXyZ0123456789q");
        let swapped = key.chars().map(|letter| {
            if letter.is_ascii_lowercase() { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() }
        });
        if upper { swapped.collect() } else { key }
    };
    let session = |number: usize| {
        let text = key(number / 2, number % 2 == 1);
        assert_eq!(text.len(), 43);
        let payload: Vec<u8> = (0..=255_u8).cycle().skip(number).take(40 + number * 7).collect();
        let agent =
            if number.is_multiple_of(3) { Value::Null } else { Value::Text(format!("Größe/{number} 'x'").into()) };
        let others = Others::new([
            ("user_id".into(), Value::Integer(i64::try_from(number).unwrap_or(0) - 5)),
            ("agent".into(), agent),
        ]);
        let expires_at = expires_in(Duration::from_secs(7_200 + number as u64));
        Session {
            others,
            ..Session::new(SessionKey::parse(&text).expect("43 letters"), Payload::from(payload), expires_at)
        }
    };
    (0..40).map(session).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_table_moves_between_any_two_databases() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let kinds = [Kind::Postgres, Kind::MariaDb, Kind::Sqlite];
    for old in kinds {
        for new in kinds {
            let pair = [open(old, &folder).await?, open(new, &folder).await?];
            moves([&pair[0], &pair[1]]).await.with_context(|| format!("{old:?} to {new:?}"))?;
            for database in pair {
                database.close().await;
            }
        }
    }
    Ok(())
}

async fn moves([old, new]: [&Arc<dyn Database>; 2]) -> Result<()> {
    let sessions = foreign_sessions();
    old.write(sessions.iter().cloned().map(Write::Insert).collect(), Terms::by(soon())).await?;
    let host = Switchover::builder()
        .database("default", Arc::clone(old))
        .database("new_session_store", Arc::clone(new))
        .flags(FlagSwitch::new([("migration_flag", "true")]))
        .policy(Policy::builtin(Builtin::Fallback))
        .build()
        .await?;
    let visitors = host.sessions();
    let later = expires_in(Duration::from_secs(20_000));
    // A session that is used is written to both. Those that are saved, touched, cycled and logged out, one of four
    // each.
    for (at, session) in sessions.iter().enumerate() {
        ensure!(visitors.load(&session.key).await?.is_some_and(|found| found.payload == session.payload));
        match at % 4 {
            0 => {
                let payload = Payload::from(vec![0, 0xff, u8::try_from(at)?]);
                ensure!(visitors.save(&session.key, payload, later).await? == SaveOutcome::Saved);
            }
            1 => ensure!(visitors.touch(&session.key, later).await? == SaveOutcome::Saved),
            2 => {
                let CycleOutcome::Cycled(new_key) = visitors.cycle_key(&session.key).await? else {
                    anyhow::bail!("the session is there")
                };
                ensure!(visitors.load(&session.key).await?.is_none());
                let row = super::fixture::row(&**new, &new_key).await?.context("it is in both")?;
                ensure!(row.others == session.others && row.payload == session.payload, "a new key loses no column");
            }
            _ => ensure!(visitors.delete(&session.key).await?),
        }
    }
    let comparison = compare(&**old, &**new, &Limits::default(), &mut |_| {}).await?;
    ensure!(
        comparison.is_alike() && comparison.equal == 30,
        "{} equal, {} differ",
        comparison.equal,
        comparison.differences()
    );
    for session in sessions.iter().step_by(4) {
        let row = super::fixture::row(&**new, &session.key).await?.context("a saved session is in the new database")?;
        ensure!(row.others == session.others, "a save leaves the other columns as they are");
    }
    // Nothing of the comparison is blind to the two columns.
    let mut changed = super::fixture::row(&**new, &sessions[0].key).await?.context("it was saved")?;
    changed.others = Others::new([("user_id".into(), Value::Integer(999)), ("agent".into(), Value::Null)]);
    new.write(vec![Write::Upsert(changed)], Terms::by(soon())).await?;
    let comparison = compare(&**old, &**new, &Limits::default(), &mut |_| {}).await?;
    ensure!(comparison.count(switchover::migration::Difference::Column) == 1, "{} differ", comparison.differences());
    host.close().await;
    Ok(())
}
