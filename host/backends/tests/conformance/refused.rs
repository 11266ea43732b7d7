//! A row that a database refuses, for whatever reason, costs only its own key: among writes that share a statement or a
//! transaction.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sqlx::{Connection as _, Executor as _, MySqlConnection};
use switchover_backends::MySql;
use switchover_core::capabilities::{Database as _, DatabaseError, Terms, Write, WriteOutcome};
use switchover_core::{Session, expires_in};
use tokio::task::JoinSet;

use super::fixture::{exists, hold, key, load, new_table, session, soon};
use super::refusals::{Refusal, refusals};

/// Rows that are there before; the last two are those that are refused a save and a deletion.
const THERE: [&str; 8] =
    ["updated00", "updated01", "touched00", "touched01", "deleted00", "deleted01", "saved0bad", "referenced"];

fn there() -> Vec<Session> {
    THERE.iter().map(|text| session(text, "before", expires_in(Duration::from_secs(3_600)))).collect()
}

/// Many writes at once, of each kind, and how each must end; `None`: it is refused.
fn writes(refusal: &Refusal) -> Vec<(Write, Option<WriteOutcome>)> {
    let far = expires_in(Duration::from_secs(7_200));
    let with = |key: &str, payload: &str| session(key, payload, far);
    let mut writes = Vec::new();
    for number in 0..24 {
        let new = with(&format!("inserted{number:02}"), "after");
        writes.push((Write::Insert(new.clone()), Some(WriteOutcome::Done(Some(new)))));
    }
    writes.push((Write::Insert(with("inserted0bad", refusal.payload)), None));
    writes.push((Write::Update(with("saved0bad", refusal.payload)), None));
    writes.push((Write::Upsert(with("upserted0bad", refusal.payload)), None));
    if refusal.refers.is_some() {
        writes.push((Write::Delete(key("referenced")), None));
    }
    for number in 0..2 {
        let update = with(&format!("updated{number:02}"), "after");
        writes.push((Write::Update(update.clone()), Some(WriteOutcome::Done(Some(update)))));
        writes.push((Write::Touch(key(&format!("touched{number:02}")), far), Some(WriteOutcome::Done(None))));
        writes.push((Write::Delete(key(&format!("deleted{number:02}"))), Some(WriteOutcome::Done(None))));
        writes.push((Write::Delete(key(&format!("missing{number:02}"))), Some(WriteOutcome::Missing)));
    }
    // Those that are refused stand among the others.
    writes.rotate_left(12);
    writes
}

fn is_as_expected(done: &Result<WriteOutcome, DatabaseError>, expected: Option<&WriteOutcome>) -> bool {
    match (done, expected) {
        // A row that was touched may be read for the answer.
        (Ok(WriteOutcome::Done(Some(_))), Some(WriteOutcome::Done(None))) => true,
        (Ok(outcome), Some(expected)) => outcome == expected,
        (Err(DatabaseError::Corrupt { message }), None) => !message.contains("bad") && !message.contains('😀'),
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_write_costs_none_that_shares_its_statement() -> Result<()> {
    for refusal in refusals().await? {
        let name = refusal.name;
        let database = refusal.open(there()).await?;
        let mut tasks = JoinSet::new();
        for (write, expected) in writes(&refusal) {
            let database = Arc::clone(&database);
            tasks.spawn(async move {
                let done = database.write(vec![write.clone()], Terms::by(soon())).await.map(|mut done| done.remove(0));
                (write, done, expected)
            });
        }
        for (write, done, expected) in tasks.join_all().await {
            ensure!(is_as_expected(&done, expected.as_ref()), "{name}: {write:?}: {done:?}");
        }
        // Nothing of what was refused is there, and the rest is.
        for absent in ["inserted0bad", "upserted0bad", "deleted00"] {
            ensure!(!exists(&*database, &key(absent)).await?, "{name}: {absent}");
        }
        ensure!(refusal.refers.is_none() || exists(&*database, &key("referenced")).await?, "{name}");
        let saved = load(&*database, &key("saved0bad")).await?.context("it is there")?;
        ensure!(saved.payload.as_text().unwrap_or_default() == "before", "{name}");
        for (write, expected) in writes(&refusal) {
            if let (Write::Insert(new), Some(_)) = (write, expected) {
                let loaded = load(&*database, &new.key).await?.map(|found| found.payload);
                ensure!(loaded == Some(new.payload), "{name}");
            }
        }
        database.close().await;
    }
    Ok(())
}

/// A batch that is held is all or nothing, and says that nothing was written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_write_leaves_nothing_of_a_batch_that_is_held() -> Result<()> {
    for refusal in refusals().await? {
        let name = refusal.name;
        let database = refusal.open(there()).await?;
        let batch: Vec<_> = writes(&refusal).into_iter().map(|(write, _)| write).collect();
        let error = match hold(&*database, batch, soon()).await {
            Ok(held) => held.commit().await.err(),
            Err(error) => Some(error),
        };
        ensure!(matches!(error, Some(DatabaseError::Corrupt { .. })), "{name}: {error:?}");
        ensure!(!exists(&*database, &key("inserted00")).await?, "{name}");
        ensure!(exists(&*database, &key("deleted00")).await?, "{name}");
        database.close().await;
    }
    Ok(())
}

/// On MySQL and MariaDB an upsert replaces the row that any unique index finds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_unique_index_is_refused_where_it_would_take_another_session() -> Result<()> {
    let server = switchover_harness::MariaDb::shared().await?;
    let table = new_table();
    let database = MySql::builder(server.url()).table(&table).connect().await?;
    database.upkeep().create_schema(soon()).await?;
    let mut raw = MySqlConnection::connect(&server.url()).await?;
    let add = format!("ALTER TABLE {table} ADD COLUMN user_id bigint, ADD UNIQUE INDEX one_session_each (user_id)");
    raw.execute(sqlx::raw_sql(&add)).await?;
    for refused in
        [database.upkeep().check_columns(soon()).await, database.upkeep().missing_schema(soon()).await.map(drop)]
    {
        let Err(DatabaseError::Corrupt { message }) = refused else { panic!("{refused:?}") };
        ensure!(message.contains("one_session_each"), "{message}");
    }
    Ok(())
}

/// The index comes after the table was checked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_that_another_unique_index_refuses_does_not_exist() -> Result<()> {
    let server = switchover_harness::MariaDb::shared().await?;
    let table = new_table();
    let database = MySql::builder(server.url()).table(&table).connect().await?;
    database.upkeep().create_schema(soon()).await?;
    let far = expires_in(Duration::from_secs(3_600));
    let insert = |key: &str, payload: &str| Write::Insert(session(key, payload, far));
    database.write(vec![insert("first0000", "v1")], Terms::by(soon())).await?;
    let mut raw = MySqlConnection::connect(&server.url()).await?;
    let add = format!("ALTER TABLE {table} ADD UNIQUE INDEX one_of_each (session_data(20))");
    raw.execute(sqlx::raw_sql(&add)).await?;
    let exists_already = database.write(vec![insert("first0000", "v2")], Terms::by(soon())).await?;
    ensure!(exists_already == [WriteOutcome::Exists], "{exists_already:?}");
    for others in [vec![], vec![insert("third0000", "v3")]] {
        let batch = [vec![insert("second000", "v1")], others].concat();
        let refused = database.write(batch, Terms::by(soon())).await;
        ensure!(matches!(refused, Err(DatabaseError::Corrupt { .. })), "{refused:?}");
    }
    ensure!(!exists(&database, &key("second000")).await? && !exists(&database, &key("third0000")).await?);
    database.close().await;
    Ok(())
}
