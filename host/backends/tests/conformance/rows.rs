//! Each operation and each outcome, in batches and at the same time.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result};
use switchover_core::capabilities::{DatabaseError, Epoch, Fence, Read, ReadOutcome, Terms, Write, WriteOutcome};
use tokio::task::JoinSet;

use super::fixture::{Fixture, error_of, exists, hold, key, load, row, session, soon, write};

claims! {
    what_was_inserted_is_loaded,
    insert_of_a_taken_key_is_exists_and_writes_nothing,
    update_changes_payload_and_expiry,
    update_of_a_missing_row_is_missing_and_never_an_insert,
    upsert_inserts_and_updates,
    touch_moves_the_expiry_and_leaves_the_payload,
    touch_never_shortens,
    delete_leaves_nothing,
    lock_answers_the_row_and_leaves_it,
    batch_is_answered_in_its_order,
    batch_of_a_thousand_is_one_answer,
    empty_batch_is_an_empty_answer,
    any_payload_comes_back_as_it_was,
    keys_of_every_length_are_told_apart,
    scan_pages_through_the_table_in_the_order_of_keys,
    scan_of_exactly_a_page_has_no_next,
    schema_is_made_once,
    one_of_many_inserts_wins,
    inserts_and_deletes_at_once_add_up,
    many_keys_at_once_lose_nothing,
    deadline_in_the_past_does_nothing,
    fence_that_is_not_there_is_never_ignored,
    closed_database_is_unavailable,
    summary_names_no_key,
}

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// A database without side tables refuses it, and so does one whose side tables were not made.
async fn fence_that_is_not_there_is_never_ignored(f: Fixture) -> Result<()> {
    let there = f.session(A, "first");
    write(&*f.database, Write::Insert(there.clone())).await?;
    let fence = Fence { migration: "nobody knows it".into(), epoch: Epoch(1) };
    let terms = || Terms { deadline: soon(), fence: Some(fence.clone()) };
    for read in [Read::Load(there.key.clone()), Read::Exists(there.key.clone())] {
        assert!(f.database.read(vec![read.clone()], terms()).await.is_err(), "{read:?}");
    }
    assert!(f.database.write(vec![Write::Delete(there.key.clone())], terms()).await.is_err());
    if let Ok(mut transaction) = f.database.begin(terms()).await {
        assert!(transaction.lock(vec![there.key.clone()]).await.is_err());
    }
    assert_eq!(load(&*f.database, &there.key).await?, Some(there));
    Ok(())
}

async fn what_was_inserted_is_loaded(f: Fixture) -> Result<()> {
    let session = f.session(A, "first");
    assert_eq!(load(&*f.database, &session.key).await?, None);
    assert!(!exists(&*f.database, &session.key).await?);
    assert_eq!(write(&*f.database, Write::Insert(session.clone())).await?, WriteOutcome::Done(Some(session.clone())));
    assert_eq!(load(&*f.database, &session.key).await?, Some(session.clone()));
    assert!(exists(&*f.database, &session.key).await?);
    assert_eq!(load(&*f.database, &key(B)).await?, None);
    Ok(())
}

async fn insert_of_a_taken_key_is_exists_and_writes_nothing(f: Fixture) -> Result<()> {
    let first = f.session(A, "first");
    write(&*f.database, Write::Insert(first.clone())).await?;
    assert_eq!(write(&*f.database, Write::Insert(f.session(A, "second"))).await?, WriteOutcome::Exists);
    assert_eq!(load(&*f.database, &first.key).await?, Some(first));
    Ok(())
}

async fn update_changes_payload_and_expiry(f: Fixture) -> Result<()> {
    write(&*f.database, Write::Insert(f.session(A, "first"))).await?;
    let mut second = f.session(A, "second");
    second.expires_at = second.expires_at.minus(std::time::Duration::from_secs(60));
    assert_eq!(write(&*f.database, Write::Update(second.clone())).await?, WriteOutcome::Done(Some(second.clone())));
    assert_eq!(load(&*f.database, &second.key).await?, Some(second));
    Ok(())
}

async fn update_of_a_missing_row_is_missing_and_never_an_insert(f: Fixture) -> Result<()> {
    let session = f.session(A, "first");
    assert_eq!(write(&*f.database, Write::Update(session.clone())).await?, WriteOutcome::Missing);
    assert_eq!(
        write(&*f.database, Write::Touch(session.key.clone(), session.expires_at)).await?,
        WriteOutcome::Missing
    );
    assert_eq!(write(&*f.database, Write::Delete(session.key.clone())).await?, WriteOutcome::Missing);
    assert_eq!(row(&*f.database, &session.key).await?, None);
    assert!(!exists(&*f.database, &session.key).await?);
    Ok(())
}

async fn upsert_inserts_and_updates(f: Fixture) -> Result<()> {
    for payload in ["first", "second"] {
        let session = f.session(A, payload);
        assert_eq!(
            write(&*f.database, Write::Upsert(session.clone())).await?,
            WriteOutcome::Done(Some(session.clone()))
        );
        assert_eq!(load(&*f.database, &session.key).await?, Some(session));
    }
    Ok(())
}

async fn touch_moves_the_expiry_and_leaves_the_payload(f: Fixture) -> Result<()> {
    let mut session = f.session(A, "first");
    write(&*f.database, Write::Insert(session.clone())).await?;
    session.expires_at = session.expires_at.plus(std::time::Duration::from_micros(1));
    let touched = write(&*f.database, Write::Touch(session.key.clone(), session.expires_at)).await?;
    assert_eq!(touched, WriteOutcome::Done(Some(session.clone())));
    assert_eq!(load(&*f.database, &session.key).await?, Some(session));
    Ok(())
}

async fn touch_never_shortens(f: Fixture) -> Result<()> {
    let session = f.session(A, "first");
    write(&*f.database, Write::Insert(session.clone())).await?;
    for earlier in [0, 1, 1_000_000] {
        let earlier = session.expires_at.minus(std::time::Duration::from_micros(earlier));
        let touched = write(&*f.database, Write::Touch(session.key.clone(), earlier)).await?;
        assert_eq!(touched, WriteOutcome::Done(Some(session.clone())));
    }
    assert_eq!(load(&*f.database, &session.key).await?, Some(session));
    Ok(())
}

async fn delete_leaves_nothing(f: Fixture) -> Result<()> {
    let (a, b) = (f.session(A, "first"), f.session(B, "second"));
    write(&*f.database, Write::Insert(a.clone())).await?;
    write(&*f.database, Write::Insert(b.clone())).await?;
    assert_eq!(write(&*f.database, Write::Delete(a.key.clone())).await?, WriteOutcome::Done(None));
    assert!(!exists(&*f.database, &a.key).await?);
    assert_eq!(write(&*f.database, Write::Delete(a.key.clone())).await?, WriteOutcome::Missing);
    assert_eq!(load(&*f.database, &b.key).await?, Some(b));
    Ok(())
}

async fn lock_answers_the_row_and_leaves_it(f: Fixture) -> Result<()> {
    let session = f.session(A, "first");
    write(&*f.database, Write::Insert(session.clone())).await?;
    assert_eq!(row(&*f.database, &session.key).await?, Some(session.clone()));
    assert_eq!(load(&*f.database, &session.key).await?, Some(session));
    Ok(())
}

async fn batch_is_answered_in_its_order(f: Fixture) -> Result<()> {
    let sessions: Vec<_> = ["c", "a", "d", "b"].map(|letter| f.session(&letter.repeat(8), letter)).into();
    write(&*f.database, Write::Insert(sessions[0].clone())).await?;
    let batch = vec![
        Write::Insert(sessions[0].clone()),
        Write::Upsert(sessions[1].clone()),
        Write::Update(sessions[2].clone()),
        Write::Insert(sessions[3].clone()),
    ];
    let outcomes = f.database.write(batch, Terms::by(soon())).await?;
    let done = |at: usize| WriteOutcome::Done(Some(sessions[at].clone()));
    assert_eq!(outcomes, [WriteOutcome::Exists, done(1), WriteOutcome::Missing, done(3)]);

    let reads =
        sessions.iter().flat_map(|session| [Read::Exists(session.key.clone()), Read::Load(session.key.clone())]);
    let found = f.database.read(reads.collect(), Terms::by(soon())).await?;
    let expected = sessions.iter().enumerate().flat_map(|(at, session)| {
        let there = at != 2;
        [ReadOutcome::Exists(there), ReadOutcome::Session(there.then(|| session.clone()))]
    });
    assert_eq!(found, expected.collect::<Vec<_>>());
    Ok(())
}

async fn batch_of_a_thousand_is_one_answer(f: Fixture) -> Result<()> {
    let sessions: Vec<_> = (0..1_000).map(|at| f.session(&format!("key{at:05}"), "payload")).collect();
    let outcomes = f.database.write(sessions.iter().cloned().map(Write::Insert).collect(), Terms::by(soon())).await?;
    assert_eq!(outcomes, sessions.iter().cloned().map(Some).map(WriteOutcome::Done).collect::<Vec<_>>());
    let reads = sessions.iter().map(|session| Read::Load(session.key.clone())).collect();
    let found = f.database.read(reads, Terms::by(soon())).await?;
    assert_eq!(found, sessions.into_iter().map(Some).map(ReadOutcome::Session).collect::<Vec<_>>());
    Ok(())
}

async fn empty_batch_is_an_empty_answer(f: Fixture) -> Result<()> {
    assert_eq!(f.database.read(Vec::new(), Terms::by(soon())).await?, []);
    assert_eq!(f.database.write(Vec::new(), Terms::by(soon())).await?, []);
    let held = hold(&*f.database, Vec::new(), soon()).await?;
    assert_eq!(held.outcomes(), []);
    held.commit().await?;
    Ok(())
}

async fn any_payload_comes_back_as_it_was(f: Fixture) -> Result<()> {
    let mebibyte = "é漢😀x".repeat((1 << 20) / 10);
    let vector = "eyJhIjoxfQ:1r31eq:QfiIuvoha4qOMvGtdweanTG0AUN7_o0lO24GxeLcaH8";
    for payload in ["", " ", "é漢😀\u{10ffff}", "' OR 1=1; --\n\r\t\\\"", "123", "1e3", "NULL", vector, &mebibyte] {
        let session = f.session(A, payload);
        write(&*f.database, Write::Upsert(session.clone())).await?;
        let loaded = load(&*f.database, &session.key).await?;
        assert!(loaded == Some(session), "a payload of {} bytes changed", payload.len());
    }
    Ok(())
}

async fn keys_of_every_length_are_told_apart(f: Fixture) -> Result<()> {
    // Also keys that a column would make equal if it took text for a number.
    let keys = ["00000001", "000000010", "1e100000", "10e10000", "zzzzzzzz", "zzzzzzzzz"].map(str::to_owned);
    let keys: Vec<_> = keys.into_iter().chain((8..=40).map(|length| "q".repeat(length))).collect();
    for key in &keys {
        let session = f.session(key, key);
        assert_eq!(write(&*f.database, Write::Insert(session.clone())).await?, WriteOutcome::Done(Some(session)));
    }
    for text in &keys {
        let found = load(&*f.database, &key(text)).await?;
        assert_eq!(found.map(|session| session.payload.as_text().unwrap_or_default().to_owned()).as_ref(), Some(text));
    }
    Ok(())
}

async fn scan_pages_through_the_table_in_the_order_of_keys(f: Fixture) -> Result<()> {
    let ended = session("key00003", "ended", f.now());
    let sessions: Vec<_> =
        (0..10).filter(|at| *at != 3).map(|at| f.session(&format!("key{at:05}"), "payload")).collect();
    let shuffled = sessions.iter().rev().chain([&ended]).cloned().map(Write::Insert).collect();
    f.database.write(shuffled, Terms::by(soon())).await?;

    let (mut found, mut expired, mut after) = (Vec::new(), 0, None);
    for _ in 0..=sessions.len() {
        let page = f.database.upkeep().scan(after, 4, soon()).await?;
        assert!(page.sessions.len() <= 4);
        assert_eq!(page.unreadable, []);
        expired += page.expired;
        found.extend(page.sessions);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(after, None);
    assert_eq!((found, expired), (sessions, 1));
    Ok(())
}

async fn scan_of_exactly_a_page_has_no_next(f: Fixture) -> Result<()> {
    assert_eq!(f.database.upkeep().scan(None, 2, soon()).await?.next, None);
    let sessions = [f.session(A, "first"), f.session(B, "second")];
    f.database.write(sessions.iter().cloned().map(Write::Insert).collect(), Terms::by(soon())).await?;
    let page = f.database.upkeep().scan(None, 2, soon()).await?;
    assert_eq!((page.sessions.as_slice(), page.next), (&sessions[..], None));
    let page = f.database.upkeep().scan(None, 1, soon()).await?;
    assert_eq!(page.sessions.as_slice(), &sessions[..1]);
    let page = f.database.upkeep().scan(Some(page.next.context("there is one more")?), 1, soon()).await?;
    assert_eq!((page.sessions.as_slice(), page.next), (&sessions[1..], None));
    Ok(())
}

async fn schema_is_made_once(f: Fixture) -> Result<()> {
    write(&*f.database, Write::Insert(f.session(A, "first"))).await?;
    assert_eq!(f.database.upkeep().missing_schema(soon()).await?, [""; 0]);
    assert_eq!(f.database.upkeep().create_schema(soon()).await?, [""; 0]);
    assert!(exists(&*f.database, &key(A)).await?);
    Ok(())
}

async fn one_of_many_inserts_wins(f: Fixture) -> Result<()> {
    let mut tasks = JoinSet::new();
    for at in 0..64 {
        let (database, session) = (Arc::clone(&f.database), f.session(A, &format!("task {at}")));
        tasks.spawn(async move { write(&*database, Write::Insert(session)).await });
    }
    let outcomes = tasks.join_all().await.into_iter().collect::<Result<Vec<_>, _>>()?;
    let winners: Vec<_> = outcomes.into_iter().filter(|outcome| *outcome != WriteOutcome::Exists).collect();
    assert_eq!(winners, [WriteOutcome::Done(load(&*f.database, &key(A)).await?)]);
    Ok(())
}

async fn inserts_and_deletes_at_once_add_up(f: Fixture) -> Result<()> {
    let mut tasks = JoinSet::new();
    for at in 0..64 {
        let (database, session) = (Arc::clone(&f.database), f.session(A, &format!("task {at}")));
        tasks.spawn(async move {
            let mut rows = 0_i32;
            for turn in 0..20 {
                let inserts = (at + turn) % 2 == 0;
                let operation =
                    if inserts { Write::Insert(session.clone()) } else { Write::Delete(session.key.clone()) };
                match write(&*database, operation).await? {
                    WriteOutcome::Done(_) if inserts => rows += 1,
                    WriteOutcome::Done(_) => rows -= 1,
                    WriteOutcome::Exists => assert!(inserts),
                    WriteOutcome::Missing => assert!(!inserts),
                }
            }
            Ok::<_, DatabaseError>(rows)
        });
    }
    let rows = tasks.join_all().await.into_iter().sum::<Result<i32, _>>()?;
    assert_eq!(rows, i32::from(exists(&*f.database, &key(A)).await?));
    Ok(())
}

async fn many_keys_at_once_lose_nothing(f: Fixture) -> Result<()> {
    let mut tasks = JoinSet::new();
    for at in 0..64 {
        let (database, first) = (Arc::clone(&f.database), f.session(&format!("key{at:05}"), "0"));
        tasks.spawn(async move {
            write(&*database, Write::Insert(first.clone())).await?;
            for turn in 1..20 {
                let next = session(first.key.expose(), &turn.to_string(), first.expires_at);
                let outcome = write(&*database, Write::Update(next.clone())).await?;
                assert_eq!(outcome, WriteOutcome::Done(Some(next.clone())));
                assert_eq!(load(&*database, &next.key).await?, Some(next), "an acknowledged write is there");
            }
            Ok::<_, DatabaseError>(())
        });
    }
    tasks.join_all().await.into_iter().collect::<Result<(), _>>()?;
    let page = f.database.upkeep().scan(None, 100, soon()).await?;
    assert_eq!(page.sessions.len(), 64);
    assert!(page.sessions.iter().all(|session| session.payload.as_text().unwrap_or_default() == "19"));
    Ok(())
}

async fn deadline_in_the_past_does_nothing(f: Fixture) -> Result<()> {
    let session = f.session(A, "first");
    let past = Instant::now();
    let insert = || vec![Write::Insert(session.clone())];
    assert_eq!(f.database.write(insert(), Terms::by(past)).await, Err(DatabaseError::Timeout));
    assert_eq!(error_of(hold(&*f.database, insert(), past).await)?, DatabaseError::Timeout);
    let read = vec![Read::Exists(session.key.clone())];
    assert_eq!(f.database.read(read, Terms::by(past)).await, Err(DatabaseError::Timeout));
    assert_eq!(f.database.upkeep().delete_expired(None, 1, past).await, Err(DatabaseError::Timeout));
    assert_eq!(f.database.upkeep().scan(None, 1, past).await, Err(DatabaseError::Timeout));
    assert_eq!(f.database.upkeep().missing_schema(past).await, Err(DatabaseError::Timeout));
    assert_eq!(f.database.upkeep().create_schema(past).await, Err(DatabaseError::Timeout));
    assert!(!exists(&*f.database, &session.key).await?);
    Ok(())
}

async fn closed_database_is_unavailable(f: Fixture) -> Result<()> {
    let session = f.session(A, "first");
    write(&*f.database, Write::Insert(session.clone())).await?;
    tokio::join!(f.database.close(), f.database.close());
    f.database.close().await;

    let closed = |error: Option<DatabaseError>| matches!(error, Some(DatabaseError::Unavailable { .. }));
    let update = || vec![Write::Update(session.clone())];
    assert!(closed(f.database.write(update(), Terms::by(soon())).await.err()));
    assert!(closed(hold(&*f.database, update(), soon()).await.err()));
    assert!(closed(f.database.read(vec![Read::Load(session.key.clone())], Terms::by(soon())).await.err()));
    assert!(closed(f.database.upkeep().delete_expired(None, 1, soon()).await.err()));
    assert!(closed(f.database.upkeep().scan(None, 1, soon()).await.err()));
    assert!(closed(f.database.upkeep().missing_schema(soon()).await.err()));
    assert!(closed(f.database.upkeep().create_schema(soon()).await.err()));
    Ok(())
}

async fn summary_names_no_key(f: Fixture) -> Result<()> {
    write(&*f.database, Write::Insert(f.session(A, "secret"))).await?;
    let summary = f.database.summary();
    assert!(!summary.is_empty() && !summary.contains(A) && !summary.contains("secret"), "{summary}");
    Ok(())
}
