//! Writes that wait for a decision: who sees them, who waits for them, and how they end.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use switchover_core::capabilities::{DatabaseError, Terms, Write, WriteOutcome};

use super::fixture::{Fixture, error_of, exists, hold, key, load, lock, row, soon, within, write};

claims! {
    held_writes_are_seen_after_the_commit_alone,
    outcomes_are_those_of_a_write,
    roll_back_undoes_every_write,
    hold_that_is_dropped_is_rolled_back,
    hold_that_nobody_decides_is_rolled_back_at_its_deadline,
    second_writer_waits_and_meets_what_was_committed,
    second_writer_waits_and_meets_what_was_rolled_back,
    second_writer_gives_up_at_its_own_deadline,
    second_hold_waits_for_the_first,
    closing_waits_for_a_hold,
    statements_of_one_transaction_see_each_other_and_end_together,
    what_a_transaction_has_locked_it_may_write,
    transaction_whose_statement_failed_is_over_and_has_written_nothing,
    transaction_without_a_statement_locks_nothing,
}

async fn held_writes_are_seen_after_the_commit_alone(f: Fixture) -> Result<()> {
    let (old, new, other) =
        (f.session("aaaaaaaa", "old"), f.session("aaaaaaaa", "new"), f.session("bbbbbbbb", "other"));
    write(&*f.database, Write::Insert(old.clone())).await?;
    let held = hold(&*f.database, vec![Write::Update(new.clone()), Write::Insert(other.clone())], soon()).await?;
    assert_eq!(load(&*f.database, &old.key).await?, Some(old));
    assert!(!exists(&*f.database, &other.key).await?);
    held.commit().await?;
    assert_eq!(load(&*f.database, &new.key).await?, Some(new));
    assert_eq!(load(&*f.database, &other.key).await?, Some(other));
    Ok(())
}

async fn outcomes_are_those_of_a_write(f: Fixture) -> Result<()> {
    let (there, absent) = (f.session("aaaaaaaa", "there"), f.session("bbbbbbbb", "absent"));
    write(&*f.database, Write::Insert(there.clone())).await?;
    let mut held = lock(&*f.database, vec![absent.key.clone(), there.key.clone()], soon()).await?;
    assert_eq!(held.outcomes(), [None, Some(there.clone())]);
    assert_eq!(held.transaction.write(vec![Write::Update(absent.clone())]).await?, [WriteOutcome::Missing]);
    held.commit().await?;
    let held = hold(&*f.database, vec![Write::Insert(there), Write::Delete(absent.key)], soon()).await?;
    assert_eq!(held.outcomes(), [WriteOutcome::Exists, WriteOutcome::Missing]);
    held.roll_back().await;
    Ok(())
}

async fn roll_back_undoes_every_write(f: Fixture) -> Result<()> {
    let (kept, added) = (f.session("aaaaaaaa", "kept"), f.session("bbbbbbbb", "added"));
    write(&*f.database, Write::Insert(kept.clone())).await?;
    let batch = || vec![Write::Delete(kept.key.clone()), Write::Insert(added.clone())];
    hold(&*f.database, batch(), soon()).await?.roll_back().await;
    assert_eq!(load(&*f.database, &kept.key).await?, Some(kept.clone()));
    assert!(!exists(&*f.database, &added.key).await?);
    // Its locks are gone with it.
    assert_eq!(f.database.write(batch(), Terms::by(soon())).await?.len(), 2);
    Ok(())
}

async fn hold_that_is_dropped_is_rolled_back(f: Fixture) -> Result<()> {
    let session = f.session("aaaaaaaa", "payload");
    drop(hold(&*f.database, vec![Write::Insert(session.clone())], soon()).await?);
    let again = write(&*f.database, Write::Insert(session.clone())).await?;
    assert_eq!(again, WriteOutcome::Done(Some(session)));
    Ok(())
}

async fn hold_that_nobody_decides_is_rolled_back_at_its_deadline(f: Fixture) -> Result<()> {
    let (kept, undone) = (f.session("aaaaaaaa", "kept"), f.session("aaaaaaaa", "undone"));
    write(&*f.database, Write::Insert(kept.clone())).await?;
    let deadline = within(100);
    let held = hold(&*f.database, vec![Write::Update(undone)], deadline).await?;
    // Waits for the lock, which only the deadline releases.
    assert_eq!(row(&*f.database, &kept.key).await?, Some(kept.clone()));
    assert!(Instant::now() >= deadline);
    assert_eq!(held.commit().await, Err(DatabaseError::Timeout));
    assert_eq!(load(&*f.database, &kept.key).await?, Some(kept));
    Ok(())
}

async fn second_writer_waits_and_meets_what_was_committed(f: Fixture) -> Result<()> {
    let (first, second) = (f.session("aaaaaaaa", "first"), f.session("aaaaaaaa", "second"));
    let held = hold(&*f.database, vec![Write::Insert(first.clone())], soon()).await?;
    let waiting = spawn_write(&f, Write::Insert(second));
    held.commit().await?;
    assert_eq!(waiting.await??, WriteOutcome::Exists);
    assert_eq!(load(&*f.database, &first.key).await?, Some(first));
    Ok(())
}

async fn second_writer_waits_and_meets_what_was_rolled_back(f: Fixture) -> Result<()> {
    let (first, second) = (f.session("aaaaaaaa", "first"), f.session("aaaaaaaa", "second"));
    let held = hold(&*f.database, vec![Write::Insert(first)], soon()).await?;
    let waiting = spawn_write(&f, Write::Insert(second.clone()));
    held.roll_back().await;
    assert_eq!(waiting.await??, WriteOutcome::Done(Some(second)));
    Ok(())
}

async fn second_writer_gives_up_at_its_own_deadline(f: Fixture) -> Result<()> {
    let (first, second) = (f.session("aaaaaaaa", "first"), f.session("aaaaaaaa", "second"));
    let held = hold(&*f.database, vec![Write::Insert(first.clone())], soon()).await?;
    // Long enough for a busy machine to answer what a lock refused. Without an answer in time, the outcome would be
    // unknown.
    let refused = f.database.write(vec![Write::Upsert(second.clone())], Terms::by(within(400))).await;
    let refused = refused.err().context("it must not be written")?;
    assert!(gave_up(&refused), "{refused}");
    let refused = error_of(hold(&*f.database, vec![Write::Upsert(second)], within(400)).await)?;
    assert!(gave_up(&refused), "{refused}");
    held.commit().await?;
    // A write to another key comes after everything in the queue. So the write that gave up has not been done late.
    write(&*f.database, Write::Delete(key("bbbbbbbb"))).await?;
    assert_eq!(load(&*f.database, &first.key).await?, Some(first));
    Ok(())
}

async fn second_hold_waits_for_the_first(f: Fixture) -> Result<()> {
    let (first, second) = (f.session("aaaaaaaa", "first"), f.session("aaaaaaaa", "second"));
    write(&*f.database, Write::Insert(f.session("aaaaaaaa", "before"))).await?;
    let held = hold(&*f.database, vec![Write::Update(first)], soon()).await?;
    let database = Arc::clone(&f.database);
    let update = Write::Update(second.clone());
    let waiting = tokio::spawn(async move { hold(&*database, vec![update], soon()).await });
    held.commit().await?;
    let held = waiting.await??;
    assert_eq!(held.outcomes(), [WriteOutcome::Done(Some(second.clone()))]);
    held.commit().await?;
    assert_eq!(load(&*f.database, &second.key).await?, Some(second));
    Ok(())
}

async fn closing_waits_for_a_hold(f: Fixture) -> Result<()> {
    let held = hold(&*f.database, vec![Write::Insert(f.session("aaaaaaaa", "first"))], soon()).await?;
    let database = Arc::clone(&f.database);
    let closing = tokio::spawn(async move { database.close().await });
    super::fixture::eventually("closed", async || Ok(f.database.upkeep().scan(None, 1, soon()).await.is_err())).await?;
    assert!(!closing.is_finished());
    held.commit().await?;
    closing.await?;
    Ok(())
}

async fn statements_of_one_transaction_see_each_other_and_end_together(f: Fixture) -> Result<()> {
    let (first, second, third) =
        (f.session("aaaaaaaa", "first"), f.session("aaaaaaaa", "second"), f.session("bbbbbbbb", "third"));
    for commits in [false, true] {
        let mut held = hold(&*f.database, vec![Write::Insert(first.clone())], soon()).await?;
        let transaction = &mut held.transaction;
        assert_eq!(transaction.lock(vec![first.key.clone()]).await?, [Some(first.clone())]);
        let updated = transaction.write(vec![Write::Update(second.clone()), Write::Insert(third.clone())]).await?;
        assert_eq!(updated, [WriteOutcome::Done(Some(second.clone())), WriteOutcome::Done(Some(third.clone()))]);
        assert_eq!(transaction.write(vec![Write::Insert(first.clone())]).await?, [WriteOutcome::Exists]);
        assert_eq!(transaction.write(vec![Write::Delete(third.key.clone())]).await?, [WriteOutcome::Done(None)]);
        assert_eq!(transaction.lock(vec![third.key.clone(), second.key.clone()]).await?, [None, Some(second.clone())]);
        assert!(!exists(&*f.database, &first.key).await?, "nothing is seen before the commit");
        if commits {
            held.commit().await?;
        } else {
            held.roll_back().await;
        }
        assert_eq!(load(&*f.database, &first.key).await?, commits.then(|| second.clone()));
        assert!(!exists(&*f.database, &third.key).await?);
    }
    Ok(())
}

async fn what_a_transaction_has_locked_it_may_write(f: Fixture) -> Result<()> {
    let (there, absent) = (f.session("aaaaaaaa", "there"), f.session("bbbbbbbb", "absent"));
    write(&*f.database, Write::Insert(there.clone())).await?;
    let mut held = lock(&*f.database, vec![absent.key.clone(), there.key.clone()], soon()).await?;
    assert_eq!(held.outcomes(), [None, Some(there.clone())]);
    let batch = vec![Write::Delete(there.key.clone()), Write::Insert(absent.clone())];
    let waiting = spawn_write(&f, Write::Update(there.clone()));
    let written = held.transaction.write(batch).await?;
    assert_eq!(written, [WriteOutcome::Done(None), WriteOutcome::Done(Some(absent.clone()))]);
    held.commit().await?;
    assert_eq!(waiting.await??, WriteOutcome::Missing);
    assert_eq!(load(&*f.database, &absent.key).await?, Some(absent));
    Ok(())
}

async fn transaction_whose_statement_failed_is_over_and_has_written_nothing(f: Fixture) -> Result<()> {
    let (first, second) = (f.session("aaaaaaaa", "first"), f.session("bbbbbbbb", "second"));
    let deadline = within(300);
    let mut held = hold(&*f.database, vec![Write::Insert(first.clone())], deadline).await?;
    tokio::time::sleep_until((deadline + std::time::Duration::from_millis(20)).into()).await;
    for _ in 0..2 {
        assert!(held.transaction.write(vec![Write::Insert(second.clone())]).await.is_err());
    }
    assert!(held.commit().await.is_err());
    for key in [&first.key, &second.key] {
        // Its locks are gone with it.
        assert_eq!(write(&*f.database, Write::Delete(key.clone())).await?, WriteOutcome::Missing);
    }
    Ok(())
}

async fn transaction_without_a_statement_locks_nothing(f: Fixture) -> Result<()> {
    let session = f.session("aaaaaaaa", "payload");
    let transaction = f.database.begin(Terms::by(soon())).await?;
    write(&*f.database, Write::Insert(session.clone())).await?;
    transaction.commit().await?;
    f.database.begin(Terms::by(soon())).await?.roll_back().await;
    drop(f.database.begin(Terms::by(soon())).await?);
    assert_eq!(load(&*f.database, &session.key).await?, Some(session));
    Ok(())
}

fn spawn_write(f: &Fixture, operation: Write) -> tokio::task::JoinHandle<Result<WriteOutcome, DatabaseError>> {
    let database = Arc::clone(&f.database);
    tokio::spawn(async move { write(&*database, operation).await })
}

fn gave_up(error: &DatabaseError) -> bool {
    matches!(error, DatabaseError::Timeout | DatabaseError::Conflict { .. })
}
