//! Each fault has its documented effect on the caller and on the rows.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use switchover_backends::{Fault, Faulty, MemoryDatabase, Operation};
use switchover_core::capabilities::{Database, DatabaseError, Read, Terms, Write, WriteOutcome};
use switchover_core::{Session, Timestamp};

use super::fixture::{error_of, exists, hold, key, load, lock, session, soon, within, write};

fn database() -> Faulty<MemoryDatabase> {
    Faulty::new(MemoryDatabase::new())
}

fn some() -> Session {
    session("aaaaaaaa", "payload", Timestamp::MAX)
}

fn insert() -> Vec<Write> {
    vec![Write::Insert(some())]
}

fn unknown() -> DatabaseError {
    DatabaseError::UnknownOutcome { message: "lost".to_owned() }
}

#[tokio::test]
async fn error_before_leaves_nothing_and_one_after_leaves_the_row() -> Result<()> {
    let database = database();
    database.inject(Operation::Write, Fault::Before(unknown()));
    assert_eq!(database.write(insert(), Terms::by(soon())).await, Err(unknown()));
    assert!(!exists(&database, &some().key).await?);
    database.inject(Operation::Write, Fault::After(unknown()));
    assert_eq!(database.write(insert(), Terms::by(soon())).await, Err(unknown()));
    assert!(exists(&database, &some().key).await?);
    Ok(())
}

#[tokio::test]
async fn silence_lasts_until_the_deadline() -> Result<()> {
    let database = database();
    for effect in [false, true] {
        database.inject(Operation::Write, Fault::Silent { effect });
        let deadline = within(30);
        let answer = database.write(insert(), Terms::by(deadline)).await;
        assert!(matches!(answer, Err(DatabaseError::UnknownOutcome { .. })), "{answer:?}");
        assert!(Instant::now() >= deadline);
        assert_eq!(exists(&database, &some().key).await?, effect);
    }
    database.inject(Operation::Read, Fault::Silent { effect: true });
    let read = vec![Read::Load(some().key)];
    assert_eq!(database.read(read, Terms::by(within(30))).await, Err(DatabaseError::Timeout));
    database.inject(Operation::Statistics, Fault::Silent { effect: false });
    assert_eq!(database.upkeep().statistics(within(30)).await, Err(DatabaseError::Timeout));
    Ok(())
}

#[tokio::test]
async fn fault_strikes_as_often_as_it_was_told() -> Result<()> {
    let database = database();
    database.inject_times(2, Operation::Read, Fault::Before(DatabaseError::Overloaded));
    for _ in 0..2 {
        assert_eq!(load(&database, &some().key).await, Err(DatabaseError::Overloaded));
    }
    assert_eq!(load(&database, &some().key).await, Ok(None));
    database.inject(Operation::Read, Fault::Before(DatabaseError::Fenced));
    assert_eq!(load(&database, &some().key).await, Err(DatabaseError::Fenced));
    database.heal();
    assert_eq!(load(&database, &some().key).await, Ok(None));
    Ok(())
}

#[tokio::test]
async fn commit_that_does_not_answer_has_committed_or_not() -> Result<()> {
    let database = database();
    for effect in [false, true] {
        database.inject(Operation::Commit, Fault::Silent { effect });
        let held = hold(&database, insert(), within(50)).await?;
        let answer = held.commit().await;
        assert!(matches!(answer, Err(DatabaseError::UnknownOutcome { .. })), "{answer:?}");
        assert_eq!(exists(&database, &some().key).await?, effect);
    }
    Ok(())
}

#[tokio::test]
async fn commit_that_fails_before_rolls_back_and_one_that_fails_after_has_committed() -> Result<()> {
    let database = database();
    for (fault, there) in [(Fault::Before(unknown()), false), (Fault::After(unknown()), true)] {
        database.inject(Operation::Commit, fault);
        let held = hold(&database, insert(), soon()).await?;
        assert_eq!(held.commit().await, Err(unknown()));
        assert_eq!(exists(&database, &some().key).await?, there);
    }
    Ok(())
}

#[tokio::test]
async fn hold_that_does_not_answer_keeps_its_locks_until_the_deadline() -> Result<()> {
    let database = database();
    database.inject_times(1, Operation::Statement, Fault::Silent { effect: true });
    let deadline = within(100);
    let hold = {
        let database = database.clone();
        tokio::spawn(async move { error_of(hold(&database, insert(), deadline).await) })
    };
    super::fixture::eventually("the hold is asked for", async || Ok(database.counts().transactions == 1)).await?;
    assert_eq!(write(&database, Write::Insert(some())).await?, WriteOutcome::Done(Some(some())));
    assert!(Instant::now() >= deadline);
    assert_eq!(hold.await??, DatabaseError::Timeout);
    Ok(())
}

#[tokio::test]
async fn server_that_is_down_answers_nothing_and_commits_nothing() -> Result<()> {
    let database = database();
    let held = hold(&database, insert(), soon()).await?;
    database.set_down(true);
    assert!(matches!(held.commit().await, Err(DatabaseError::Unavailable { .. })));
    assert!(matches!(load(&database, &some().key).await, Err(DatabaseError::Unavailable { .. })));
    assert!(matches!(hold(&database, insert(), soon()).await, Err(DatabaseError::Unavailable { .. })));
    assert!(matches!(database.upkeep().delete_expired(None, 1, soon()).await, Err(DatabaseError::Unavailable { .. })));
    assert!(matches!(database.upkeep().scan(None, 1, soon()).await, Err(DatabaseError::Unavailable { .. })));
    assert!(matches!(database.upkeep().create_schema(soon()).await, Err(DatabaseError::Unavailable { .. })));
    database.set_down(false);
    assert_eq!(load(&database, &some().key).await?, None);
    Ok(())
}

#[tokio::test]
async fn latency_delays_and_beyond_the_deadline_nothing_is_done() -> Result<()> {
    let database = database();
    database.set_latency(Duration::from_millis(20));
    let begin = Instant::now();
    write(&database, Write::Insert(some())).await?;
    assert!(begin.elapsed() >= Duration::from_millis(20));
    let late = database.write(vec![Write::Delete(some().key)], Terms::by(within(5))).await;
    assert_eq!(late, Err(DatabaseError::Timeout));
    database.heal();
    assert!(exists(&database, &some().key).await?);
    Ok(())
}

#[tokio::test]
async fn held_operation_does_nothing_until_it_is_released() -> Result<()> {
    let database = database();
    database.hold(Operation::Write);
    let insert = {
        let database = database.clone();
        tokio::spawn(async move { write(&database, Write::Insert(some())).await })
    };
    super::fixture::eventually("the insert is held", async || Ok(database.held(Operation::Write) == 1)).await?;
    assert!(!exists(&database, &some().key).await?, "other operations go on, and the insert has done nothing");
    database.inject_times(1, Operation::Write, Fault::Before(DatabaseError::Overloaded));
    database.release();
    assert_eq!(insert.await??, WriteOutcome::Done(Some(some())));
    let next = database.write(vec![Write::Delete(some().key)], Terms::by(soon())).await;
    assert_eq!(next, Err(DatabaseError::Overloaded), "the fault is for what was asked for after it");
    assert!(exists(&database, &some().key).await?);
    Ok(())
}

#[tokio::test]
async fn held_operation_ends_at_its_deadline_and_has_done_nothing() -> Result<()> {
    let database = database();
    database.hold(Operation::Write);
    let late = database.write(insert(), Terms::by(within(5))).await;
    assert_eq!(late, Err(DatabaseError::Timeout));
    assert_eq!(database.held(Operation::Write), 0);
    database.heal();
    assert!(!exists(&database, &some().key).await?);
    assert_eq!(write(&database, Write::Insert(some())).await?, WriteOutcome::Done(Some(some())));
    Ok(())
}

#[tokio::test]
async fn operations_are_counted_whatever_became_of_them() -> Result<()> {
    let database = database();
    load(&database, &some().key).await?;
    write(&database, Write::Insert(some())).await?;
    database.inject_times(1, Operation::Write, Fault::Before(DatabaseError::Overloaded));
    database.write(insert(), Terms::by(soon())).await.err().context("it must fail")?;
    lock(&database, vec![key("bbbbbbbb")], soon()).await?.commit().await?;
    hold(&database, insert(), soon()).await?.roll_back().await;
    drop(hold(&database, insert(), soon()).await?);
    let counts = database.counts();
    let counts = [counts.reads, counts.writes, counts.transactions, counts.commits, counts.roll_backs];
    assert_eq!(counts, [1, 2, 3, 1, 2]);
    Ok(())
}
