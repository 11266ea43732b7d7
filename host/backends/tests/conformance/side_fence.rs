//! The side tables of a migration: how they are made, and the fence, which refuses a lower epoch.

use std::sync::Arc;

use anyhow::{Context, Result};
use sqlx::{Executor as _, Row as _};
use switchover_backends::Postgres;
use switchover_core::Layout;
use switchover_core::capabilities::{
    Database, DatabaseError, Epoch, Fence, LockPurpose, Number, Read, ReadOutcome, Side, Terms, Write,
};
use tokio::task::JoinSet;

use super::fixture::{exists, key, load, new_table, soon, within};
use super::side_fixture::{Place, Site, postgres, side, waits, with};

on_each! {
    lower_epoch_and_a_missing_fence_are_refused_by_every_operation,
    reads_of_two_epochs_that_wait_together_are_told_apart,
    raise_waits_for_a_writer_and_later_writers_queue_behind_it,
    raise_that_waits_for_too_long_steps_back,
    sealed_table_tells_a_forgotten_program_where_the_sessions_are,
}

#[tokio::test(flavor = "multi_thread")]
async fn side_tables_are_made_once_and_shown_before() -> Result<()> {
    let site = Site::of(Place::Postgres, Layout::SWITCHOVER).await?;
    assert_eq!(side(&*site.one).missing(soon()).await?, Vec::<String>::new());
    assert_eq!(side(&*site.one).prepare(soon()).await?, Vec::<String>::new());
    let table = new_table();
    let third = Postgres::builder(&site.url).table(&table).connect().await?;
    let shown = side(&third).missing(soon()).await?;
    // The tables are there already; the functions are those of one session table.
    assert!(shown.len() == 2 && shown.iter().all(|one| one.starts_with("CREATE OR REPLACE FUNCTION")), "{shown:?}");
    third.upkeep().create_schema(soon()).await?;
    let refused = third.write(vec![Write::Delete(key("aaaaaaaa"))], site.terms(1)).await;
    assert!(matches!(refused, Err(DatabaseError::Corrupt { .. })), "{refused:?}");
    side(&*site.one).make_fence(Arc::clone(&site.migration), soon()).await?;
    assert_eq!(side(&*site.one).fence(Arc::clone(&site.migration), soon()).await?, Some(Epoch(1)));
    Ok(())
}

async fn lower_epoch_and_a_missing_fence_are_refused_by_every_operation(place: Place) -> Result<()> {
    let mut site = Site::new(place).await?;
    let session = with("aaaaaaaa", "v1");
    site.one.write(vec![Write::Insert(session.clone())], site.terms(1)).await?;
    assert_eq!(side(&*site.one).raise(site.fence(5), soon()).await?, Epoch(5));
    assert_eq!(side(&*site.one).raise(site.fence(3), soon()).await?, Epoch(5), "a fence never falls");
    let missing = Fence { migration: "none".into(), epoch: Epoch(9) };
    for fence in [site.fence(4), missing] {
        let terms = Terms { deadline: soon(), fence: Some(fence.clone()) };
        let delete = || vec![Write::Delete(key("aaaaaaaa"))];
        let sides = side(&*site.one);
        let refused = [
            site.one.read(vec![Read::Load(key("aaaaaaaa"))], terms.clone()).await.err(),
            site.one.read(vec![Read::Exists(key("aaaaaaaa"))], terms.clone()).await.err(),
            site.one.write(delete(), terms.clone()).await.err(),
            site.one.write(delete(), Terms { deadline: within(200), ..terms.clone() }).await.err(),
            site.one.begin(terms.clone()).await?.write(delete()).await.err(),
            sides.write_marked(delete(), Side::Old, fence.clone(), soon()).await.err(),
            sides.write_numbered(vec![(delete().remove(0), Number(1))], fence.clone(), soon()).await.err(),
            sides.marks(fence.clone(), 1, soon()).await.err(),
            sides.count_marks(fence.clone(), soon()).await.err(),
            sides.clear_marks(Vec::new(), fence.clone(), soon()).await.err(),
        ];
        assert!(refused.iter().all(|error| *error == Some(DatabaseError::Fenced)), "{refused:?}");
    }
    assert_eq!(side(&*site.one).raise(Fence { migration: "none".into(), epoch: Epoch(1) }, soon()).await.err(), {
        Some(DatabaseError::Fenced)
    });
    assert_eq!(load(&*site.one, &key("aaaaaaaa")).await?, Some(session.clone()));
    assert_eq!(site.number("aaaaaaaa").await?, None);
    // A load under the epoch in force tells "no session" and "fenced" apart.
    let loads = [&session.key, &key("bbbbbbbb")].map(|key| Read::Load(key.clone()));
    let loaded = site.one.read(loads.to_vec(), site.terms(5)).await?;
    assert_eq!(loaded, [ReadOutcome::Session(Some(session)), ReadOutcome::Session(None)]);
    let none = site.one.read(vec![Read::Load(key("bbbbbbbb")), Read::Exists(key("bbbbbbbb"))], site.terms(6)).await?;
    assert_eq!(none, [ReadOutcome::Session(None), ReadOutcome::Exists(false)]);
    Ok(())
}

async fn reads_of_two_epochs_that_wait_together_are_told_apart(place: Place) -> Result<()> {
    let site = Site::new(place).await?;
    side(&*site.one).raise(site.fence(2), soon()).await?;
    let mut tasks = JoinSet::new();
    for at in 0..64 {
        let (host, epoch) = (site.one.clone(), 1 + at % 2);
        let terms = site.terms(epoch);
        tasks.spawn(async move {
            let read = host.read(vec![Read::Load(key("aaaaaaaa"))], terms.clone()).await.map(drop);
            (epoch, read, host.write(vec![Write::Delete(key(&format!("key{at:05}")))], terms).await.map(drop))
        });
    }
    for (epoch, read, written) in tasks.join_all().await {
        let expected = if epoch == 2 { Ok(()) } else { Err(DatabaseError::Fenced) };
        assert_eq!((&read, &written), (&expected, &expected), "epoch {epoch}");
    }
    Ok(())
}

async fn raise_waits_for_a_writer_and_later_writers_queue_behind_it(place: Place) -> Result<()> {
    let site = Site::new(place).await?;
    site.one.write(vec![Write::Insert(with("aaaaaaaa", "v1"))], site.terms(1)).await?;
    let mut held = site.one.begin(site.terms(1)).await?;
    held.write(vec![Write::Update(with("aaaaaaaa", "v2"))]).await?;
    let raise = {
        let (other, fence) = (site.other.clone(), site.fence(2));
        tokio::spawn(async move { side(&*other).raise(fence, soon()).await })
    };
    assert!(waits(&raise).await, "a raise must wait for a transaction that has the fence's lock");
    let write = {
        let (other, terms) = (site.other.clone(), site.terms(1));
        tokio::spawn(async move { other.write(vec![Write::Insert(with("bbbbbbbb", "v1"))], terms).await })
    };
    assert!(waits(&write).await, "a writer must not overtake the raise");
    held.commit().await?;
    assert_eq!(raise.await??, Epoch(2));
    assert_eq!(write.await?, Err(DatabaseError::Fenced));
    Ok(())
}

async fn raise_that_waits_for_too_long_steps_back(place: Place) -> Result<()> {
    let site = Site::new(place).await?;
    let mut held = site.one.begin(site.terms(1)).await?;
    held.write(vec![Write::Insert(with("aaaaaaaa", "v1"))]).await?;
    let stepped_back = side(&*site.other).raise(site.fence(2), within(1_000)).await;
    assert!(matches!(stepped_back, Err(DatabaseError::Conflict { .. })), "{stepped_back:?}");
    // The lock is free again for writers; those of a file wait for each other all the same.
    if place != Place::Sqlite {
        site.other.write(vec![Write::Insert(with("bbbbbbbb", "v1"))], site.terms(1)).await?;
    }
    held.commit().await?;
    assert_eq!(side(&*site.one).fence(Arc::clone(&site.migration), soon()).await?, Some(Epoch(1)));
    Ok(())
}

async fn sealed_table_tells_a_forgotten_program_where_the_sessions_are(place: Place) -> Result<()> {
    let mut site = Site::new(place).await?;
    site.one.write(vec![Write::Insert(with("aaaaaaaa", "v1"))], site.terms(1)).await?;
    for _ in 0..2 {
        side(&*site.one).seal("the sessions' table has moved to elsewhere".to_owned(), soon()).await?;
    }
    for write in ["INSERT INTO {} VALUES ('bbbbbbbb', 'v', '2096-01-01')", "UPDATE {} SET session_data = 'v2'"] {
        let refused = site.execute(&write.replace("{}", &site.table.clone())).await.expect_err("it is sealed");
        assert!(format!("{refused:#}").contains("table has moved to elsewhere"), "{refused:#}");
    }
    let refused = site.other.write(vec![Write::Update(with("aaaaaaaa", "v2"))], site.terms(1)).await;
    assert!(matches!(refused, Err(DatabaseError::Corrupt { .. })), "{refused:?}");
    assert_eq!(load(&*site.one, &key("aaaaaaaa")).await?, Some(with("aaaaaaaa", "v1")));
    let feeds = site.one.upkeep().feeds(soon()).await?;
    assert!(!feeds.outgoing.iter().any(|feed| feed.contains("sealed")), "a seal carries nothing away: {feeds:?}");
    site.execute(&format!("DELETE FROM {}", site.table)).await?;
    assert!(!exists(&*site.one, &key("aaaaaaaa")).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_on_the_connection() -> Result<()> {
    let mut site = Site::new(Place::Postgres).await?;
    let host = Postgres::builder(&site.url).table(&site.table).application_name("left").connect().await?;
    let save = || vec![Write::Upsert(with("aaaaaaaa", "v1"))];
    host.write(save(), site.terms(1)).await?;
    side(&host).write_marked(save(), Side::New, site.fence(1), soon()).await?;
    side(&host).write_numbered(vec![(save().remove(0), Number(9))], site.fence(1), soon()).await?;
    side(&host).write_numbered(vec![(save().remove(0), Number(9))], site.fence(1), soon()).await?;
    let (mut held, _) = site.locked(&host, &["aaaaaaaa"], LockPurpose::Write).await?;
    held.write(save()).await?;
    held.commit().await?;
    side(&host).raise(site.fence(1), soon()).await?;
    let sql = "SELECT count(*) FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid) \
               WHERE a.application_name = 'left' AND (l.locktype = 'advisory' OR a.state <> 'idle')";
    let left: i64 = postgres(&mut site.raw).fetch_one(sql).await?.try_get(0).context("a count")?;
    assert_eq!(left, 0);
    Ok(())
}
