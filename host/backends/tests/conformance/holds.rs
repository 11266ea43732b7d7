//! Writes that wait for a decision: who sees them, who waits for them, and how they end.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use switchover_core::capabilities::{DatabaseError, Write, WriteOutcome};

use super::fixture::{Fixture, error_of, exists, key, load, soon, within, write};

claims! {
    held_writes_are_seen_after_the_commit_alone,
    outcomes_are_those_of_a_write,
    a_roll_back_undoes_every_write,
    a_hold_that_is_dropped_is_rolled_back,
    a_hold_that_nobody_decides_is_rolled_back_at_its_deadline,
    a_second_writer_waits_and_meets_what_was_committed,
    a_second_writer_waits_and_meets_what_was_rolled_back,
    a_second_writer_gives_up_at_its_own_deadline,
    a_second_hold_waits_for_the_first,
    closing_waits_for_a_hold,
}

async fn held_writes_are_seen_after_the_commit_alone(f: Fixture) -> Result<()> {
    let (old, new, other) =
        (f.session("aaaaaaaa", "old"), f.session("aaaaaaaa", "new"), f.session("bbbbbbbb", "other"));
    write(&*f.database, Write::Insert(old.clone())).await?;
    let held = f.database.hold(vec![Write::Update(new.clone()), Write::Insert(other.clone())], None, soon()).await?;
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
    let batch = vec![Write::Lock(there.key.clone()), Write::Update(absent.clone())];
    let held = f.database.hold(batch, None, soon()).await?;
    assert_eq!(held.outcomes(), [WriteOutcome::Done(Some(there.clone())), WriteOutcome::Missing]);
    held.commit().await?;
    let held = f.database.hold(vec![Write::Insert(there), Write::Delete(absent.key)], None, soon()).await?;
    assert_eq!(held.outcomes(), [WriteOutcome::Exists, WriteOutcome::Missing]);
    held.roll_back().await;
    Ok(())
}

async fn a_roll_back_undoes_every_write(f: Fixture) -> Result<()> {
    let (kept, added) = (f.session("aaaaaaaa", "kept"), f.session("bbbbbbbb", "added"));
    write(&*f.database, Write::Insert(kept.clone())).await?;
    let batch = || vec![Write::Delete(kept.key.clone()), Write::Insert(added.clone())];
    f.database.hold(batch(), None, soon()).await?.roll_back().await;
    assert_eq!(load(&*f.database, &kept.key).await?, Some(kept.clone()));
    assert!(!exists(&*f.database, &added.key).await?);
    // The locks are gone with it.
    assert_eq!(f.database.write(batch(), None, soon()).await?.len(), 2);
    Ok(())
}

async fn a_hold_that_is_dropped_is_rolled_back(f: Fixture) -> Result<()> {
    let session = f.session("aaaaaaaa", "payload");
    drop(f.database.hold(vec![Write::Insert(session.clone())], None, soon()).await?);
    let again = write(&*f.database, Write::Insert(session.clone())).await?;
    assert_eq!(again, WriteOutcome::Done(Some(session)));
    Ok(())
}

async fn a_hold_that_nobody_decides_is_rolled_back_at_its_deadline(f: Fixture) -> Result<()> {
    let (kept, undone) = (f.session("aaaaaaaa", "kept"), f.session("aaaaaaaa", "undone"));
    write(&*f.database, Write::Insert(kept.clone())).await?;
    let deadline = within(100);
    let held = f.database.hold(vec![Write::Update(undone)], None, deadline).await?;
    // Waits for the lock, which nothing but the deadline frees.
    assert_eq!(write(&*f.database, Write::Lock(kept.key.clone())).await?, WriteOutcome::Done(Some(kept.clone())));
    assert!(Instant::now() >= deadline);
    assert_eq!(held.commit().await, Err(DatabaseError::Timeout));
    assert_eq!(load(&*f.database, &kept.key).await?, Some(kept));
    Ok(())
}

async fn a_second_writer_waits_and_meets_what_was_committed(f: Fixture) -> Result<()> {
    let (first, second) = (f.session("aaaaaaaa", "first"), f.session("aaaaaaaa", "second"));
    let held = f.database.hold(vec![Write::Insert(first.clone())], None, soon()).await?;
    let waiting = spawn_write(&f, Write::Insert(second));
    held.commit().await?;
    assert_eq!(waiting.await??, WriteOutcome::Exists);
    assert_eq!(load(&*f.database, &first.key).await?, Some(first));
    Ok(())
}

async fn a_second_writer_waits_and_meets_what_was_rolled_back(f: Fixture) -> Result<()> {
    let (first, second) = (f.session("aaaaaaaa", "first"), f.session("aaaaaaaa", "second"));
    let held = f.database.hold(vec![Write::Insert(first)], None, soon()).await?;
    let waiting = spawn_write(&f, Write::Insert(second.clone()));
    held.roll_back().await;
    assert_eq!(waiting.await??, WriteOutcome::Done(Some(second)));
    Ok(())
}

async fn a_second_writer_gives_up_at_its_own_deadline(f: Fixture) -> Result<()> {
    let (first, second) = (f.session("aaaaaaaa", "first"), f.session("aaaaaaaa", "second"));
    let held = f.database.hold(vec![Write::Insert(first.clone())], None, soon()).await?;
    // Long enough for a busy machine to answer what a lock refused: what is not answered in time is unknown.
    let refused = f.database.write(vec![Write::Upsert(second.clone())], None, within(400)).await;
    let refused = refused.err().context("it must not be written")?;
    assert!(gave_up(&refused), "{refused}");
    let refused = error_of(f.database.hold(vec![Write::Upsert(second)], None, within(400)).await)?;
    assert!(gave_up(&refused), "{refused}");
    held.commit().await?;
    // A write to another key comes after whatever was queued: the one that gave up has not been done late.
    write(&*f.database, Write::Delete(key("bbbbbbbb"))).await?;
    assert_eq!(load(&*f.database, &first.key).await?, Some(first));
    Ok(())
}

async fn a_second_hold_waits_for_the_first(f: Fixture) -> Result<()> {
    let (first, second) = (f.session("aaaaaaaa", "first"), f.session("aaaaaaaa", "second"));
    write(&*f.database, Write::Insert(f.session("aaaaaaaa", "before"))).await?;
    let held = f.database.hold(vec![Write::Update(first)], None, soon()).await?;
    let database = Arc::clone(&f.database);
    let update = Write::Update(second.clone());
    let waiting = tokio::spawn(async move { database.hold(vec![update], None, soon()).await });
    held.commit().await?;
    let held = waiting.await??;
    assert_eq!(held.outcomes(), [WriteOutcome::Done(Some(second.clone()))]);
    held.commit().await?;
    assert_eq!(load(&*f.database, &second.key).await?, Some(second));
    Ok(())
}

async fn closing_waits_for_a_hold(f: Fixture) -> Result<()> {
    let held = f.database.hold(vec![Write::Insert(f.session("aaaaaaaa", "first"))], None, soon()).await?;
    let database = Arc::clone(&f.database);
    let closing = tokio::spawn(async move { database.close().await });
    super::fixture::eventually("closed", async || Ok(f.database.scan(None, 1, soon()).await.is_err())).await?;
    assert!(!closing.is_finished());
    held.commit().await?;
    closing.await?;
    Ok(())
}

fn spawn_write(f: &Fixture, operation: Write) -> tokio::task::JoinHandle<Result<WriteOutcome, DatabaseError>> {
    let database = Arc::clone(&f.database);
    tokio::spawn(async move { write(&*database, operation).await })
}

fn gave_up(error: &DatabaseError) -> bool {
    matches!(error, DatabaseError::Timeout | DatabaseError::Conflict { .. })
}
