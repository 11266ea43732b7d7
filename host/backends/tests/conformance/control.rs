//! The control tables of migrations, on every kind of database: each claim of the trait `Control`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use sqlx::Connection as _;
use switchover_backends::{Address, MemoryControl};
use switchover_core::Timestamp;
use switchover_core::capabilities::{
    Control, Cursor, DatabaseError, Decision, Document, Epoch, GivingUp, Member, Progress,
};
use switchover_harness::{MariaDb, Postgres};
use tokio::task::JoinSet;

use super::fixture::soon;

/// A lease that lasts longer than any test.
const LONG: Duration = Duration::from_secs(600);
/// A lease that ends while a test waits for it.
const SHORT: Duration = Duration::from_millis(50);

macro_rules! on_each {
    ($($claim:ident,)*) => {
        mod memory { $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $claim() -> anyhow::Result<()> { super::$claim(&super::Tables::memory()).await }
        )* }
        mod sqlite { $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $claim() -> anyhow::Result<()> { super::$claim(&super::Tables::sqlite()?).await }
        )* }
        mod postgres { $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $claim() -> anyhow::Result<()> {
                super::$claim(&super::Tables::postgres(stringify!($claim)).await?).await
            }
        )* }
        mod mariadb { $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $claim() -> anyhow::Result<()> {
                super::$claim(&super::Tables::mariadb(stringify!($claim)).await?).await
            }
        )* }
    };
}

on_each! {
    document_is_made_once_and_read_back,
    one_of_many_wins_each_version,
    second_start_of_a_host_takes_its_name_over,
    host_is_given_up_only_after_its_lease,
    job_has_one_holder_and_keeps_its_progress_within_an_epoch,
    suspension_counts_until_after_its_lease,
    decisions_are_logged_with_the_change_that_they_made,
    names_and_texts_come_back_as_they_were,
}

/// Control tables, and how to open them once more as another process would.
struct Tables {
    control: Arc<dyn Control>,
    address: Option<Address>,
    _folder: Option<tempfile::TempDir>,
}

impl Tables {
    fn memory() -> Self {
        Self { control: Arc::new(MemoryControl::new()), address: None, _folder: None }
    }

    fn sqlite() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let address = Address::parse(&format!("sqlite:{}", folder.path().join("control.sqlite3").display()))?;
        Ok(Self { control: address.control()?, address: Some(address), _folder: Some(folder) })
    }

    async fn postgres(claim: &str) -> Result<Self> {
        Self::at(Postgres::shared().await?.create_database(&name(claim)).await?)
    }

    async fn mariadb(claim: &str) -> Result<Self> {
        Self::at(MariaDb::shared().await?.create_database(&name(claim)).await?)
    }

    fn at(url: String) -> Result<Self> {
        let address = Address::parse(&url)?;
        Ok(Self { control: address.control()?, address: Some(address), _folder: None })
    }

    /// The same tables, over a connection of another process.
    fn again(&self) -> Result<Arc<dyn Control>> {
        Ok(match &self.address {
            Some(address) => address.control()?,
            None => Arc::clone(&self.control),
        })
    }

    async fn ready(&self) -> Result<&dyn Control> {
        self.control.prepare(soon()).await?;
        anyhow::ensure!(self.control.missing(soon()).await?.is_empty(), "everything was made");
        anyhow::ensure!(self.control.prepare(soon()).await?.is_empty(), "nothing is made twice");
        Ok(self.control.as_ref())
    }
}

fn name(claim: &str) -> String {
    let cut: String = claim.chars().take(40).collect();
    format!("control_{cut}")
}

fn document() -> Document {
    Document {
        migration: "to-new".into(),
        version: 7,
        epoch: Epoch(1),
        phase: "off".to_owned(),
        profile: "backfill".to_owned(),
        policy: "phased".to_owned(),
        flags: "a=b\nc=d".to_owned(),
        sealed: Epoch(0),
        settled: None,
        verified: None,
        backfilled: None,
        held: None,
        rate: None,
        old: "old".to_owned(),
        new: "new".to_owned(),
        since: Timestamp::from_micros(5),
        continued_by: None,
    }
}

fn decision(what: &str) -> Decision {
    Decision { epoch: Epoch(1), decision: what.to_owned(), guards: "settled: green\nverified: green".to_owned() }
}

fn member(host: &str, incarnation: &str) -> Member {
    Member { migration: "to-new".into(), host: host.into(), incarnation: incarnation.into() }
}

async fn read(control: &dyn Control) -> Result<Document> {
    control.document("to-new".into(), soon()).await?.context("there is a document")
}

async fn document_is_made_once_and_read_back(tables: &Tables) -> Result<()> {
    let control = tables.ready().await?;
    assert_eq!(control.document("to-new".into(), soon()).await?, None);
    assert!(control.create(document(), decision("init"), soon()).await?);
    let made = read(control).await?;
    assert!(made.since > Timestamp::from_micros(1_000_000_000_000_000), "the database's own time: {made:?}");
    assert_eq!(made, Document { version: 1, since: made.since, ..document() });
    assert!(!control.create(Document { phase: "mirror".to_owned(), ..document() }, decision("init"), soon()).await?);
    assert_eq!(read(control).await?, made);
    let migrations = control.migrations(soon()).await?;
    assert!(migrations.len() == 1 && &*migrations[0] == "to-new", "{migrations:?}");
    // All that may be NULL, set.
    let whole = Document {
        settled: Some(Epoch(2)),
        verified: Some(Epoch(3)),
        backfilled: Some(Epoch(4)),
        held: Some("lunch".to_owned()),
        rate: Some(5),
        continued_by: Some("next".to_owned()),
        ..made.clone()
    };
    assert!(control.replace(whole.clone(), None, soon()).await?);
    assert_eq!(read(control).await?, Document { version: 2, ..whole });
    Ok(())
}

async fn one_of_many_wins_each_version(tables: &Tables) -> Result<()> {
    const ROUNDS: u64 = 20;
    let control = tables.ready().await?;
    control.create(document(), decision("init"), soon()).await?;
    let mut writers = JoinSet::new();
    for _ in 0..8 {
        let control = tables.again()?;
        writers.spawn(async move {
            let mut won = 0;
            loop {
                let now = read(control.as_ref()).await?;
                if now.epoch.0 > ROUNDS {
                    return anyhow::Ok(won);
                }
                let next = Document { epoch: Epoch(now.epoch.0 + 1), ..now };
                match control.replace(next, None, soon()).await {
                    Ok(is_mine) => won += u64::from(is_mine),
                    // Somebody else held the row, or SQLite's file.
                    Err(DatabaseError::Conflict { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        });
    }
    let mut won = 0;
    while let Some(writer) = writers.join_next().await {
        won += writer??;
    }
    let last = read(control).await?;
    assert_eq!((won, last.epoch, last.version), (ROUNDS, Epoch(ROUNDS + 1), ROUNDS + 1));
    Ok(())
}

async fn second_start_of_a_host_takes_its_name_over(tables: &Tables) -> Result<()> {
    let control = tables.ready().await?;
    let (first, second) = (member("web-1", "aa"), member("web-1", "bb"));
    assert_eq!(control.beat(first.clone(), LONG, soon()).await?, None, "no such migration");
    control.create(document(), decision("init"), soon()).await?;
    assert!(!control.beat(first.clone(), LONG, soon()).await?.context("a migration")?.is_member);
    control.enter(first.clone(), Epoch(1), LONG, "first".to_owned(), soon()).await?;
    let beat = control.beat(first.clone(), LONG, soon()).await?.context("a migration")?;
    assert!(beat.is_member && !beat.cache_suspended && beat.document == read(control).await?);
    assert!(control.acknowledge(first.clone(), Epoch(4), soon()).await?);
    assert!(control.acknowledge(first.clone(), Epoch(3), soon()).await?);
    let hosts = control.hosts("to-new".into(), soon()).await?;
    assert_eq!((hosts.len(), hosts[0].acknowledged), (1, Epoch(4)), "an acknowledgement never falls");
    control.enter(second.clone(), Epoch(2), LONG, "second".to_owned(), soon()).await?;
    assert!(!control.beat(first.clone(), LONG, soon()).await?.context("a migration")?.is_member);
    assert!(!control.renew(first.clone(), LONG, String::new(), soon()).await?);
    assert!(!control.acknowledge(first.clone(), Epoch(9), soon()).await?);
    control.leave(first, soon()).await?;
    let hosts = control.hosts("to-new".into(), soon()).await?;
    assert_eq!((hosts.len(), &hosts[0].member, hosts[0].acknowledged), (1, &second, Epoch(2)));
    assert!(hosts[0].lease_left.is_some_and(|left| left > LONG / 2 && left <= LONG), "{hosts:?}");
    assert!(control.renew(second.clone(), LONG, "third".to_owned(), soon()).await?);
    assert_eq!(control.hosts("to-new".into(), soon()).await?[0].about, "third");
    control.leave(second, soon()).await?;
    assert!(control.hosts("to-new".into(), soon()).await?.is_empty());
    Ok(())
}

async fn host_is_given_up_only_after_its_lease(tables: &Tables) -> Result<()> {
    let control = tables.ready().await?;
    control.create(document(), decision("init"), soon()).await?;
    let host = member("web-1", "aa");
    control.enter(host.clone(), Epoch(1), LONG, String::new(), soon()).await?;
    assert_eq!(control.give_up(host.clone(), Epoch(2), soon()).await?, GivingUp::Alive);
    assert_eq!(control.give_up(host.clone(), Epoch(1), soon()).await?, GivingUp::Changed, "it has acknowledged");
    assert_eq!(control.give_up(member("web-1", "bb"), Epoch(2), soon()).await?, GivingUp::Changed);
    control.renew(host.clone(), SHORT, String::new(), soon()).await?;
    tokio::time::sleep(SHORT * 3).await;
    assert_eq!(control.hosts("to-new".into(), soon()).await?[0].lease_left, None);
    assert_eq!(control.give_up(host.clone(), Epoch(2), soon()).await?, GivingUp::Done);
    assert_eq!(control.hosts("to-new".into(), soon()).await?[0].given_up, Some(Epoch(2)));
    assert!(control.acknowledge(host, Epoch(2), soon()).await?);
    assert_eq!(control.hosts("to-new".into(), soon()).await?[0].given_up, None, "it is back");
    Ok(())
}

async fn job_has_one_holder_and_keeps_its_progress_within_an_epoch(tables: &Tables) -> Result<()> {
    let control = tables.ready().await?;
    control.create(document(), decision("init"), soon()).await?;
    let (one, other) = (member("web-1", "aa"), member("web-2", "bb"));
    let take = async |who: &Member, epoch, lease| control.take_job("backfill", who.clone(), epoch, lease, soon()).await;
    assert_eq!(take(&one, Epoch(2), LONG).await?, Some(Progress::default()));
    assert_eq!(take(&other, Epoch(2), LONG).await?, None, "somebody else has it");
    assert_eq!(take(&one, Epoch(2), LONG).await?, Some(Progress::default()), "its own it takes again");
    let far = Progress {
        position: Some(Cursor::new(b"\x00\xffkey".to_vec())),
        done: 500,
        total: Some(900),
        note: "it's \"held\"".to_owned(),
    };
    assert!(control.keep_job("backfill", one.clone(), Epoch(2), SHORT, far.clone(), soon()).await?);
    assert!(!control.keep_job("backfill", one.clone(), Epoch(1), LONG, far.clone(), soon()).await?, "another epoch");
    tokio::time::sleep(SHORT * 3).await;
    assert_eq!(take(&other, Epoch(2), LONG).await?, Some(far.clone()), "a takeover goes on where it stopped");
    assert!(!control.keep_job("backfill", one.clone(), Epoch(2), LONG, far.clone(), soon()).await?);
    control.leave_job("backfill", one.clone(), Epoch(2), Progress::default(), soon()).await?;
    let jobs = control.jobs("to-new".into(), soon()).await?;
    assert_eq!(
        (jobs.len(), &jobs[0].holder, &jobs[0].progress),
        (1, &other, &far),
        "it is not the first one's any more"
    );
    assert!(jobs[0].lease_left.is_some() && jobs[0].began <= jobs[0].reported);
    let again = member("web-2", "cc");
    assert_eq!(
        take(&again, Epoch(2), LONG).await?,
        Some(far.clone()),
        "a process that starts again has its job at once"
    );
    assert!(!control.keep_job("backfill", other, Epoch(2), LONG, far.clone(), soon()).await?, "and the one before not");
    control.leave_job("backfill", again, Epoch(2), far.clone(), soon()).await?;
    assert_eq!(control.jobs("to-new".into(), soon()).await?[0].lease_left, None);
    assert_eq!(take(&one, Epoch(3), LONG).await?, Some(Progress::default()), "the next epoch begins anew");
    Ok(())
}

async fn suspension_counts_until_after_its_lease(tables: &Tables) -> Result<()> {
    let control = tables.ready().await?;
    control.create(document(), decision("init"), soon()).await?;
    let (host, reader) = (member("web-1", "aa.0"), member("web-2", "bb"));
    let suspended = async |after: Duration| {
        anyhow::Ok(control.beat(reader.clone(), after, soon()).await?.context("a migration")?.cache_suspended)
    };
    assert!(!suspended(LONG).await?);
    control.suspend_cache(host.clone(), LONG, soon()).await?;
    control.suspend_cache(host.clone(), SHORT, soon()).await?;
    assert!(suspended(Duration::ZERO).await? && suspended(LONG).await?);
    tokio::time::sleep(SHORT * 3).await;
    assert!(!suspended(Duration::ZERO).await?, "its lease has run out");
    assert!(suspended(LONG).await?, "entries of that time may still be there");
    control.end_suspension(member("web-1", "aa.1"), soon()).await?;
    assert!(suspended(LONG).await?, "it is another one's");
    control.end_suspension(host, soon()).await?;
    assert!(!suspended(LONG).await?);
    Ok(())
}

async fn decisions_are_logged_with_the_change_that_they_made(tables: &Tables) -> Result<()> {
    let control = tables.ready().await?;
    control.create(document(), decision("init"), soon()).await?;
    // SQLite's clock counts milliseconds, and decisions of one have no order.
    let tick = Duration::from_millis(2);
    tokio::time::sleep(tick).await;
    let now = read(control).await?;
    assert!(control.replace(now.clone(), Some(decision("one")), soon()).await?);
    tokio::time::sleep(tick).await;
    assert!(!control.replace(now, Some(decision("lost")), soon()).await?, "the version has changed");
    let now = read(control).await?;
    assert!(control.replace(now, Some(decision("two")), soon()).await?);
    let log = control.log("to-new".into(), 10, soon()).await?;
    let said: Vec<&str> = log.iter().map(|logged| logged.decision.decision.as_str()).collect();
    assert_eq!(said, ["two", "one", "init"]);
    assert_eq!(control.log("to-new".into(), 1, soon()).await?.len(), 1);
    assert_eq!(log[0].decision, decision("two"));
    Ok(())
}

async fn names_and_texts_come_back_as_they_were(tables: &Tables) -> Result<()> {
    let control = tables.ready().await?;
    let odd = Document {
        flags: "a='?'\nb=\"$1\"\nc=\\".to_owned(),
        held: Some("weil es hängt — 保留".to_owned()),
        policy: "My.Policy_1".to_owned(),
        ..document()
    };
    control.create(odd.clone(), decision("it's ? and $1"), soon()).await?;
    let read = read(control).await?;
    assert_eq!((&read.flags, &read.held, &read.policy), (&odd.flags, &odd.held, &odd.policy));
    assert_eq!(control.document("TO-NEW".into(), soon()).await?, None, "names are compared byte for byte");
    assert_eq!(control.log("to-new".into(), 1, soon()).await?[0].decision.decision, "it's ? and $1");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_another_shape_are_refused_with_their_name() -> Result<()> {
    let url = Postgres::shared().await?.create_database("control_of_others").await?;
    let mut raw = sqlx::PgConnection::connect(&url).await?;
    sqlx::raw_sql("CREATE TABLE switchover_host (host text)").execute(&mut raw).await?;
    let control = Address::parse(&url)?.control()?;
    match control.missing(soon()).await {
        Err(DatabaseError::Corrupt { message }) => assert!(message.contains("switchover_host"), "{message}"),
        other => anyhow::bail!("{other:?}"),
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_pauses_or_restarts_holds_no_call_beyond_its_deadline() -> Result<()> {
    let server = Postgres::start().await?;
    let control = Address::parse(&server.url())?.control()?;
    control.prepare(soon()).await?;
    control.create(document(), decision("init"), soon()).await?;
    server.pause().await?;
    let began = Instant::now();
    let paused = control.document("to-new".into(), began + Duration::from_millis(300)).await;
    assert!(matches!(paused, Err(DatabaseError::Timeout)), "{paused:?}");
    let now = Document { version: 1, ..document() };
    let lost = control.replace(now, None, Instant::now() + Duration::from_millis(300)).await;
    assert!(matches!(lost, Err(DatabaseError::Timeout | DatabaseError::UnknownOutcome { .. })), "{lost:?}");
    assert!(began.elapsed() < Duration::from_secs(5));
    server.resume().await?;
    assert!(control.document("to-new".into(), soon()).await?.is_some());
    server.kill().await?;
    let gone = control.document("to-new".into(), soon()).await;
    assert!(matches!(gone, Err(DatabaseError::Unavailable { .. })), "{gone:?}");
    server.restart().await?;
    assert!(control.document("to-new".into(), soon()).await?.is_some(), "it connects again by itself");
    Ok(())
}
