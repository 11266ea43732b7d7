//! Key locks and numbers of a migration: one write of both databases at a time, and none that is late.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use sqlx::{Connection as _, Executor as _, PgConnection};
use switchover_core::capabilities::{
    Epoch, Fence, KeyLock, LockPurpose, LockedKey, Number, Numbered, Side, Write, WriteOutcome,
};
use switchover_core::{Session, SessionKey};

use super::fixture::{exists, key, load, soon, within};
use super::side_fixture::{Place, Site, postgres, side, waits, with};

on_each! {
    absent_keys_are_locked_too,
    late_number_refuses_the_whole_batch_and_tells_the_key_its_number,
    write_of_both_databases_counts_and_clears_the_marks_of_what_it_writes,
}

async fn absent_keys_are_locked_too(place: Place) -> Result<()> {
    let site = Site::new(place).await?;
    let (mut held, _) = site.locked(&*site.one, &["aaaaaaaa"], LockPurpose::Write).await?;
    let create = {
        let (other, fence) = (site.other.clone(), site.fence(1));
        let batch = vec![Write::Insert(with("aaaaaaaa", "second"))];
        tokio::spawn(async move { side(&*other).write_marked(batch, Side::Old, fence, soon()).await })
    };
    assert!(waits(&create).await, "nobody may create a key that somebody has locked");
    held.write(vec![Write::Insert(with("aaaaaaaa", "first"))]).await?;
    held.commit().await?;
    assert_eq!(create.await??, [WriteOutcome::Exists]);
    assert_eq!(load(&*site.one, &key("aaaaaaaa")).await?, Some(with("aaaaaaaa", "first")));
    assert_eq!(site.marked().await?, Vec::<SessionKey>::new());
    Ok(())
}

async fn late_number_refuses_the_whole_batch_and_tells_the_key_its_number(place: Place) -> Result<()> {
    let mut site = Site::new(place).await?;
    let (a, b) = (with("aaaaaaaa", "v1"), with("bbbbbbbb", "v1"));
    let put = |session: &Session| Write::Upsert(session.clone());
    let done = site.number_write(vec![(put(&b), 7), (put(&a), 1)]).await?;
    assert_eq!(done, Numbered::Done(vec![WriteOutcome::Done(Some(b.clone())), WriteOutcome::Done(Some(a.clone()))]));
    for late in [6, 7] {
        for patience in [soon(), within(200)] {
            let batch = vec![
                (Write::Delete(a.key.clone()), Number(2)),
                (Write::Delete(b.key.clone()), Number(late)),
                (put(&with("cccccccc", "v1")), Number(1)),
            ];
            let refused = side(&*site.one).write_numbered(batch, site.fence(1), patience).await?;
            assert_eq!(refused, Numbered::Late(vec![(b.key.clone(), Number(7))]));
        }
    }
    assert_eq!(load(&*site.one, &a.key).await?, Some(a.clone()));
    assert_eq!(load(&*site.one, &b.key).await?, Some(b.clone()));
    assert!(!exists(&*site.one, &key("cccccccc")).await?);
    assert_eq!((site.number("aaaaaaaa").await?, site.number("cccccccc").await?), (Some(1), None));
    // The number is kept also where there is nothing to write.
    assert_eq!(
        site.number_write(vec![(Write::Update(with("dddddddd", "v1")), 4)]).await?,
        Numbered::Done(vec![WriteOutcome::Missing])
    );
    assert_eq!(site.number("dddddddd").await?, Some(4));
    Ok(())
}

async fn write_of_both_databases_counts_and_clears_the_marks_of_what_it_writes(place: Place) -> Result<()> {
    let mut site = Site::new(place).await?;
    let marked = ["aaaaaaaa", "bbbbbbbb", "cccccccc"];
    site.mark(Side::Old, marked.map(|key| Write::Upsert(with(key, "v1"))).to_vec()).await?;
    site.one.write(vec![Write::Delete(key("bbbbbbbb"))], site.terms(1)).await?;
    let (mut transaction, locked) = site.locked(&*site.one, &marked, LockPurpose::Write).await?;
    assert_eq!(locked, vec![LockedKey { number: Number(1), row: None }; 3]);
    let outcomes = transaction.write(marked.map(|key| Write::Update(with(key, "v2"))).to_vec()).await?;
    assert!(matches!(outcomes[1], WriteOutcome::Missing), "{outcomes:?}");
    assert_eq!(site.marked().await?.len(), 3, "nothing is cleared before the commit");
    transaction.commit().await?;
    assert_eq!(site.marked().await?, [key("bbbbbbbb")], "a refused key keeps its mark");
    // What new is known to have executed is passed over; a roll-back undoes the number.
    for (known, end) in [(0, false), (0, true), (9, true), (0, true)] {
        let mut transaction = side(&*site.one).begin_with_keys(site.fence(1), soon()).await?;
        let lock = KeyLock { key: key("aaaaaaaa"), known: Number(known) };
        let locked = transaction.lock_keys(vec![lock], LockPurpose::Write).await?;
        let last = if known == 9 { 10 } else { locked[0].number.0 };
        assert_eq!(locked[0].number, Number(last));
        if end { transaction.commit().await? } else { transaction.roll_back().await }
    }
    assert_eq!(site.number("aaaaaaaa").await?, Some(11));
    Ok(())
}

/// While a table is small, a server may read all of it instead of using an index, and wait for what others have locked.
#[tokio::test(flavor = "multi_thread")]
async fn writes_of_other_keys_are_not_waited_for_in_a_small_table() -> Result<()> {
    for place in [Place::Postgres, Place::MariaDb] {
        let site = Site::new(place).await?;
        let keys: Vec<String> = (0..8).map(|at| format!("key0000{at}")).collect();
        let puts = |odd: usize, payload: &'static str| {
            keys.iter().skip(odd).step_by(2).map(move |key| Write::Upsert(with(key, payload))).collect::<Vec<_>>()
        };
        site.mark(Side::Old, [puts(0, "v1"), puts(1, "v1")].concat()).await?;
        let locked = async |host, odd| {
            let keys: Vec<&str> = keys.iter().skip(odd).step_by(2).map(String::as_str).collect();
            site.locked(host, &keys, LockPurpose::Write).await.with_context(|| format!("{place:?}"))
        };
        let (mut one, _) = locked(&*site.one, 0).await?;
        let (mut other, _) = locked(&*site.other, 1).await?;
        other.write(puts(1, "v2")).await.with_context(|| format!("{place:?}"))?;
        one.write(puts(0, "v2")).await.with_context(|| format!("{place:?}"))?;
        other.commit().await?;
        one.commit().await?;
        assert_eq!(site.marked().await?, Vec::<SessionKey>::new());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_reads_the_row_and_does_not_wait_for_a_lock_on_it() -> Result<()> {
    let mut site = Site::new(Place::Postgres).await?;
    let session = with("aaaaaaaa", "v1");
    site.mark(Side::Old, vec![Write::Insert(session.clone())]).await?;
    // A host in `off` locks the session row alone.
    let mut off = postgres(&mut site.raw).begin().await?;
    off.execute(format!("SELECT FROM {} WHERE session_key = 'aaaaaaaa' FOR UPDATE", site.table).as_str()).await?;
    let keys = ["bbbbbbbb", "aaaaaaaa"];
    let mut copy = side(&*site.one)
        .begin_with_keys(Fence { migration: Arc::clone(&site.migration), epoch: Epoch(1) }, soon())
        .await?;
    let locks = keys.map(|text| KeyLock { key: key(text), known: Number(0) }).to_vec();
    let locked = copy.lock_keys(locks, LockPurpose::CopyToNew).await?;
    assert_eq!(locked[0], LockedKey { number: Number(1), row: None });
    assert_eq!(locked[1], LockedKey { number: Number(1), row: Some(session) });
    copy.clear_locked(vec![key("aaaaaaaa")]).await?;
    copy.commit().await?;
    off.rollback().await?;
    assert_eq!(site.marked().await?, Vec::<SessionKey>::new());
    // The other way, no number changes.
    let (copy, locked) = site.locked(&*site.one, &["aaaaaaaa", "cccccccc"], LockPurpose::CopyToOld).await?;
    assert_eq!(locked.iter().map(|key| key.number.0).collect::<Vec<_>>(), [1, 0]);
    copy.roll_back().await;
    Ok(())
}

/// Hosts in `off` know no other lock than that of the session row.
#[tokio::test(flavor = "multi_thread")]
async fn session_row_is_locked_before_the_keys_row_at_old() -> Result<()> {
    let mut site = Site::new(Place::Postgres).await?;
    site.one.write(vec![Write::Insert(with("aaaaaaaa", "v1"))], site.terms(1)).await?;
    let mut probe = PgConnection::connect(&site.url).await?;
    probe.execute("SET lock_timeout = '20ms'").await?;
    for marks in [false, true] {
        let mut off = postgres(&mut site.raw).begin().await?;
        off.execute(format!("SELECT FROM {} WHERE session_key = 'aaaaaaaa' FOR UPDATE", site.table).as_str()).await?;
        let (host, fence) = (site.other.clone(), Fence { migration: Arc::clone(&site.migration), epoch: Epoch(1) });
        let waiting = tokio::spawn(async move {
            if marks {
                let batch = vec![Write::Update(with("aaaaaaaa", "v2"))];
                return side(&*host).write_marked(batch, Side::Old, fence, soon()).await.map(drop);
            }
            let mut transaction = side(&*host).begin_with_keys(fence, soon()).await?;
            let lock = KeyLock { key: key("aaaaaaaa"), known: Number(0) };
            transaction.lock_keys(vec![lock], LockPurpose::Write).await.map(drop)
        });
        assert!(waits(&waiting).await, "the session row is locked by a host in `off`");
        for _ in 0..10 {
            let sql = "INSERT INTO switchover_key (migration, session_key) VALUES ($1, 'aaaaaaaa') \
                       ON CONFLICT (migration, session_key) DO UPDATE SET number = switchover_key.number";
            sqlx::query(sql).bind(&*site.migration).execute(&mut probe).await.context("the key's row is locked")?;
            tokio::time::sleep(Duration::from_millis(13)).await;
        }
        off.rollback().await?;
        waiting.await??;
    }
    Ok(())
}
