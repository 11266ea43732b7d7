//! `shards` while n changes under load: in two swaps no session is lost, and none comes back after its logout.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use switchover::backends::{Faulty, MemoryDatabase};
use switchover::capabilities::Database as _;
use switchover::{Builtin, Policy, SaveOutcome, SessionKey, SwapError, expires_in};
use switchover_shards::{Shards, owner};
use switchover_tests::{LIFE, Load, Rig, create};

const TWO: [&str; 2] = ["default", "new_session_store"];
const THREE: [&str; 3] = ["default", "new_session_store", "third"];
const PATIENCE: Duration = Duration::from_secs(60);

fn set(policy: Policy, databases: &[&str], previous: Option<&[&str]>) -> Policy {
    let policy = policy.setting("databases", databases.join(", "));
    previous.map_or(policy.clone(), |previous| policy.setting("previous", previous.join(",")))
}

fn shards(databases: &[&str], previous: Option<&[&str]>) -> Policy {
    set(Policy::builtin(Builtin::Shards), databases, previous)
}

async fn rig(databases: &[&str]) -> Result<(Rig, Faulty<MemoryDatabase>)> {
    let third = Faulty::new(MemoryDatabase::new());
    let policy = shards(databases, None);
    let rig = Rig::with(|builder| builder.database("third", third.clone()).policy(policy)).await?;
    Ok((rig, third))
}

async fn rows(database: &Faulty<MemoryDatabase>) -> Result<HashMap<SessionKey, String>> {
    let page = database.inner().upkeep().scan(None, 1_000_000, Instant::now() + PATIENCE).await?;
    Ok(page
        .sessions
        .into_iter()
        .map(|session| (session.key, session.payload.as_text().unwrap_or_default().to_owned()))
        .collect())
}

/// Waits until every living session is at its owner among three databases.
async fn carried_over(rig: &Rig, third: &Faulty<MemoryDatabase>) -> Result<()> {
    let patience = Instant::now() + PATIENCE;
    loop {
        let (mut before, after) = (rows(&rig.old).await?, rows(third).await?);
        before.extend(rows(&rig.new).await?);
        let left = before.keys().filter(|key| owner(&THREE, key.expose()) == Some("third") && !after.contains_key(key));
        match left.count() {
            0 => return Ok(()),
            left if patience < Instant::now() => bail!("{left} sessions are never carried over"),
            _ => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

async fn idle_sessions(rig: &Rig, count: usize) -> Result<Vec<SessionKey>> {
    let mut keys = Vec::new();
    for number in 0..count {
        keys.push(create(&rig.sessions(), format!("idle {number}")).await?);
    }
    Ok(keys)
}

/// Touches the first half, as a user's request would, and logs the others out.
async fn use_and_log_out(rig: &Rig, keys: &[SessionKey]) -> Result<()> {
    let (stay, leave) = keys.split_at(keys.len() / 2);
    for key in stay {
        let touched = rig.sessions().touch(key, expires_in(2 * LIFE)).await?;
        ensure!(touched == SaveOutcome::Saved, "the touch of a living session returned {touched:?}");
    }
    for key in leave {
        ensure!(rig.sessions().delete(key).await?, "a living session was gone at its logout");
    }
    Ok(())
}

async fn are_as_they_were_left(rig: &Rig, keys: &[SessionKey]) -> Result<()> {
    for (number, key) in keys.iter().enumerate() {
        let found =
            rig.sessions().load(key).await?.map(|session| session.payload.as_text().unwrap_or_default().to_owned());
        let expected = (number < keys.len() / 2).then(|| format!("idle {number}"));
        ensure!(found == expected, "idle session {number}: {found:?} instead of {expected:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn third_database_is_added_under_load_and_nothing_is_lost() -> Result<()> {
    let (rig, third) = rig(&TWO).await?;
    let idle = idle_sessions(&rig, 200).await?;
    let load = Load::start(&rig.sessions(), 32);
    load.progress(500).await?;
    assert!(rows(&third).await?.is_empty());

    rig.switchover.swap_policy(shards(&THREE, Some(&TWO))).await?;
    load.progress(500).await?;
    use_and_log_out(&rig, &idle).await?;
    carried_over(&rig, &third).await?;

    rig.switchover.swap_policy(shards(&THREE, None)).await?;
    load.progress(500).await?;
    are_as_they_were_left(&rig, &idle).await?;
    load.stop().await?;
    assert_eq!(rig.switchover.policy().faults, 0);

    let third = rows(&third).await?;
    let moved = idle[..100].iter().filter(|key| third.contains_key(key)).count();
    assert!((10..60).contains(&moved), "{moved} of 100 sessions moved; a third of them should");
    assert!(third.keys().all(|key| owner(&THREE, key.expose()) == Some("third")), "only its own keys come to it");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_step_can_be_taken_back_under_load_and_nothing_is_lost() -> Result<()> {
    let (rig, third) = rig(&TWO).await?;
    let idle = idle_sessions(&rig, 100).await?;
    let load = Load::start(&rig.sessions(), 32);
    for round in 0..4 {
        let policy = if round % 2 == 0 { Policy::builtin(Builtin::Shards) } else { Policy::native::<Shards>() };
        rig.switchover.swap_policy(set(policy, &THREE, Some(&TWO))).await?;
        load.progress(300).await?;
        rig.switchover.rollback_policy().await?;
        load.progress(300).await?;
        rig.switchover.swap_policy(shards(&TWO, None)).await?;
    }
    assert!(!rows(&third).await?.is_empty(), "something was carried over");
    use_and_log_out(&rig, &idle).await?;
    rig.switchover.swap_policy(shards(&THREE, Some(&TWO))).await?;
    load.progress(300).await?;
    are_as_they_were_left(&rig, &idle).await?;
    load.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn database_leaves_under_load_and_nothing_is_lost() -> Result<()> {
    let (rig, third) = rig(&THREE).await?;
    let idle = idle_sessions(&rig, 100).await?;
    let load = Load::start(&rig.sessions(), 32);
    rig.switchover.swap_policy(shards(&TWO, Some(&THREE))).await?;
    use_and_log_out(&rig, &idle).await?;
    let patience = Instant::now() + PATIENCE;
    loop {
        let (mut left, mut stay) = (rows(&third).await?, rows(&rig.old).await?);
        stay.extend(rows(&rig.new).await?);
        left.retain(|key, _| !stay.contains_key(key));
        if left.is_empty() {
            break;
        }
        ensure!(Instant::now() < patience, "{} sessions are never carried over", left.len());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    rig.switchover.swap_policy(shards(&TWO, None)).await?;
    third.set_down(true);
    load.progress(500).await?;
    are_as_they_were_left(&rig, &idle).await?;
    load.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_cannot_be_are_refused_by_name_and_the_old_ones_serve() -> Result<()> {
    let (rig, _third) = rig(&TWO).await?;
    let before = rig.switchover.policy().version;
    let wrong = [
        (Policy::builtin(Builtin::Shards), "`databases` is not set"),
        (shards(&["default", ""], None), "`databases` has an empty name"),
        (shards(&["default", "default"], None), "`databases` names default twice"),
        (shards(&THREE, Some(&[])), "leave it out while n does not change"),
        (shards(&["default", "elsewhere"], None), "elsewhere"),
        (set(Policy::native::<Shards>(), &["default", ""], None), "`databases` has an empty name"),
    ];
    for (policy, expected) in wrong {
        match rig.switchover.swap_policy(policy).await {
            Err(error @ SwapError::Rejected { .. }) => {
                ensure!(error.to_string().contains(expected), "{expected:?} is not in {error}");
            }
            other => bail!("{expected}: {other:?}"),
        }
    }
    assert_eq!(rig.switchover.policy().version, before);
    create(&rig.sessions(), "v1").await?;
    Ok(())
}
