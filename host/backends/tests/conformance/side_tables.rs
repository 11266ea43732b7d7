//! The side tables of a migration: fence, marks, numbers and key locks. Each claim is a rule of docs/protocol.md.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use sqlx::{Connection as _, Executor as _, PgConnection, Row as _};
use switchover_backends::{Postgres, Server};
use switchover_core::capabilities::{
    Database, DatabaseError, Epoch, Fence, KeyLock, KeyTransaction, LockPurpose, LockedKey, Mark, Number, Numbered,
    Read, ReadOutcome, Side, SideTables, Terms, Write, WriteOutcome,
};
use switchover_core::{Layout, Payload, Session, SessionKey, Timestamp};
use switchover_harness::Proxy;
use tokio::task::JoinSet;

use super::fixture::{exists, key, load, new_table, soon, within};
use super::server_fixture::{Kind, far};

/// Two hosts on one table of a database of its own, with side tables and a fence at epoch 1.
struct Site {
    one: Server,
    other: Server,
    raw: PgConnection,
    table: String,
    url: String,
    migration: Arc<str>,
}

impl Site {
    async fn new() -> Result<Self> {
        Self::of(Layout::DJANGO).await
    }

    async fn of(layout: Layout) -> Result<Self> {
        let (url, table) = (Kind::Postgres.shared().await?.url(), new_table());
        let migration: Arc<str> = format!("it's {table}").into();
        let builder = || Postgres::builder(&url).layout(layout).table(&table);
        let (one, other) = (builder().connect().await?, builder().connect().await?);
        one.upkeep().create_schema(soon()).await?;
        // Tests that run at the same time share the fence's table.
        while side(&one).prepare(soon()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        side(&one).make_fence(Arc::clone(&migration), soon()).await?;
        let raw = PgConnection::connect(&url).await?;
        Ok(Self { one, other, raw, table, url, migration })
    }

    fn fence(&self, epoch: u64) -> Fence {
        Fence { migration: Arc::clone(&self.migration), epoch: Epoch(epoch) }
    }

    fn terms(&self, epoch: u64) -> Terms {
        Terms { deadline: soon(), fence: Some(self.fence(epoch)) }
    }

    async fn mark(&self, home: Side, batch: Vec<Write>) -> Result<Vec<WriteOutcome>, DatabaseError> {
        side(&self.one).write_marked(batch, home, self.fence(1), soon()).await
    }

    async fn marks(&self) -> Result<Vec<Mark>> {
        Ok(side(&self.one).marks(self.fence(1), 100, soon()).await?)
    }

    async fn marked(&self) -> Result<Vec<SessionKey>> {
        Ok(self.marks().await?.into_iter().map(|mark| mark.key).collect())
    }

    /// The number of a key; `None` if it has no row.
    async fn number(&mut self, key: &str) -> Result<Option<i64>> {
        let sql = "SELECT number FROM switchover_key WHERE migration = $1 AND session_key = $2";
        Ok(sqlx::query_scalar(sql).bind(&*self.migration).bind(key).fetch_optional(&mut self.raw).await?)
    }

    async fn number_write(&self, batch: Vec<(Write, u64)>) -> Result<Numbered, DatabaseError> {
        let batch = batch.into_iter().map(|(write, number)| (write, Number(number))).collect();
        side(&self.one).write_numbered(batch, self.fence(1), soon()).await
    }

    async fn locked(
        &self,
        host: &Server,
        keys: &[&str],
        purpose: LockPurpose,
    ) -> Result<(Box<dyn KeyTransaction>, Vec<LockedKey>), DatabaseError> {
        let mut transaction = side(host).begin_with_keys(self.fence(1), soon()).await?;
        let locks = keys.iter().map(|text| KeyLock { key: key(text), known: Number(0) }).collect();
        let locked = transaction.lock_keys(locks, purpose).await?;
        Ok((transaction, locked))
    }
}

fn side(database: &Server) -> &dyn SideTables {
    database.side_tables().expect("PostgreSQL has side tables")
}

fn with(text: &str, payload: &str) -> Session {
    Session { payload: Payload::from(payload), ..far(&key(text)) }
}

/// Whether something still waits after longer than a lock timeout.
async fn waits<T>(task: &tokio::task::JoinHandle<T>) -> bool {
    tokio::time::sleep(Duration::from_millis(400)).await;
    !task.is_finished()
}

#[tokio::test(flavor = "multi_thread")]
async fn side_tables_are_made_once_and_shown_before() -> Result<()> {
    let site = Site::of(Layout::SWITCHOVER).await?;
    assert_eq!(side(&site.one).missing(soon()).await?, Vec::<String>::new());
    assert_eq!(side(&site.one).prepare(soon()).await?, Vec::<String>::new());
    let table = new_table();
    let third = Postgres::builder(&site.url).table(&table).connect().await?;
    let shown = side(&third).missing(soon()).await?;
    // The tables are there already; the functions are those of one session table.
    assert!(shown.len() == 2 && shown.iter().all(|one| one.starts_with("CREATE OR REPLACE FUNCTION")), "{shown:?}");
    third.upkeep().create_schema(soon()).await?;
    let refused = third.write(vec![Write::Delete(key("aaaaaaaa"))], site.terms(1)).await;
    assert!(matches!(refused, Err(DatabaseError::Corrupt { .. })), "{refused:?}");
    side(&site.one).make_fence(Arc::clone(&site.migration), soon()).await?;
    assert_eq!(side(&site.one).fence(Arc::clone(&site.migration), soon()).await?, Some(Epoch(1)));
    assert!(Kind::MariaDb.two_hosts().await?[0].side_tables().is_none());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn lower_epoch_and_a_missing_fence_are_refused_by_every_operation() -> Result<()> {
    let mut site = Site::new().await?;
    let session = with("aaaaaaaa", "v1");
    site.one.write(vec![Write::Insert(session.clone())], site.terms(1)).await?;
    assert_eq!(side(&site.one).raise(site.fence(5), soon()).await?, Epoch(5));
    assert_eq!(side(&site.one).raise(site.fence(3), soon()).await?, Epoch(5), "a fence never falls");
    let missing = Fence { migration: "none".into(), epoch: Epoch(9) };
    for fence in [site.fence(4), missing] {
        let terms = Terms { deadline: soon(), fence: Some(fence.clone()) };
        let delete = || vec![Write::Delete(key("aaaaaaaa"))];
        let sides = side(&site.one);
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
    assert_eq!(side(&site.one).raise(Fence { migration: "none".into(), epoch: Epoch(1) }, soon()).await.err(), {
        Some(DatabaseError::Fenced)
    });
    assert_eq!(load(&site.one, &key("aaaaaaaa")).await?, Some(session.clone()));
    assert_eq!(site.number("aaaaaaaa").await?, None);
    // A load under the epoch in force tells "no session" and "fenced" apart.
    let loads = [&session.key, &key("bbbbbbbb")].map(|key| Read::Load(key.clone()));
    let loaded = site.one.read(loads.to_vec(), site.terms(5)).await?;
    assert_eq!(loaded, [ReadOutcome::Session(Some(session)), ReadOutcome::Session(None)]);
    let none = site.one.read(vec![Read::Load(key("bbbbbbbb")), Read::Exists(key("bbbbbbbb"))], site.terms(6)).await?;
    assert_eq!(none, [ReadOutcome::Session(None), ReadOutcome::Exists(false)]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_of_two_epochs_that_wait_together_are_told_apart() -> Result<()> {
    let site = Site::new().await?;
    side(&site.one).raise(site.fence(2), soon()).await?;
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

#[tokio::test(flavor = "multi_thread")]
async fn raise_waits_for_a_writer_and_later_writers_queue_behind_it() -> Result<()> {
    let site = Site::new().await?;
    site.one.write(vec![Write::Insert(with("aaaaaaaa", "v1"))], site.terms(1)).await?;
    let mut held = site.one.begin(site.terms(1)).await?;
    held.write(vec![Write::Update(with("aaaaaaaa", "v2"))]).await?;
    let raise = {
        let (other, fence) = (site.other.clone(), site.fence(2));
        tokio::spawn(async move { side(&other).raise(fence, soon()).await })
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

#[tokio::test(flavor = "multi_thread")]
async fn raise_that_waits_for_too_long_steps_back() -> Result<()> {
    let site = Site::new().await?;
    let mut held = site.one.begin(site.terms(1)).await?;
    held.write(vec![Write::Insert(with("aaaaaaaa", "v1"))]).await?;
    let stepped_back = side(&site.other).raise(site.fence(2), within(300)).await;
    assert!(matches!(stepped_back, Err(DatabaseError::Conflict { .. })), "{stepped_back:?}");
    // The lock is free again for writers.
    site.other.write(vec![Write::Insert(with("bbbbbbbb", "v1"))], site.terms(1)).await?;
    held.commit().await?;
    assert_eq!(side(&site.one).fence(Arc::clone(&site.migration), soon()).await?, Some(Epoch(1)));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn marked_write_of_many_keys_is_one_round_trip_and_one_commit() -> Result<()> {
    let mut site = Site::new().await?;
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
    let transactions: i64 = sqlx::query_scalar(&sql).bind(&*site.migration).fetch_one(&mut site.raw).await?;
    assert_eq!(transactions, 1);
    assert_eq!(side(&host).count_marks(site.fence(1), soon()).await?, 64);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_key_costs_itself_alone_and_gets_no_mark() -> Result<()> {
    for home in [Side::Old, Side::New] {
        let mut site = Site::new().await?;
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
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn absent_keys_are_locked_too() -> Result<()> {
    let site = Site::new().await?;
    let (mut held, _) = site.locked(&site.one, &["aaaaaaaa"], LockPurpose::Write).await?;
    let create = {
        let (other, fence) = (site.other.clone(), site.fence(1));
        let batch = vec![Write::Insert(with("aaaaaaaa", "second"))];
        tokio::spawn(async move { side(&other).write_marked(batch, Side::Old, fence, soon()).await })
    };
    assert!(waits(&create).await, "nobody may create a key that somebody has locked");
    held.write(vec![Write::Insert(with("aaaaaaaa", "first"))]).await?;
    held.commit().await?;
    assert_eq!(create.await??, [WriteOutcome::Exists]);
    assert_eq!(load(&site.one, &key("aaaaaaaa")).await?, Some(with("aaaaaaaa", "first")));
    assert_eq!(site.marked().await?, Vec::<SessionKey>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn delete_that_waited_for_the_keys_row_sees_the_row_that_was_put_before() -> Result<()> {
    for home in [Side::Old, Side::New] {
        let mut site = Site::new().await?;
        // A put of another host, which has the key's row and not yet the session row.
        let mut transaction = site.raw.begin().await?;
        let insert = "INSERT INTO switchover_key (migration, session_key, number) VALUES ($1, 'aaaaaaaa', 1)";
        sqlx::query(insert).bind(&*site.migration).execute(&mut *transaction).await?;
        let delete = {
            let (other, fence) = (site.other.clone(), Fence { migration: site.migration.clone(), epoch: Epoch(1) });
            let batch = vec![Write::Delete(key("aaaaaaaa"))];
            tokio::spawn(async move { side(&other).write_marked(batch, home, fence, soon()).await })
        };
        assert!(waits(&delete).await, "the delete waits for the key's row");
        let put = format!("INSERT INTO {} VALUES ('aaaaaaaa', 'late', now() + interval '1 day')", site.table);
        transaction.execute(put.as_str()).await?;
        transaction.commit().await?;
        assert_eq!(delete.await??, [WriteOutcome::Done(None)]);
        assert!(!exists(&site.one, &key("aaaaaaaa")).await?, "{home:?}: the row has come back");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn late_number_refuses_the_whole_batch_and_tells_the_key_its_number() -> Result<()> {
    let mut site = Site::new().await?;
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
            let refused = side(&site.one).write_numbered(batch, site.fence(1), patience).await?;
            assert_eq!(refused, Numbered::Late(vec![(b.key.clone(), Number(7))]));
        }
    }
    assert_eq!(load(&site.one, &a.key).await?, Some(a.clone()));
    assert_eq!(load(&site.one, &b.key).await?, Some(b.clone()));
    assert!(!exists(&site.one, &key("cccccccc")).await?);
    assert_eq!((site.number("aaaaaaaa").await?, site.number("cccccccc").await?), (Some(1), None));
    // The number is kept also where there is nothing to write.
    assert_eq!(
        site.number_write(vec![(Write::Update(with("dddddddd", "v1")), 4)]).await?,
        Numbered::Done(vec![WriteOutcome::Missing])
    );
    assert_eq!(site.number("dddddddd").await?, Some(4));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn write_of_both_databases_counts_and_clears_the_marks_of_what_it_writes() -> Result<()> {
    let mut site = Site::new().await?;
    let marked = ["aaaaaaaa", "bbbbbbbb", "cccccccc"];
    site.mark(Side::Old, marked.map(|key| Write::Upsert(with(key, "v1"))).to_vec()).await?;
    site.one.write(vec![Write::Delete(key("bbbbbbbb"))], site.terms(1)).await?;
    let (mut transaction, locked) = site.locked(&site.one, &marked, LockPurpose::Write).await?;
    assert_eq!(locked, vec![LockedKey { number: Number(1), row: None }; 3]);
    let outcomes = transaction.write(marked.map(|key| Write::Update(with(key, "v2"))).to_vec()).await?;
    assert!(matches!(outcomes[1], WriteOutcome::Missing), "{outcomes:?}");
    assert_eq!(site.marked().await?.len(), 3, "nothing is cleared before the commit");
    transaction.commit().await?;
    assert_eq!(site.marked().await?, [key("bbbbbbbb")], "a refused key keeps its mark");
    // What new is known to have executed is passed over; a roll-back undoes the number.
    for (known, end) in [(0, false), (0, true), (9, true), (0, true)] {
        let mut transaction = side(&site.one).begin_with_keys(site.fence(1), soon()).await?;
        let lock = KeyLock { key: key("aaaaaaaa"), known: Number(known) };
        let locked = transaction.lock_keys(vec![lock], LockPurpose::Write).await?;
        let last = if known == 9 { 10 } else { locked[0].number.0 };
        assert_eq!(locked[0].number, Number(last));
        if end { transaction.commit().await? } else { transaction.roll_back().await }
    }
    assert_eq!(site.number("aaaaaaaa").await?, Some(11));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_reads_the_row_and_does_not_wait_for_a_lock_on_it() -> Result<()> {
    let mut site = Site::new().await?;
    let session = with("aaaaaaaa", "v1");
    site.mark(Side::Old, vec![Write::Insert(session.clone())]).await?;
    // A host in `off` locks the session row alone.
    let mut off = site.raw.begin().await?;
    off.execute(format!("SELECT FROM {} WHERE session_key = 'aaaaaaaa' FOR UPDATE", site.table).as_str()).await?;
    let keys = ["bbbbbbbb", "aaaaaaaa"];
    let mut copy = side(&site.one)
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
    let (copy, locked) = site.locked(&site.one, &["aaaaaaaa", "cccccccc"], LockPurpose::CopyToOld).await?;
    assert_eq!(locked.iter().map(|key| key.number.0).collect::<Vec<_>>(), [1, 0]);
    copy.roll_back().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn clear_with_an_old_token_keeps_the_mark() -> Result<()> {
    let site = Site::new().await?;
    let save = |key: &str| Write::Upsert(with(key, "v"));
    site.mark(Side::Old, vec![save("bbbbbbbb")]).await?;
    site.mark(Side::Old, vec![save("aaaaaaaa")]).await?;
    let before = site.marks().await?;
    assert_eq!(before.iter().map(|mark| mark.key.clone()).collect::<Vec<_>>(), [key("bbbbbbbb"), key("aaaaaaaa")]);
    assert_eq!(side(&site.one).marks(site.fence(1), 1, soon()).await?, before[..1]);
    site.mark(Side::Old, vec![save("bbbbbbbb")]).await?;
    assert_eq!(side(&site.one).clear_marks(before, site.fence(1), soon()).await?, 1);
    assert_eq!(site.marked().await?, [key("bbbbbbbb")]);
    assert_eq!(side(&site.one).clear_marks(site.marks().await?, site.fence(1), soon()).await?, 1);
    assert_eq!(side(&site.one).count_marks(site.fence(1), soon()).await?, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn busy_key_costs_only_itself() -> Result<()> {
    let site = Site::new().await?;
    let (held, _) = site.locked(&site.one, &["key00000"], LockPurpose::Write).await?;
    let mut writes = JoinSet::new();
    for at in 0..40 {
        let (other, fence) = (site.other.clone(), site.fence(1));
        writes.spawn(async move {
            let batch = vec![Write::Insert(with(&format!("key{at:05}"), "v"))];
            let deadline = if at == 0 { within(1_500) } else { soon() };
            (at, side(&other).write_marked(batch, Side::Old, fence, deadline).await)
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

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_told_apart_byte_for_byte_and_may_have_255_characters() -> Result<()> {
    let mut site = Site::of(Layout::SWITCHOVER).await?;
    let long = "K".repeat(255);
    let keys = ["Abc", "abc", "ABC", "a'b\\c\"", &long];
    let saved = keys.map(|key| Write::Insert(with(key, key)));
    site.mark(Side::Old, saved.to_vec()).await?;
    for other in keys {
        assert_eq!(load(&site.one, &key(other)).await?, Some(with(other, other)));
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
    let mut site = Site::new().await?;
    site.raw.execute(format!("ALTER TABLE {} ADD epoch int DEFAULT 3", site.table).as_str()).await?;
    let fresh = Postgres::builder(&site.url).table(&site.table).connect().await?;
    assert_eq!(side(&fresh).prepare(soon()).await?.len(), 1, "only the function that writes has changed");
    let fence = site.fence(1);
    let insert = vec![Write::Insert(with("aaaaaaaa", "v1"))];
    side(&fresh).write_marked(insert, Side::Old, fence.clone(), soon()).await?;
    let loaded = fresh.read(vec![Read::Load(key("aaaaaaaa"))], site.terms(1)).await?;
    let [ReadOutcome::Session(Some(session))] = &loaded[..] else { panic!("{loaded:?}") };
    assert!(!session.others.is_empty());
    let whole = Session { key: key("bbbbbbbb"), ..session.clone() };
    let writes = vec![Write::Update(session.clone()), Write::Insert(whole.clone()), Write::Update(whole.clone())];
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
async fn nothing_is_left_on_the_connection() -> Result<()> {
    let mut site = Site::new().await?;
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
    let left: i64 = site.raw.fetch_one(sql).await?.try_get(0).context("a count")?;
    assert_eq!(left, 0);
    Ok(())
}
