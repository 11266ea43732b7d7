//! Marks of a migration: a write at home and its mark are one transaction, for many keys.

use std::time::Duration;

use anyhow::Result;
use sqlx::{Connection as _, Executor as _};
use switchover_backends::Postgres;
use switchover_core::capabilities::{
    Database, DatabaseError, Epoch, Fence, LockPurpose, Mark, Number, Numbered, Read, ReadOutcome, Side, Write,
    WriteOutcome,
};
use switchover_core::{Layout, Session, Timestamp};
use switchover_harness::{Direction, Proxy};
use tokio::task::JoinSet;

use super::fixture::{eventually, exists, key, load, soon, within};
use super::server_fixture::Kind;
use super::side_fixture::{Place, Site, postgres, side, waits, with};

on_each! {
    refused_key_costs_itself_alone_and_gets_no_mark,
    clear_with_an_old_token_keeps_the_mark,
    keys_are_told_apart_byte_for_byte_and_may_have_255_characters,
}

#[tokio::test(flavor = "multi_thread")]
async fn marked_write_of_many_keys_is_one_round_trip_and_one_commit() -> Result<()> {
    let mut site = Site::new(Place::Postgres).await?;
    let proxy = Proxy::start(Kind::Postgres.shared().await?.address()).await?;
    let builder =
        Postgres::builder(proxy.url_of(&site.url)?).table(&site.table).writers(1).application_name(&site.table);
    let host = builder.connect().await?;
    let batch = || (0..64).map(|at| Write::Upsert(with(&format!("key{at:05}"), "v"))).collect::<Vec<_>>();
    let mut trips = Vec::new();
    for home in [Side::Old, Side::Old, Side::New] {
        proxy.reset_counts();
        side(&host).write_marked(batch(), home, site.fence(1), soon()).await?;
        trips.push(proxy.counts().round_trips);
    }
    // The first one connects and prepares the statement.
    assert_eq!(trips[1..], [1, 1]);
    // Everything that one transaction writes has one number of a transaction.
    let sql = format!(
        "SELECT count(DISTINCT x) FROM (SELECT xmin::text AS x FROM {} UNION ALL \
         SELECT xmin::text FROM switchover_key WHERE migration = $1) AS all_rows",
        site.table
    );
    let transactions: i64 = sqlx::query_scalar(&sql).bind(&*site.migration).fetch_one(postgres(&mut site.raw)).await?;
    assert_eq!(transactions, 1);
    assert_eq!(side(&host).count_marks(site.fence(1), soon()).await?, 64);
    Ok(())
}

async fn refused_key_costs_itself_alone_and_gets_no_mark(place: Place) -> Result<()> {
    for home in [Side::Old, Side::New] {
        let mut site = Site::new(place).await?;
        site.one.write(vec![Write::Insert(with("aaaaaaaa", "v1"))], site.terms(1)).await?;
        let batch = vec![
            Write::Insert(with("aaaaaaaa", "v2")),
            Write::Update(with("bbbbbbbb", "v2")),
            Write::Insert(with("cccccccc", "v2")),
            Write::Touch(key("dddddddd"), Timestamp::MAX),
            Write::Delete(key("eeeeeeee")),
        ];
        let outcomes = site.mark(home, batch).await?;
        assert!(
            matches!(
                outcomes[..],
                [
                    WriteOutcome::Exists,
                    WriteOutcome::Missing,
                    WriteOutcome::Done(_),
                    WriteOutcome::Missing,
                    WriteOutcome::Missing
                ]
            ),
            "{outcomes:?}"
        );
        // A delete is never refused.
        assert_eq!(site.marked().await?, [key("cccccccc"), key("eeeeeeee")]);
        for refused in ["aaaaaaaa", "bbbbbbbb", "dddddddd"] {
            assert_eq!(site.number(refused).await?, None);
        }
        let counted = if home == Side::New { 1 } else { 0 };
        assert_eq!(site.number("cccccccc").await?, Some(counted));
        // A refused write leaves the mark of an earlier one as it is.
        let before = site.marks().await?;
        assert_eq!(site.mark(home, vec![Write::Insert(with("cccccccc", "v3"))]).await?, [WriteOutcome::Exists]);
        assert_eq!(site.marks().await?, before);
        assert_eq!(site.number("cccccccc").await?, Some(counted));
        site.mark(home, vec![Write::Update(with("cccccccc", "v4"))]).await?;
        assert_eq!(site.number("cccccccc").await?, Some(2 * counted));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn delete_that_waited_for_the_keys_row_sees_the_row_that_was_put_before() -> Result<()> {
    for home in [Side::Old, Side::New] {
        let mut site = Site::new(Place::Postgres).await?;
        // A put of another host, which has the key's row and not yet the session row.
        let mut transaction = postgres(&mut site.raw).begin().await?;
        let insert = "INSERT INTO switchover_key (migration, session_key, number) VALUES ($1, 'aaaaaaaa', 1)";
        sqlx::query(insert).bind(&*site.migration).execute(&mut *transaction).await?;
        let delete = {
            let (other, fence) = (site.other.clone(), Fence { migration: site.migration.clone(), epoch: Epoch(1) });
            let batch = vec![Write::Delete(key("aaaaaaaa"))];
            tokio::spawn(async move { side(&*other).write_marked(batch, home, fence, soon()).await })
        };
        assert!(waits(&delete).await, "the delete waits for the key's row");
        let put = format!("INSERT INTO {} VALUES ('aaaaaaaa', 'late', now() + interval '1 day')", site.table);
        transaction.execute(put.as_str()).await?;
        transaction.commit().await?;
        assert_eq!(delete.await??, [WriteOutcome::Done(None)]);
        assert!(!exists(&*site.one, &key("aaaaaaaa")).await?, "{home:?}: the row has come back");
    }
    Ok(())
}

async fn clear_with_an_old_token_keeps_the_mark(place: Place) -> Result<()> {
    let site = Site::new(place).await?;
    let save = |key: &str| Write::Upsert(with(key, "v"));
    site.mark(Side::Old, vec![save("bbbbbbbb")]).await?;
    site.mark(Side::Old, vec![save("aaaaaaaa")]).await?;
    let before = site.marks().await?;
    assert_eq!(before.iter().map(|mark| mark.key.clone()).collect::<Vec<_>>(), [key("bbbbbbbb"), key("aaaaaaaa")]);
    assert_eq!(side(&*site.one).marks(site.fence(1), 1, soon()).await?, before[..1]);
    site.mark(Side::Old, vec![save("bbbbbbbb")]).await?;
    assert_eq!(side(&*site.one).clear_marks(before, site.fence(1), soon()).await?, 1);
    assert_eq!(site.marked().await?, [key("bbbbbbbb")]);
    assert_eq!(side(&*site.one).clear_marks(site.marks().await?, site.fence(1), soon()).await?, 1);
    assert_eq!(side(&*site.one).count_marks(site.fence(1), soon()).await?, 0);
    Ok(())
}

/// A file has one writer, so a key that is held holds every key.
#[tokio::test(flavor = "multi_thread")]
async fn busy_key_costs_only_itself_on_servers() -> Result<()> {
    for place in [Place::Postgres, Place::MariaDb] {
        busy_key_costs_only_itself(place).await?;
    }
    Ok(())
}

async fn busy_key_costs_only_itself(place: Place) -> Result<()> {
    let site = Site::new(place).await?;
    let (held, _) = site.locked(&*site.one, &["key00000"], LockPurpose::Write).await?;
    let mut writes = JoinSet::new();
    for at in 0..40 {
        let (other, fence) = (site.other.clone(), site.fence(1));
        writes.spawn(async move {
            let batch = vec![Write::Insert(with(&format!("key{at:05}"), "v"))];
            let deadline = if at == 0 { within(1_500) } else { soon() };
            (at, side(&*other).write_marked(batch, Side::Old, fence, deadline).await)
        });
    }
    for (at, written) in writes.join_all().await {
        match written {
            Err(DatabaseError::Conflict { .. }) => assert_eq!(at, 0),
            written => assert!(at != 0 && written.is_ok(), "{at}: {written:?}"),
        }
    }
    held.roll_back().await;
    Ok(())
}

async fn keys_are_told_apart_byte_for_byte_and_may_have_255_characters(place: Place) -> Result<()> {
    let mut site = Site::of(place, Layout::SWITCHOVER).await?;
    let long = "K".repeat(255);
    let keys = ["Abc", "abc", "ABC", "a'b\\c\"", &long];
    let saved = keys.map(|key| Write::Insert(with(key, key)));
    site.mark(Side::Old, saved.to_vec()).await?;
    for other in keys {
        assert_eq!(load(&*site.one, &key(other)).await?, Some(with(other, other)));
    }
    let mut marked = site.marked().await?;
    marked.sort();
    let mut expected = keys.map(key);
    expected.sort();
    assert_eq!(marked, expected);
    site.number_write(vec![(Write::Delete(key("Abc")), 3), (Write::Delete(key(&long)), 4)]).await?;
    assert_eq!((site.number("Abc").await?, site.number("abc").await?), (Some(3), Some(0)));
    assert_eq!(site.number(&long).await?, Some(4));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn other_columns_are_written_by_marked_writes_too() -> Result<()> {
    let mut site = Site::new(Place::Postgres).await?;
    postgres(&mut site.raw).execute(format!("ALTER TABLE {} ADD epoch int DEFAULT 3", site.table).as_str()).await?;
    let fresh = Postgres::builder(&site.url).table(&site.table).connect().await?;
    assert_eq!(side(&fresh).prepare(soon()).await?.len(), 1, "only the function that writes has changed");
    let fence = site.fence(1);
    let insert = vec![Write::Insert(with("aaaaaaaa", "v1"))];
    side(&fresh).write_marked(insert, Side::Old, fence.clone(), soon()).await?;
    let loaded = fresh.read(vec![Read::Load(key("aaaaaaaa"))], site.terms(1)).await?;
    let [ReadOutcome::Session(Some(session))] = &loaded[..] else { panic!("{loaded:?}") };
    assert!(!session.others.is_empty());
    let whole = Session { key: key("bbbbbbbb"), ..session.clone() };
    let writes = [Write::Update(session.clone()), Write::Insert(whole.clone()), Write::Update(whole.clone())];
    let again = side(&fresh).write_marked(writes[..2].to_vec(), Side::Old, fence.clone(), soon()).await?;
    assert!(again.iter().all(|outcome| matches!(outcome, WriteOutcome::Done(_))), "{again:?}");
    assert_eq!(load(&fresh, &whole.key).await?, Some(whole.clone()));
    let mut batch = vec![(writes[2].clone(), Number(1)), (Write::Touch(key("aaaaaaaa"), Timestamp::MAX), Number(1))];
    let numbered = side(&fresh).write_numbered(std::mem::take(&mut batch), fence, soon()).await?;
    let Numbered::Done(outcomes) = numbered else { panic!("{numbered:?}") };
    let WriteOutcome::Done(Some(touched)) = &outcomes[1] else { panic!("{outcomes:?}") };
    assert_eq!((touched.expires_at, &touched.others), (Timestamp::MAX, &session.others));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn row_and_mark_are_read_together_and_a_suspect_key_is_marked_without_a_write() -> Result<()> {
    let mut site = Site::new(Place::Postgres).await?;
    postgres(&mut site.raw).execute(format!("ALTER TABLE {} ADD number int DEFAULT 3", site.table).as_str()).await?;
    let fresh = Postgres::builder(&site.url).table(&site.table).connect().await?;
    side(&fresh).prepare(soon()).await?;
    fresh
        .write(vec![Write::Insert(with("aaaaaaaa", "v1")), Write::Insert(with("bbbbbbbb", "v1"))], site.terms(1))
        .await?;
    side(&fresh).mark(vec![key("cccccccc"), key("bbbbbbbb")], Side::New, site.fence(1), soon()).await?;
    let asked = ["cccccccc", "aaaaaaaa", "dddddddd", "bbbbbbbb"].map(key).to_vec();
    let rows = side(&fresh).rows(asked.clone(), site.fence(1), soon()).await?;
    let found: Vec<_> = rows.iter().map(|row| row.row.as_ref().map(Option::is_some)).collect();
    assert_eq!(found, [Ok(false), Ok(true), Ok(false), Ok(true)]);
    let tokens: Vec<_> = rows.iter().map(|row| row.token).collect();
    assert!(matches!(tokens[..], [Some(_), None, None, Some(_)]), "{tokens:?}");
    let mark = |at: usize| tokens[at].map(|token| Mark { key: asked[at].clone(), token });
    let mut marks = side(&fresh).marks(site.fence(1), 9, soon()).await?;
    marks.sort_by(|one, other| one.key.cmp(&other.key));
    assert_eq!(marks, [mark(3), mark(0)].into_iter().flatten().collect::<Vec<_>>());
    assert_eq!(load(&fresh, &key("bbbbbbbb")).await?.map(|row| row.payload), Some(with("bbbbbbbb", "v1").payload));
    let fenced = side(&fresh).rows(asked, site.fence(0), soon()).await;
    assert_eq!(fenced, Err(DatabaseError::Fenced));
    Ok(())
}

/// As a plain write: a server that was paused does not execute it when nobody waits for it any more.
#[tokio::test(flavor = "multi_thread")]
async fn write_under_a_fence_that_comes_after_its_deadline_is_not_made() -> Result<()> {
    let mut site = Site::new(Place::Postgres).await?;
    let proxy = Proxy::start(Kind::Postgres.shared().await?.address()).await?;
    // One lane of each kind, so that the late write goes where the statement is prepared.
    let host = Postgres::builder(proxy.url_of(&site.url)?).table(&site.table).writers(1).holders(1).connect().await?;
    for numbered in [false, true] {
        let write = async |text: &str, milliseconds| {
            let write = Write::Insert(with(text, "v1"));
            if numbered {
                let batch = vec![(write, Number(1))];
                return side(&host).write_numbered(batch, site.fence(1), within(milliseconds)).await.map(drop);
            }
            side(&host).write_marked(vec![write], Side::Old, site.fence(1), within(milliseconds)).await.map(drop)
        };
        write(&format!("first000{numbered}"), 5_000).await?;
        proxy.hold(Direction::ToServer);
        let late = write("late0000", 600).await;
        assert!(matches!(late, Err(DatabaseError::UnknownOutcome { .. })), "{late:?}");
        let before = proxy.counts().bytes_to_server;
        proxy.heal().await?;
        eventually("the late write came", async || Ok(proxy.counts().bytes_to_server > before)).await?;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(load(&*site.one, &key("late0000")).await?, None);
    }
    assert_eq!(site.number("late0000").await?, None, "neither a mark nor a number");
    Ok(())
}
