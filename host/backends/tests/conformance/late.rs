//! Writes that PostgreSQL gets after their deadline: it does not begin them, so an outcome that was told as unknown
//! does not change later.

use std::time::Duration;

use anyhow::{Result, ensure};
use switchover_core::Payload;
use switchover_core::capabilities::{Database, DatabaseError, Terms, Write, WriteOutcome};
use switchover_harness::Direction;

use super::fixture::{eventually, exists, key, load, soon, within};
use super::server_fixture::{Kind, far};

/// Longer than the time below which a write takes a transaction, whose commit could come late.
const DEADLINE: u64 = 600;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn write_that_comes_after_its_deadline_is_not_made() -> Result<()> {
    let (database, proxy) = Kind::Postgres.behind_proxy(|builder| builder.writers(1)).await?;
    let [there, touched, gone] = ["there000", "touched0", "deleted0"].map(|name| far(&key(name)));
    let all = [&there, &touched, &gone].map(|session| Write::Upsert(session.clone()));
    database.write(all.into(), Terms::by(soon())).await?;
    let mut changed = there.clone();
    changed.payload = Payload::from("a value that comes late");
    let absent = far(&key("absent00"));
    let late = vec![
        Write::Update(changed),
        Write::Insert(absent.clone()),
        Write::Upsert(far(&key("absent01"))),
        Write::Touch(touched.key.clone(), touched.expires_at.plus(Duration::from_secs(1))),
        Write::Delete(gone.key.clone()),
    ];
    proxy.hold(Direction::ToServer);
    let before = proxy.counts().bytes_to_server;
    let answer = database.write(late, Terms::by(within(DEADLINE))).await;
    ensure!(matches!(answer, Err(DatabaseError::UnknownOutcome { .. })), "{answer:?}");
    proxy.heal().await?;
    eventually("the late write came", async || Ok(proxy.counts().bytes_to_server > before)).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    for session in [&there, &touched, &gone] {
        ensure!(load(&database, &session.key).await?.as_ref() == Some(session), "{session:?} was written late");
    }
    ensure!(!exists(&database, &absent.key).await? && !exists(&database, &key("absent01")).await?);
    Ok(())
}

/// Writes that share a statement: the first deadline ends it, and the others are made again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deadline_of_one_write_costs_another_only_time() -> Result<()> {
    let (database, proxy) = Kind::Postgres.behind_proxy(|builder| builder.writers(1)).await?;
    let [first, short, long] = ["first000", "short000", "long0000"].map(|name| far(&key(name)));
    database.write(vec![Write::Insert(first.clone())], Terms::by(soon())).await?;
    proxy.delay(Direction::ToServer, Duration::from_millis(700), Duration::ZERO);
    let write = async |session: &switchover_core::Session, deadline| {
        database.write(vec![Write::Upsert(session.clone())], Terms::by(deadline)).await
    };
    let later = async |session: &switchover_core::Session, milliseconds| {
        // The first write is on its way by then, so these two wait for it and go together.
        tokio::time::sleep(Duration::from_millis(100)).await;
        write(session, within(milliseconds)).await
    };
    let (first, short_answer, long_answer) =
        tokio::join!(write(&first, soon()), later(&short, 1_000), later(&long, 10_000));
    ensure!(first.is_ok(), "{first:?}");
    ensure!(matches!(short_answer, Err(DatabaseError::UnknownOutcome { .. })), "{short_answer:?}");
    ensure!(matches!(long_answer.as_deref(), Ok([WriteOutcome::Done(_)])), "{long_answer:?}");
    proxy.heal().await?;
    ensure!(!exists(&database, &short.key).await?, "it was written late");
    ensure!(exists(&database, &long.key).await?);
    Ok(())
}
