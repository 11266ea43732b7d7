//! Keys and payloads are credentials: they appear in no log, error, counter, status or summary. The tests search all of
//! these.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result};
use switchover::backends::{Fault, FlagSwitch, MemoryCache, MySql, Operation, Postgres, Redis, Sqlite};
use switchover::capabilities::{Database as _, DatabaseError};
use switchover::{Builtin, Limits, Policy, SessionKey, Sessions, Switchover, expires_in};
use switchover_harness as harness;
use switchover_tests::{Rig, component, patient, payload, until};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

const PAYLOAD: &str = "payload0that0nobody0may0see";
const MINUTE: Duration = Duration::from_secs(60);

/// Keeps every word of every event and span, of this library and of everything that it uses.
#[derive(Clone, Default)]
struct Everything(Arc<Mutex<String>>);

struct Words<'a>(&'a mut String);

impl Visit for Words<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        writeln!(self.0, "{field}={value:?}").unwrap();
    }
}

impl Subscriber for Everything {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        span.record(&mut Words(&mut self.0.lock().unwrap()));
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut Words(&mut self.0.lock().unwrap()));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Words(&mut self.0.lock().unwrap()));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The same on real servers, while connections break and rows cannot be stored.
async fn exercise_servers(said: &mut String) -> Result<Vec<SessionKey>> {
    let (old, new, redis) =
        tokio::try_join!(harness::Postgres::shared(), harness::MariaDb::shared(), harness::Redis::shared())?;
    let proxies = [
        harness::Proxy::start(old.address()).await?,
        harness::Proxy::start(new.address()).await?,
        harness::Proxy::start(redis.address()).await?,
    ];
    let [old, new, redis] = [(old, 0), (new, 1), (redis, 2)].map(|(server, at)| proxies[at].url_of(&server.url()));
    let old = Postgres::builder(old?).connect().await?;
    let new = MySql::builder(new?).connect().await?;
    let deadline = std::time::Instant::now() + MINUTE;
    old.upkeep().create_schema(deadline).await?;
    let mut limits = Limits::default();
    (limits.read_deadline, limits.write_deadline) = (Duration::from_millis(300), Duration::from_millis(300));
    limits.repair_patience = Duration::from_millis(500);
    let host = Switchover::builder()
        .database("default", old)
        .database("new_session_store", new.clone())
        .cache(Redis::connect(&redis?).await?)
        .flags(FlagSwitch::new([("migration_flag", "true")]))
        .limits(limits)
        .policy(Policy::builtin(Builtin::Fallback))
        .build()
        .await?;
    let sessions = host.sessions();
    // The new database has no table yet.
    writeln!(said, "{:?}", sessions.create(payload(PAYLOAD), expires_in(MINUTE)).await)?;
    new.upkeep().create_schema(deadline).await?;
    let key = create(&sessions).await?;
    for fault in 0..4 {
        for proxy in &proxies {
            match fault {
                0 => proxy.reset(),
                1 => proxy.hold(harness::Direction::ToClient),
                2 => proxy.cut_after(harness::Direction::ToServer, 30, harness::End::Reset),
                _ => {
                    proxy.refuse().await;
                    proxy.reset();
                }
            }
            writeln!(said, "{:?}", sessions.load(&key).await)?;
            writeln!(said, "{:?}", sessions.save(&key, payload(PAYLOAD), expires_in(MINUTE)).await)?;
            writeln!(said, "{:?}", sessions.touch(&key, expires_in(MINUTE)).await)?;
            writeln!(said, "{:?}", sessions.cycle_key(&key).await.map_err(|error| error.to_string()))?;
            writeln!(said, "{:?}", host.databases())?;
            proxy.heal().await?;
        }
    }
    writeln!(said, "{host:?} {:?}", host.counts())?;
    Ok(vec![key])
}

/// Creates a session under deadlines that a busy machine may miss.
async fn create(sessions: &Sessions) -> Result<SessionKey> {
    let mut created = None;
    let tried = async || {
        created = sessions.create(payload(PAYLOAD), expires_in(MINUTE)).await.ok();
        created.is_some()
    };
    until("a session is created", tried).await?;
    created.context("it was created")
}

/// Everything that a caller can print of a call, for every kind of failure.
async fn exercise(rig: &Rig, said: &mut String) -> Result<Vec<SessionKey>> {
    let sessions = rig.sessions();
    let key = create(&sessions).await?;
    let mut note = |what: &dyn std::fmt::Debug| writeln!(said, "{what:?}").unwrap();
    note(&sessions.load(&key).await);
    note(&sessions.save(&key, payload(PAYLOAD), expires_in(MINUTE)).await);
    note(&sessions.touch(&key, expires_in(MINUTE)).await);
    note(&sessions.exists(&key).await);
    let faults = [
        Fault::Before(DatabaseError::Unavailable { message: "refused".to_owned() }),
        Fault::After(DatabaseError::UnknownOutcome { message: "cut".to_owned() }),
        Fault::Silent { effect: true },
        Fault::Silent { effect: false },
    ];
    for fault in faults {
        for database in [&rig.old, &rig.new] {
            for operation in [Operation::Read, Operation::Write, Operation::Statement, Operation::Commit] {
                database.inject_times(3, operation, fault.clone());
            }
            note(&sessions.load(&key).await);
            note(&sessions.save(&key, payload(PAYLOAD), expires_in(MINUTE)).await);
            note(&sessions.touch(&key, expires_in(MINUTE)).await);
            note(&sessions.exists(&key).await);
            note(&sessions.cycle_key(&key).await);
            database.heal();
        }
    }
    note(&sessions.cycle_key(&key).await);
    note(&sessions.delete(&key).await);
    note(&rig.switchover);
    note(&rig.switchover.policy());
    note(&rig.switchover.counts());
    note(&rig.switchover.databases());
    Ok(vec![key])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_and_payloads_appear_nowhere() -> Result<()> {
    let log = Everything::default();
    // There is one test in this file, so that the one subscriber of the process sees everything.
    tracing::subscriber::set_global_default(log.clone())?;
    let mut said = String::new();
    let mut keys = Vec::new();

    let mut limits = patient();
    limits.read_deadline = Duration::from_millis(50);
    limits.write_deadline = Duration::from_millis(50);
    limits.repair_patience = Duration::from_millis(200);
    let rig = Rig::with(|builder| builder.insist_on_flags(true).limits(limits).cache(MemoryCache::with_bytes(1 << 10)))
        .await?;
    keys.extend(exercise(&rig, &mut said).await?);
    rig.flag("migration_flag", true).await?;
    keys.extend(exercise(&rig, &mut said).await?);

    // A policy tries to reveal them in its log, in an error and in a panic, with and without the grant.
    rig.flag("migration_flag", false).await?;
    for policy in ["log-key", "trap", "recurse", "big-log", "foreign-key"] {
        for granted in [false, true] {
            let policy = Policy::file(component("hostile")).setting("behaviour", policy).setting("armed_by", "armed");
            rig.switchover.swap_policy(if granted { policy.grant_payload() } else { policy }).await?;
            let key = create(&rig.sessions()).await?;
            rig.flag("armed", true).await?;
            writeln!(said, "{:?}", rig.sessions().load(&key).await)?;
            if let Err(error) = rig.sessions().load(&key).await {
                writeln!(said, "{error}")?;
            }
            rig.flag("armed", false).await?;
            keys.push(key);
        }
    }

    // Rows that cannot be read, in a database whose errors contain its statements.
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("sessions.sqlite3");
    let sqlite = Sqlite::builder(&path).create_if_missing(true).open().await?;
    let deadline = std::time::Instant::now() + MINUTE;
    sqlite.upkeep().create_schema(deadline).await?;
    let host =
        Switchover::builder().database("default", sqlite).policy(Policy::builtin(Builtin::CachedDb)).build().await?;
    let key = host.sessions().create(payload(PAYLOAD), expires_in(MINUTE)).await?;
    writeln!(said, "{:?}", host.sessions().load(&key).await)?;
    std::fs::write(&path, b"not a database any more")?;
    for _ in 0..2 {
        writeln!(said, "{:?}", host.sessions().load(&key).await)?;
        writeln!(said, "{:?}", host.sessions().save(&key, payload(PAYLOAD), expires_in(MINUTE)).await)?;
    }
    keys.push(key);

    keys.extend(exercise_servers(&mut said).await?);

    let logged = log.0.lock().unwrap().clone();
    assert!(logged.contains("(key)"), "the policy's lines are in the log, their key struck out: {logged}");
    assert!(logged.contains("withheld"), "the lines of a policy that read a payload are withheld");
    for (place, text) in [("what calls answered", &said), ("the log", &logged)] {
        assert!(text.len() > 200, "{place} was captured");
        for key in &keys {
            assert!(!text.contains(key.expose()), "a key is in {place}");
        }
        assert!(!text.contains(PAYLOAD), "a payload is in {place}");
    }
    Ok(())
}
