//! Databases, caches and callers that fail: what was acknowledged stays, and nothing else is acknowledged.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use async_trait::async_trait;
use switchover::backends::{Fault, MemoryCache, Operation};
use switchover::capabilities::{
    Cache, CacheError, CacheLookup, Database, DatabaseError, Lease, Nonce, Read, ReadOutcome, Terms,
};
use switchover::{Error, ErrorCode, SaveOutcome, Session, SessionKey, Timestamp, expires_in};
use switchover_tests::{Load, Rig, create, patient, payload, until};

const MINUTE: Duration = Duration::from_secs(60);

async fn row(database: &dyn Database, key: &SessionKey) -> Option<Session> {
    let deadline = Instant::now() + MINUTE;
    match database.read(vec![Read::Load(key.clone())], Terms::by(deadline)).await.unwrap().remove(0) {
        ReadOutcome::Session(session) => session,
        other => unreachable!("a load was asked for, and answered {other:?}"),
    }
}

/// A cache in the process that can be made to fail or to hang.
struct Sick {
    inner: MemoryCache,
    sickness: Arc<AtomicU8>,
}

const HEALTHY: u8 = 0;
const FAILING: u8 = 1;
const HANGING: u8 = 2;

impl Sick {
    async fn suffer(&self) -> Result<(), CacheError> {
        match self.sickness.load(Ordering::Relaxed) {
            FAILING => Err(CacheError { message: "connection refused".to_owned() }),
            HANGING => std::future::pending().await,
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Cache for Sick {
    async fn get(&self, key: &SessionKey, now: Timestamp) -> Result<CacheLookup, CacheError> {
        self.suffer().await?;
        self.inner.get(key, now).await
    }

    async fn fill(&self, lease: Lease, session: &Session, ttl: Duration) -> Result<bool, CacheError> {
        self.suffer().await?;
        self.inner.fill(lease, session, ttl).await
    }

    async fn guard(&self, key: &SessionKey, nonce: Nonce, ttl: Duration) -> Result<(), CacheError> {
        self.suffer().await?;
        self.inner.guard(key, nonce, ttl).await
    }

    async fn release(&self, key: &SessionKey, nonce: Nonce) -> Result<(), CacheError> {
        self.suffer().await?;
        self.inner.release(key, nonce).await
    }

    async fn invalidate(&self, key: &SessionKey) -> Result<(), CacheError> {
        self.suffer().await?;
        self.inner.invalidate(key).await
    }

    fn summary(&self) -> String {
        "sick".to_owned()
    }
}

#[tokio::test]
async fn failing_database_is_an_error_and_never_no_session() -> Result<()> {
    let rig = Rig::with(|builder| builder.cache(MemoryCache::with_bytes(1))).await?;
    let sessions = rig.sessions();
    let key = create(&sessions, "v1").await?;
    rig.old.set_down(true);
    let unavailable = |error: &Error| matches!(error, Error::Unavailable { code: ErrorCode::Unavailable, .. });
    assert!(unavailable(&sessions.load(&key).await.unwrap_err()));
    assert!(unavailable(&sessions.exists(&key).await.unwrap_err()));
    assert!(unavailable(&sessions.save(&key, payload("v2"), expires_in(MINUTE)).await.unwrap_err()));
    assert!(unavailable(&sessions.touch(&key, expires_in(MINUTE)).await.unwrap_err()));
    assert!(unavailable(&sessions.delete(&key).await.unwrap_err()));
    assert!(unavailable(&sessions.clear_expired(1).await.unwrap_err()));
    rig.old.set_down(false);
    assert_eq!(sessions.load(&key).await?.unwrap().payload, payload("v1"));
    Ok(())
}

#[tokio::test]
async fn new_database_down_acknowledges_nothing_and_writes_nothing() -> Result<()> {
    let rig = Rig::new().await?;
    let sessions = rig.sessions();
    rig.flag("migration_flag", true).await?;
    let key = create(&sessions, "v1").await?;
    rig.new.set_down(true);
    assert!(matches!(
        sessions.save(&key, payload("v2"), expires_in(MINUTE)).await.unwrap_err(),
        Error::Unavailable { code: ErrorCode::Unavailable, .. }
    ));
    assert!(sessions.delete(&key).await.is_err());
    assert!(sessions.create(payload("x"), expires_in(MINUTE)).await.is_err());
    assert_eq!(sessions.load(&key).await?.unwrap().payload, payload("v1"), "reads go on from the old database");
    assert_eq!(row(&rig.old, &key).await.unwrap().payload, payload("v1"));
    rig.new.set_down(false);
    assert_eq!(row(&rig.new, &key).await.unwrap().payload, payload("v1"));
    Ok(())
}

#[tokio::test]
async fn commit_that_does_not_answer_is_unknown_and_both_databases_agree_soon() -> Result<()> {
    for effect in [true, false] {
        let mut limits = patient();
        limits.write_deadline = Duration::from_millis(500);
        let rig = Rig::with(|builder| builder.limits(limits)).await?;
        let sessions = rig.sessions();
        rig.flag("migration_flag", true).await?;
        let key = create(&sessions, "v1").await?;
        rig.old.inject_times(1, Operation::Commit, Fault::Silent { effect });
        let error = sessions.save(&key, payload("v2"), expires_in(MINUTE)).await.unwrap_err();
        assert!(matches!(error, Error::UnknownOutcome { .. }) && error.is_retryable(), "{error}");
        until("the key is repaired", async || rig.switchover.counts().repaired == 1).await?;
        let (old, new) = (row(&rig.old, &key).await, row(&rig.new, &key).await);
        assert_eq!(old, new, "effect {effect}");
        assert_eq!(old.unwrap().payload, payload(if effect { "v2" } else { "v1" }));
    }
    Ok(())
}

#[tokio::test]
async fn mirror_that_was_sent_and_did_not_answer_is_unknown_and_settled() -> Result<()> {
    for effect in [true, false] {
        let mut limits = patient();
        limits.write_deadline = Duration::from_millis(500);
        let rig = Rig::with(|builder| builder.limits(limits)).await?;
        let sessions = rig.sessions();
        rig.flag("migration_flag", true).await?;
        let key = create(&sessions, "v1").await?;
        rig.new.inject_times(1, Operation::Write, Fault::Silent { effect });
        let error = sessions.delete(&key).await.unwrap_err();
        assert!(matches!(error, Error::UnknownOutcome { .. }), "{error}");
        until("the key is repaired", async || rig.switchover.repairs_pending() == 0).await?;
        let (old, new) = (row(&rig.old, &key).await, row(&rig.new, &key).await);
        assert_eq!(old, new, "effect {effect}");
        assert!(sessions.delete(&key).await?, "it is safe to repeat");
        assert!(sessions.load(&key).await?.is_none());
    }
    Ok(())
}

#[tokio::test]
async fn unknown_outcomes_are_settled_before_flags_change() -> Result<()> {
    let rig = Rig::new().await?;
    let sessions = rig.sessions();
    rig.flag("migration_flag", true).await?;
    let key = create(&sessions, "v1").await?;
    let cut = DatabaseError::UnknownOutcome { message: "cut".to_owned() };
    rig.old.inject_times(1, Operation::Commit, Fault::Before(cut));
    assert!(sessions.save(&key, payload("v2"), expires_in(MINUTE)).await.unwrap_err().is_unknown_outcome());
    rig.flag("new_db_router_flag", true).await?;
    assert_eq!(rig.switchover.counts().repaired, 1, "the copy came before the new database became home");
    assert_eq!(row(&rig.new, &key).await, row(&rig.old, &key).await);
    Ok(())
}

/// The outcome becomes unknown only after the gate has closed, so no repair can begin before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_outcomes_that_are_born_while_an_era_drains_are_settled_before_the_next_one() -> Result<()> {
    let mut limits = patient();
    limits.write_deadline = Duration::from_millis(600);
    for closes in [false, true] {
        let rig = Rig::with(|builder| builder.limits(limits.clone())).await?;
        let sessions = rig.sessions();
        rig.flag("migration_flag", true).await?;
        let key = create(&sessions, "v1").await?;
        rig.new.inject_times(1, Operation::Write, Fault::Silent { effect: true });
        let save = tokio::spawn({
            let (sessions, key) = (sessions.clone(), key.clone());
            async move { sessions.save(&key, payload("v2"), expires_in(MINUTE)).await }
        });
        let (held, host) = (rig.old.clone(), rig.switchover.clone());
        until("the save is on its way", async || held.counts().transactions >= 2).await?;
        if closes {
            host.close().await;
        } else {
            rig.flag("new_db_router_flag", true).await?;
        }
        assert!(save.await?.unwrap_err().is_unknown_outcome());
        let counts = rig.switchover.counts();
        assert_eq!((counts.unknown_outcomes, counts.repaired, counts.repairs_abandoned), (1, 1, 0));
        if !closes {
            assert_eq!(row(&rig.new, &key).await, row(&rig.old, &key).await);
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sick_cache_fails_no_call_and_serves_nothing_old() -> Result<()> {
    let sickness = Arc::new(AtomicU8::new(HEALTHY));
    let mut limits = patient();
    limits.cache_deadline = Duration::from_millis(5);
    let cache = Sick { inner: MemoryCache::default(), sickness: Arc::clone(&sickness) };
    let rig = Rig::with(|builder| builder.cache(cache).limits(limits)).await?;
    let load = Load::start(&rig.sessions(), 16);
    for sick in [FAILING, HANGING, FAILING, HANGING] {
        load.progress(200).await?;
        sickness.store(sick, Ordering::Relaxed);
        load.progress(100).await?;
    }
    load.stop().await?;
    assert!(rig.switchover.counts().cache_failures > 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn write_outlives_the_caller_that_went_away() -> Result<()> {
    let rig = Rig::new().await?;
    let sessions = rig.sessions();
    let key = create(&sessions, "v1").await?;
    rig.old.hold(Operation::Write);
    let caller = tokio::spawn({
        let key = key.clone();
        async move { sessions.save(&key, payload("v2"), expires_in(MINUTE)).await }
    });
    until("the write is under way", async || rig.old.held(Operation::Write) == 1).await?;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled(), "the caller went away");
    assert!(rig.switchover.policy().in_flight > 0, "the write goes on");
    rig.old.release();
    until("the write ends", async || rig.switchover.policy().in_flight == 0).await?;
    assert_eq!(row(&rig.old, &key).await.unwrap().payload, payload("v2"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_ends_with_the_caller_that_went_away() -> Result<()> {
    let rig = Rig::new().await?;
    let sessions = rig.sessions();
    let key = create(&sessions, "v1").await?;
    rig.old.hold(Operation::Read);
    for _ in 0..3 {
        let caller = tokio::spawn({
            let (sessions, key) = (sessions.clone(), key.clone());
            async move { sessions.load(&key).await }
        });
        until("the read is under way", async || rig.old.held(Operation::Read) == 1).await?;
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled(), "the caller went away");
        assert_eq!(rig.old.held(Operation::Read), 0, "the read has ended");
        let policy = rig.switchover.policy();
        assert_eq!((policy.in_flight, policy.calls_in_flight), (0, 0), "its place is free");
    }
    rig.old.release();
    assert_eq!(sessions.load(&key).await?.unwrap().payload, payload("v1"));
    assert_eq!(rig.switchover.policy().faults, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn call_that_outlives_its_wall_time_with_a_write_sent_is_unknown() -> Result<()> {
    let mut limits = patient();
    // Long enough for a call to come to its database on any machine.
    limits.call_wall_time = Duration::from_millis(500);
    let rig = Rig::with(|builder| builder.limits(limits)).await?;
    let sessions = rig.sessions();
    let key = create(&sessions, "v1").await?;
    rig.old.hold(Operation::Write);
    rig.old.hold(Operation::Read);
    let error = sessions.save(&key, payload("v2"), expires_in(MINUTE)).await.unwrap_err();
    assert!(matches!(error, Error::UnknownOutcome { .. }), "{error}");
    let other = SessionKey::random();
    let error = sessions.load(&other).await.unwrap_err();
    assert!(matches!(error, Error::Policy { .. }), "a read has no outcome to know: {error}");
    rig.old.release();
    until("the write ends", async || rig.switchover.policy().in_flight == 0).await?;
    assert_eq!(sessions.load(&key).await?.unwrap().payload, payload("v2"), "it was written, and the cache is clean");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_calls_than_places_wait_then_are_overloaded() -> Result<()> {
    let mut limits = patient();
    limits.calls_in_flight_max = 2;
    limits.calls_waiting_max = 2;
    limits.admission_wait = Duration::from_millis(100);
    let rig = Rig::with(|builder| builder.limits(limits)).await?;
    let sessions = rig.sessions();
    let key = create(&sessions, "v1").await?;
    rig.old.hold(Operation::Read);
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let (sessions, key) = (sessions.clone(), key.clone());
            tokio::spawn(async move { sessions.exists(&key).await })
        })
        .collect();
    until("six calls are overloaded", async || rig.switchover.counts().overloaded == 6).await?;
    rig.old.release();
    let mut overloaded = 0;
    for call in calls {
        match call.await? {
            Ok(exists) => assert!(exists),
            Err(Error::Overloaded { .. }) => overloaded += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(overloaded, 6, "two run, two wait too long, four find no place to wait");
    assert_eq!(rig.switchover.counts().overloaded, 6);
    assert!(sessions.exists(&key).await?, "it serves again");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flags_wait_for_writes_that_are_still_on_their_way() -> Result<()> {
    let rig = Rig::new().await?;
    let sessions = rig.sessions();
    let key = create(&sessions, "v1").await?;
    let delete = rig.held_delete(&key).await?;
    rig.flags.set("migration_flag", "true");
    rig.calls_wait().await?;
    assert!(!rig.switchover.flags().enabled("migration_flag"), "flags changed under a write that was on its way");
    rig.old.release();
    rig.switchover.apply_flags().await?;
    assert!(row(&rig.old, &key).await.is_none(), "flags changed under a write that was on its way");
    assert!(rig.switchover.flags().enabled("migration_flag"));
    assert!(delete.await??);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_that_cannot_be_written_costs_none_of_its_neighbours() -> Result<()> {
    let rig = Rig::new().await?;
    let sessions = rig.sessions();
    rig.flag("migration_flag", true).await?;
    let mut keys = Vec::new();
    for number in 0..9 {
        keys.push(create(&sessions, format!("{number}")).await?);
    }
    let save = |key: &SessionKey| {
        let (sessions, key) = (sessions.clone(), key.clone());
        tokio::spawn(async move { sessions.save(&key, payload("v2"), expires_in(MINUTE)).await })
    };
    // The first write is under way, so that the others share the next transaction, and that transaction is refused.
    rig.old.hold(Operation::Statement);
    let written = rig.switchover.counts().database_writes;
    let mut saves = vec![save(&keys[0])];
    until("the first write is under way", async || rig.old.held(Operation::Statement) == 1).await?;
    saves.extend(keys[1..].iter().map(save));
    until("the others wait", async || rig.switchover.counts().database_writes == written + 9).await?;
    let corrupt = DatabaseError::Corrupt { message: "a row that nobody can read".to_owned() };
    rig.old.inject_times(1, Operation::Statement, Fault::Before(corrupt));
    rig.old.release();
    for save in saves {
        assert_eq!(save.await??, SaveOutcome::Saved);
    }
    for key in &keys {
        assert_eq!(row(&rig.new, key).await.unwrap().payload, payload("v2"));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writes_of_one_key_keep_no_other_key_waiting() -> Result<()> {
    let rig = Rig::new().await?;
    let sessions = rig.sessions();
    rig.flag("migration_flag", true).await?;
    let (hot, cold) = (create(&sessions, "hot").await?, create(&sessions, "cold").await?);
    let save = |key: &SessionKey| {
        let (sessions, key) = (sessions.clone(), key.clone());
        tokio::spawn(async move { sessions.save(&key, payload("v2"), expires_in(MINUTE)).await })
    };
    rig.old.hold(Operation::Statement);
    let (written, commits) = (rig.switchover.counts().database_writes, rig.old.counts().commits);
    let crowd: Vec<_> = (0..100).map(|_| save(&hot)).collect();
    until("the crowd waits", async || rig.switchover.counts().database_writes == written + 100).await?;
    let other = save(&cold);
    until("the other write waits", async || rig.switchover.counts().database_writes == written + 101).await?;
    // So that the crowd does not end before this test looks.
    rig.old.set_latency(Duration::from_millis(5));
    rig.old.release();
    assert_eq!(other.await??, SaveOutcome::Saved);
    let waited = rig.old.counts().commits - commits;
    assert!(waited < 50, "the write of another key waited for {waited} of the crowd");
    for save in crowd {
        save.await??;
    }
    Ok(())
}
