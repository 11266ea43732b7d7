//! Flags that change under load: the migration of 2016 within one host loses nothing.

use std::time::Duration;

use anyhow::Result;
use switchover::backends::FlagFile;
use switchover::capabilities::{Clock as _, Database, SystemClock};
use switchover::{Builtin, Policy, Rejection, SwapError, Switchover, expires_in};
use switchover_guest::{Description, Host, Result as Told, SaveMode, SaveOutcome, Target};
use switchover_tests::{LIFE, Load, Rig, create, payload};

async fn keys(database: &dyn Database) -> Result<usize> {
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    Ok(database.upkeep().scan(None, 100_000, deadline).await?.sessions.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn story_of_2016_under_load_loses_nothing() -> Result<()> {
    let rig = Rig::with(|builder| builder.policy(Policy::builtin(Builtin::CachedDb))).await?;
    let sessions = rig.sessions();
    let idle = create(&sessions, "idle").await?;
    let load = Load::start(&sessions, 32);
    load.progress(500).await?;
    rig.switchover.swap_policy(Policy::builtin(Builtin::Fallback)).await?;
    load.progress(500).await?;
    rig.flag("migration_flag", true).await?;
    load.progress(2_000).await?;
    assert_eq!(sessions.load(&idle).await?.unwrap().payload, payload("idle"), "found in the old database alone");
    sessions.touch(&idle, expires_in(2 * LIFE)).await?;
    // Users that began before the flag carry their session over with their next save. This waits for all of them.
    while keys(&rig.old).await? > keys(&rig.new).await? {
        load.progress(200).await?;
    }
    load.progress(2_000).await?;
    rig.flag("new_db_router_flag", true).await?;
    load.progress(500).await?;
    rig.flag("migration_flag", false).await?;
    load.progress(500).await?;
    let policy = Policy::builtin(Builtin::CachedDb).setting("database", "new_session_store");
    rig.switchover.swap_policy(policy).await?;
    load.progress(500).await?;
    rig.old.set_down(true);
    load.progress(500).await?;
    load.stop().await?;
    assert_eq!(sessions.load(&idle).await?.unwrap().payload, payload("idle"));
    assert_eq!(rig.switchover.router().db_for_read("sessions", "session").await?.as_str(), "new_session_store");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unrelated_flags_change_all_the_time_and_fail_no_call() -> Result<()> {
    let rig = Rig::new().await?;
    let load = Load::start(&rig.sessions(), 32);
    for change in 0..100 {
        rig.flags.set("unrelated", change.to_string());
        load.progress(50).await?;
    }
    rig.switchover.apply_flags().await?;
    assert_eq!(rig.switchover.flags().value("unrelated"), Some("99"));
    load.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flag_file_is_followed_and_a_broken_one_leaves_the_last_snapshot() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("flags.toml");
    std::fs::write(&path, "migration_flag = false\n")?;
    let flags = FlagFile::watch(&path)?;
    let host = Switchover::builder()
        .database("default", switchover::backends::MemoryDatabase::new())
        .database("new_session_store", switchover::backends::MemoryDatabase::new())
        .flags(flags)
        .policy(Policy::builtin(Builtin::Fallback))
        .build()
        .await?;
    let in_force = async |name: &str| {
        let give_up = SystemClock.now().plus(Duration::from_secs(30));
        while !host.flags().enabled(name) {
            assert!(SystemClock.now() < give_up, "{name} is not in force");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    std::fs::write(&path, "migration_flag = true\n")?;
    in_force("migration_flag").await;
    std::fs::write(&path, "this is = not [ toml")?;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(host.flags().enabled("migration_flag"));
    std::fs::remove_file(&path)?;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(host.flags().enabled("migration_flag"));
    std::fs::write(&path, "migration_flag = true\nnew_db_router_flag = true\n")?;
    in_force("new_db_router_flag").await;
    Ok(())
}

#[tokio::test]
async fn flags_that_cannot_be_read_at_start_are_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let error = FlagFile::watch(folder.path().join("absent.toml")).err().unwrap().to_string();
    assert!(error.contains("absent.toml"), "{error}");
}

/// A policy that is right while its flag is off. With the flag on, it reads where there are no rows.
struct Astray;

const HOME: &str = "default";

impl switchover_guest::Policy for Astray {
    fn describe<H: Host>(_: &H) -> Description {
        let databases = vec![HOME.into(), "new_session_store".into()];
        Description { name: "astray".into(), protocol: "astray".into(), databases, ..Description::default() }
    }

    async fn load<H: Host>(host: &H, key: &str) -> Told<Option<H::Session>> {
        host.load(HOME, key).await
    }

    async fn save<H: Host>(host: &H, key: &str, value: H::Session, mode: SaveMode) -> Told<SaveOutcome> {
        host.save(&Target::home(HOME), key, &value, mode).await
    }

    async fn touch<H: Host>(host: &H, key: &str, expires_at: u64) -> Told<SaveOutcome> {
        host.touch(&Target::home(HOME), key, expires_at).await
    }

    async fn delete<H: Host>(host: &H, key: &str) -> Told<bool> {
        host.delete(&Target::home(HOME), key).await
    }

    async fn exists<H: Host>(host: &H, key: &str) -> Told<bool> {
        host.exists(if host.flag_enabled("new_db_router_flag") { "new_session_store" } else { HOME }, key).await
    }

    async fn clear_expired<H: Host>(host: &H, limit: u32) -> Told<u32> {
        host.delete_expired(HOME, None, limit).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flags_under_which_the_running_policy_fails_are_refused_until_another_one_runs() -> Result<()> {
    let rig = Rig::with(|builder| builder.policy(Policy::native::<Astray>())).await?;
    let load = Load::start(&rig.sessions(), 8);
    load.progress(100).await?;
    rig.flags.set("new_db_router_flag", "true");
    let refused = rig.switchover.apply_flags().await.unwrap_err();
    assert!(
        matches!(&refused, SwapError::Rejected { kind: Rejection::Trial, message } if message.contains("exists")),
        "{refused}"
    );
    assert!(!rig.switchover.flags().enabled("new_db_router_flag"), "the flags of before stay");
    load.progress(100).await?;
    load.stop().await?;

    // A policy that passes its trial lets the flags come into force. The previous policy is tried again before it could
    // come back.
    rig.switchover.swap_policy(Policy::builtin(Builtin::Fallback)).await?;
    rig.switchover.apply_flags().await?;
    assert!(rig.switchover.flags().enabled("new_db_router_flag"));
    let refused = rig.switchover.rollback_policy().await.unwrap_err();
    assert!(
        matches!(&refused, SwapError::Rejected { kind: Rejection::Trial, message } if message.contains("exists")),
        "{refused}"
    );
    assert_eq!(rig.switchover.policy().version.name, "fallback");

    let insisting = Rig::with(|builder| builder.policy(Policy::native::<Astray>()).insist_on_flags(true)).await?;
    insisting.flag("new_db_router_flag", true).await?;
    assert!(insisting.switchover.flags().enabled("new_db_router_flag"));
    Ok(())
}
