//! The API of the session store: what each call returns, and what a new key means.

use std::time::{Duration, Instant};

use anyhow::Result;
use switchover::backends::{Fault, FlagSwitch, MemoryCache, MemoryDatabase, Operation, Sqlite};
use switchover::capabilities::{Database as _, DatabaseError};
use switchover::{
    BuildError, Builtin, CycleOutcome, Error, Hints, Layout, Payload, Policy, Rejection, SaveOutcome, SessionKey,
    SwapError, Switchover, Timestamp, expires_in,
};
use switchover_tests::{LIFE, Rig, create, patient, payload, until};

const MINUTE: Duration = Duration::from_secs(60);

fn down() -> Fault {
    Fault::Before(DatabaseError::Unavailable { message: "connection refused".to_owned() })
}

#[tokio::test]
async fn session_lives_from_create_to_delete() -> Result<()> {
    let sessions = Rig::new().await?.sessions();
    let key = create(&sessions, "v1").await?;
    assert_eq!(key.expose().len(), 32);
    assert!(sessions.exists(&key).await?);
    assert_eq!(sessions.load(&key).await?.unwrap().payload, payload("v1"));
    assert_eq!(sessions.save(&key, payload("v2"), expires_in(MINUTE)).await?, SaveOutcome::Saved);
    assert_eq!(sessions.load(&key).await?.unwrap().payload, payload("v2"));
    assert!(sessions.delete(&key).await?);
    assert!(sessions.load(&key).await?.is_none());
    assert!(!sessions.exists(&key).await?);
    assert!(!sessions.delete(&key).await?);
    assert_eq!(sessions.save(&key, payload("v3"), expires_in(MINUTE)).await?, SaveOutcome::Missing);
    assert_eq!(sessions.touch(&key, expires_in(MINUTE)).await?, SaveOutcome::Missing);
    assert!(sessions.load(&key).await?.is_none(), "a save after a logout must not bring the session back");
    Ok(())
}

#[tokio::test]
async fn touch_moves_the_end_and_never_shortens() -> Result<()> {
    let sessions = Rig::new().await?.sessions();
    let key = create(&sessions, "v1").await?;
    let late = expires_in(2 * LIFE);
    sessions.touch(&key, late).await?;
    sessions.touch(&key, expires_in(Duration::from_secs(5))).await?;
    let session = sessions.load(&key).await?.unwrap();
    assert_eq!((session.expires_at, session.payload), (late, payload("v1")));
    Ok(())
}

#[tokio::test]
async fn ended_session_is_absent_and_its_key_is_taken_until_it_is_cleared() -> Result<()> {
    let sessions = Rig::new().await?.sessions();
    let key = sessions.create(payload("v1"), Timestamp::from_micros(1)).await?;
    assert!(sessions.load(&key).await?.is_none());
    assert!(sessions.exists(&key).await?);
    assert_eq!(sessions.clear_expired(10).await?, 1);
    assert!(!sessions.exists(&key).await?);
    assert_eq!(sessions.clear_expired(10).await?, 0);
    Ok(())
}

#[tokio::test]
async fn caller_whose_calls_never_wait_lets_other_tasks_run() -> Result<()> {
    let sessions = Rig::new().await?.sessions();
    let key = create(&sessions, "v1").await?;
    sessions.load(&key).await?;
    let (ran, mut other) = tokio::sync::oneshot::channel();
    tokio::spawn(async move { ran.send(()) });
    // There is one thread, and from here on the cache answers, so the other task runs only when this one lets it.
    while other.try_recv().is_err() {
        sessions.load(&key).await?;
    }
    Ok(())
}

#[tokio::test]
async fn payload_over_the_limit_is_invalid_and_names_both_sizes() -> Result<()> {
    let mut limits = patient();
    limits.payload_bytes_max = 10;
    let rig = Rig::with(|builder| builder.limits(limits)).await?;
    let error = rig.sessions().create(payload("eleven byte"), expires_in(MINUTE)).await.unwrap_err();
    assert!(
        matches!(&error, Error::Invalid { message, .. } if message.contains("11") && message.contains("10")),
        "{error}"
    );
    Ok(())
}

#[tokio::test]
async fn limits_change_while_the_host_runs_all_or_none() -> Result<()> {
    let rig = Rig::new().await?;
    let key = create(&rig.sessions(), "v1").await?;
    let mut limits = (*rig.switchover.limits()).clone();
    limits.call_wall_time = Duration::from_millis(50);
    limits.warm_instances += 1;
    let refused = rig.switchover.change_limits(limits.clone()).unwrap_err();
    assert_eq!(refused.name(), "warm_instances");
    assert_eq!(rig.switchover.limits().call_wall_time, patient().call_wall_time);

    rig.old.hold(Operation::Write);
    let under_way = tokio::spawn({
        let (sessions, key) = (rig.sessions(), key.clone());
        async move { sessions.save(&key, payload("v2"), expires_in(MINUTE)).await }
    });
    until("the save is held", async || rig.old.held(Operation::Write) == 1).await?;
    limits.warm_instances -= 1;
    rig.switchover.change_limits(limits)?;
    let begun_since = rig.sessions().save(&key, payload("v3"), expires_in(MINUTE)).await.unwrap_err();
    assert!(begun_since.is_unknown_outcome(), "{begun_since}");
    rig.old.release();
    assert_eq!(under_way.await??, SaveOutcome::Saved, "it ends under the limits that it began with");
    Ok(())
}

#[tokio::test]
async fn cycled_session_keeps_its_payload_and_end_under_a_new_key_alone() -> Result<()> {
    let sessions = Rig::new().await?.sessions();
    let old = create(&sessions, "v1").await?;
    let before = sessions.load(&old).await?.unwrap();
    let CycleOutcome::Cycled(new) = sessions.cycle_key(&old).await? else { panic!("the session is there") };
    let after = sessions.load(&new).await?.unwrap();
    assert_eq!((before.payload, before.expires_at), (after.payload, after.expires_at));
    assert!(sessions.load(&old).await?.is_none());
    assert_eq!(sessions.cycle_key(&old).await?, CycleOutcome::Missing);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logout_during_a_cycle_stays_a_logout() -> Result<()> {
    let rig = Rig::new().await?;
    let sessions = rig.sessions();
    for _ in 0..200 {
        let old = create(&sessions, "v1").await?;
        let cycle = {
            let (sessions, old) = (sessions.clone(), old.clone());
            tokio::spawn(async move { sessions.cycle_key(&old).await })
        };
        let logout = {
            let (sessions, old) = (sessions.clone(), old.clone());
            tokio::spawn(async move { sessions.delete(&old).await })
        };
        let (cycled, logged_out) = (cycle.await??, logout.await??);
        match (cycled, logged_out) {
            // The logout found the old key, so nothing may live under the new one.
            (CycleOutcome::Missing, true) => {}
            // The cycle came first: the logout came too late for this key and found nothing.
            (CycleOutcome::Cycled(new), false) => assert!(sessions.load(&new).await?.is_some()),
            (cycled, logged_out) => panic!("{cycled:?} and logout {logged_out}"),
        }
        assert!(sessions.load(&old).await?.is_none());
    }
    // Only rows of deleted sessions could be left: every living session was counted above.
    Ok(())
}

#[tokio::test]
async fn cycle_whose_delete_fails_carries_the_new_key() -> Result<()> {
    let rig = Rig::new().await?;
    let sessions = rig.sessions();
    let old = create(&sessions, "v1").await?;
    // The first write of a cycle is the create, the second the delete.
    rig.old.inject_times(
        1,
        Operation::Write,
        Fault::After(DatabaseError::UnknownOutcome { message: "cut".to_owned() }),
    );
    let first = sessions.cycle_key(&old).await.unwrap_err();
    assert!(first.is_unknown_outcome() && !matches!(first, Error::CycleIncomplete { .. }), "{first}");

    rig.old.hold(Operation::Write);
    let cycle = tokio::spawn({
        let (sessions, old) = (sessions.clone(), old.clone());
        async move { sessions.cycle_key(&old).await }
    });
    until("the new key is created", async || rig.old.held(Operation::Write) == 1).await?;
    rig.old.inject_times(1, Operation::Write, down());
    rig.old.release();
    let error = cycle.await?.unwrap_err();
    rig.old.heal();
    let Error::CycleIncomplete { new_key, source } = error else { panic!("{error}") };
    assert!(matches!(*source, Error::Unavailable { .. }), "{source}");
    assert!(sessions.load(&new_key).await?.is_some());
    assert!(sessions.load(&old).await?.is_some(), "the error says that the old key may live");
    assert!(sessions.delete(&old).await?);
    Ok(())
}

#[tokio::test]
async fn new_key_that_no_caller_got_and_that_stays_is_counted() -> Result<()> {
    let rig = Rig::new().await?;
    let sessions = rig.sessions();
    let old = create(&sessions, "v1").await?;
    let held = async |count| until("a write is held", async || rig.old.held(Operation::Write) == count).await;
    rig.old.hold(Operation::Write);
    let cycle = tokio::spawn({
        let (sessions, old) = (sessions.clone(), old.clone());
        async move { sessions.cycle_key(&old).await }
    });
    // While the new key is created, the session is logged out. Then the cycle's delete of the old key finds nothing.
    held(1).await?;
    let logout = tokio::spawn(async move { sessions.delete(&old).await });
    held(2).await?;
    rig.old.release();
    rig.old.hold(Operation::Write);
    assert!(logout.await??);
    held(1).await?;
    rig.old.inject_times(1, Operation::Write, down());
    rig.old.release();
    assert_eq!(cycle.await??, CycleOutcome::Missing);
    assert_eq!(rig.switchover.counts().new_keys_left, 1);
    Ok(())
}

#[tokio::test]
async fn router_falls_back_as_django_does() -> Result<()> {
    let rig = Rig::new().await?;
    let router = rig.switchover.router();
    let from = |name: &str| Hints { instance_database: Some(name.to_owned()), ..Hints::default() };
    assert_eq!(router.db_for_read("sessions", "session").await?.as_str(), "default");
    let routed = router.db_for_write_with("sessions", "session", from("new_session_store")).await?;
    assert_eq!(routed.as_str(), "new_session_store", "no opinion: the database of the instance");
    rig.flag("new_db_router_flag", true).await?;
    assert_eq!(router.db_for_read("sessions", "session").await?.as_str(), "new_session_store");
    assert_eq!(router.db_for_write_with("sessions", "session", from("default")).await?.as_str(), "new_session_store");
    assert_eq!(router.db_for_read("auth", "user").await?.as_str(), "default");
    let names: Vec<_> = rig.switchover.databases().into_iter().map(|(name, _)| name).collect();
    assert!(!router.allow_migrate(&names[0], "sessions", Some("session")).await?);
    assert!(router.allow_migrate(&names[1], "sessions", Some("session")).await?);
    assert!(router.allow_migrate(&names[0], "auth", None).await?);
    let error = router.db_for_read_with("auth", "user", from("elsewhere")).await.unwrap_err();
    assert!(error.to_string().contains("elsewhere"), "{error}");
    Ok(())
}

#[test]
fn keys_from_outside_are_checked_and_never_repeated() {
    for wrong in ["", "with space1", "aaaaaaaa\0", "tab\tseparated", "é234567890", &"a".repeat(256), "'; drop table"] {
        let error = SessionKey::parse(wrong).unwrap_err().to_string();
        assert!(wrong.is_empty() || !error.contains(wrong), "{error}");
    }
    for right in ["a", "abcdefgh", "UPPERCASE0", "aB-_.~!'\"", &"z9".repeat(20), &"Z".repeat(255)] {
        assert_eq!(SessionKey::parse(right).unwrap().expose(), right);
    }
    let key = SessionKey::random();
    assert!(!format!("{key} {key:?}").contains(key.expose()));
}

/// A host that cannot reach the shared cache leaves an old entry there for a while. Other hosts must not write what
/// comes from it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cycle_key_carries_what_the_database_has_and_not_what_a_cache_kept() -> Result<()> {
    let (database, cache) = (MemoryDatabase::new(), MemoryCache::default());
    let host = |cache: Option<MemoryCache>| {
        let builder = Switchover::builder().database("default", database.clone());
        cache.into_iter().fold(builder, |builder, cache| builder.cache(cache)).build()
    };
    let (cut_off, whole) = (host(None).await?, host(Some(cache)).await?);
    let (cut_off, whole) = (cut_off.sessions(), whole.sessions());
    let key = create(&whole, "v1").await?;
    assert_eq!(whole.load(&key).await?.unwrap().payload, payload("v1"), "and it is cached");
    let end = expires_in(Duration::from_secs(90));
    assert_eq!(cut_off.save(&key, payload("v2"), end).await?, SaveOutcome::Saved);
    assert_eq!(whole.load(&key).await?.unwrap().payload, payload("v1"), "the bound of the cache");
    assert_eq!(whole.load_uncached(&key).await?.unwrap().payload, payload("v2"));

    let CycleOutcome::Cycled(new_key) = whole.cycle_key(&key).await? else { panic!("it lives") };
    for sessions in [&cut_off, &whole] {
        let found = sessions.load(&new_key).await?.unwrap();
        assert_eq!((found.payload, found.expires_at), (payload("v2"), end), "an acknowledged write was lost");
        assert!(sessions.load(&key).await?.is_none());
    }
    Ok(())
}

#[tokio::test]
async fn two_aliases_of_one_table_are_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("sessions.sqlite3");
    let file = Sqlite::builder(&path).create_if_missing(true).open().await?;
    file.upkeep().create_schema(Instant::now() + MINUTE).await?;
    let link = folder.path().join("link.sqlite3");
    std::os::unix::fs::symlink(&path, &link)?;
    let again = Sqlite::open(&link).await?;
    let refused = Switchover::builder().database("default", file).database("new_session_store", again).build().await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("`default` and `new_session_store` are one table"), "{refused}");
    Ok(())
}

#[tokio::test]
async fn two_tables_of_one_sqlite_file_are_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("sessions.sqlite3");
    let mut tables = Vec::new();
    for table in ["old_sessions", "new_sessions"] {
        let database = Sqlite::builder(&path).table(table).create_if_missing(true).open().await?;
        database.upkeep().create_schema(Instant::now() + MINUTE).await?;
        tables.push(database);
    }
    let [old, new] = <[Sqlite; 2]>::try_from(tables).map_err(|_| anyhow::anyhow!("there are two"))?;
    let refused = Switchover::builder().database("default", old).database("new_session_store", new).build().await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("one SQLite file") && refused.contains("two files"), "{refused}");
    Ok(())
}

#[tokio::test]
async fn new_database_that_cannot_hold_what_the_old_one_can_is_refused_by_column() -> Result<()> {
    let host = |old, new, policy| {
        Switchover::builder()
            .database("default", MemoryDatabase::with_layout(old))
            .database("new_session_store", MemoryDatabase::with_layout(new))
            .flags(FlagSwitch::new([("migration_phase", "off"), ("migration_profile", "lazy")]))
            .policy(policy)
            .build()
    };
    for policy in [Builtin::Fallback, Builtin::Phased].map(Policy::builtin) {
        let refused = host(Layout::SWITCHOVER, Layout::DJANGO, policy.clone()).await.unwrap_err();
        let BuildError::Policy(SwapError::Rejected { kind: Rejection::Layout, message }) = &refused else {
            panic!("{refused:?}")
        };
        assert!(message.contains("session_key") && message.contains("`new_session_store`"), "{message}");
        let around = policy.setting("old", "new_session_store").setting("new", "default");
        host(Layout::SWITCHOVER, Layout::DJANGO, around).await?;
    }
    host(Layout::DJANGO, Layout::SWITCHOVER, Policy::builtin(Builtin::Fallback)).await?;
    // Other columns are looked at too.
    let folder = tempfile::tempdir()?;
    let open = async |name: &str, more: &str| {
        let path = folder.path().join(name);
        let database = Sqlite::builder(&path).create_if_missing(true).open().await?;
        database.upkeep().create_schema(Instant::now() + MINUTE).await?;
        rusqlite::Connection::open(&path)?.execute_batch(more)?;
        anyhow::Ok(database)
    };
    let old = open("old.sqlite3", "ALTER TABLE django_session ADD COLUMN user_id integer").await?;
    let new = open("new.sqlite3", "").await?;
    let pair = Switchover::builder().database("default", old).database("new_session_store", new);
    let serves = pair.policy(Policy::builtin(Builtin::CachedDb)).build().await?;
    let refused = serves.swap_policy(Policy::builtin(Builtin::Fallback)).await.unwrap_err();
    assert!(
        matches!(&refused, SwapError::Rejected { kind: Rejection::Layout, message } if message.contains("user_id")),
        "{refused}"
    );
    // It is mended without a restart.
    let add = "ALTER TABLE django_session ADD COLUMN user_id integer";
    rusqlite::Connection::open(folder.path().join("new.sqlite3"))?.execute_batch(add)?;
    serves.swap_policy(Policy::builtin(Builtin::Fallback)).await?;
    // A policy that moves nothing may have any.
    host(Layout::SWITCHOVER, Layout::DJANGO, Policy::builtin(Builtin::CachedDb)).await?;
    Ok(())
}

#[tokio::test]
async fn session_that_a_table_cannot_hold_is_refused_by_column_and_written_nowhere() -> Result<()> {
    let old = MemoryDatabase::new();
    let new = MemoryDatabase::with_layout(Layout::SWITCHOVER);
    let host = Switchover::builder()
        .database("default", old.clone())
        .database("new_session_store", new.clone())
        .flags(FlagSwitch::new([("migration_flag", "true")]))
        .policy(Policy::builtin(Builtin::Fallback))
        .build()
        .await?;
    let sessions = host.sessions();
    let binary = || Payload::from(&b"\0secret"[..]);
    let end = expires_in(MINUTE);
    let refused = sessions.create(binary(), end).await.unwrap_err();
    assert!(matches!(refused, Error::Invalid { .. }), "{refused:?}");
    assert!(refused.to_string().contains("session_data") && !refused.to_string().contains("secret"), "{refused}");
    let key = create(&sessions, "v1").await?;
    // Beside others that can be held, in one batch.
    let (good, bad) = tokio::join!(sessions.create(payload("v1"), end), sessions.save(&key, binary(), end));
    good?;
    assert!(matches!(bad, Err(Error::Invalid { .. })), "{bad:?}");
    assert_eq!(sessions.load(&key).await?.unwrap().payload, payload("v1"));
    // Under a key that no table of the old layout has is nothing there; it is no error of the visitor's.
    let foreign = SessionKey::parse("ABC-def.~")?;
    assert!(sessions.load(&foreign).await?.is_none() && !sessions.delete(&foreign).await?);
    assert_eq!(sessions.save(&foreign, payload("v1"), end).await?, SaveOutcome::Missing);
    for database in [old, new] {
        let page = database.upkeep().scan(None, 10, Instant::now() + MINUTE).await?;
        assert_eq!(page.sessions.len(), 2);
    }
    Ok(())
}
