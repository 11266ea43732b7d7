//! Policies are swapped while users are at work: no call fails, no answer is wrong, and the old version ends.

use std::time::Duration;

use anyhow::Result;
use switchover::capabilities::Database as _;
use switchover::{Builtin, Policy, SwapError};
use switchover_cached_db::CachedDb;
use switchover_fallback::Fallback;
use switchover_tests::{Load, Rig, create};

const SWAPS: u64 = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swap_within_a_protocol_fails_no_call() -> Result<()> {
    let rig = Rig::new().await?;
    let load = Load::start(&rig.sessions(), 32);
    for swap in 0..SWAPS {
        load.progress(200).await?;
        let version = match swap % 2 {
            0 => rig.switchover.swap_policy(Policy::native::<Fallback>()).await?,
            _ => rig.switchover.swap_policy(Policy::builtin(Builtin::Fallback)).await?,
        };
        assert_eq!(rig.switchover.policy().version, version);
    }
    load.progress(200).await?;
    load.stop().await?;
    assert_eq!(rig.switchover.policy().faults, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swap_to_another_protocol_fails_no_call() -> Result<()> {
    let rig = Rig::new().await?;
    let load = Load::start(&rig.sessions(), 32);
    for swap in 0..SWAPS {
        load.progress(200).await?;
        let policy = match swap % 4 {
            0 => Policy::builtin(Builtin::CachedDb),
            1 => Policy::builtin(Builtin::Fallback),
            2 => Policy::native::<CachedDb>(),
            _ => Policy::native::<Fallback>(),
        };
        rig.switchover.swap_policy(policy).await?;
    }
    load.progress(200).await?;
    load.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rollback_is_there_and_back_and_fails_no_call() -> Result<()> {
    let rig = Rig::new().await?;
    let first = rig.switchover.policy().version;
    assert!(matches!(rig.switchover.rollback_policy().await, Err(SwapError::NoPrevious)));
    let second = rig.switchover.swap_policy(Policy::builtin(Builtin::CachedDb)).await?;
    assert_ne!(first.digest, second.digest);
    let load = Load::start(&rig.sessions(), 16);
    for _ in 0..SWAPS {
        load.progress(50).await?;
        assert_eq!(rig.switchover.rollback_policy().await?, first);
        load.progress(50).await?;
        assert_eq!(rig.switchover.rollback_policy().await?, second);
    }
    load.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn call_under_way_ends_under_the_version_it_began_with() -> Result<()> {
    let rig = Rig::new().await?;
    let key = create(&rig.sessions(), "v1").await?;
    rig.old.set_latency(Duration::from_millis(300));
    let sessions = rig.sessions();
    // The cache does not serve a write, so the write is under way for as long as the database takes.
    let slow = tokio::spawn(async move { sessions.delete(&key).await });
    while rig.switchover.policy().calls_in_flight == 0 {
        tokio::task::yield_now().await;
    }
    rig.switchover.swap_policy(Policy::native::<Fallback>()).await?;
    assert_eq!(rig.switchover.policy().calls_in_flight, 0, "the call belongs to the version before");
    assert!(!slow.is_finished(), "the swap did not wait for it");
    assert!(slow.await??);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swap_to_another_protocol_waits_for_calls_under_the_old_one() -> Result<()> {
    let rig = Rig::new().await?;
    let key = create(&rig.sessions(), "v1").await?;
    rig.old.set_latency(Duration::from_millis(300));
    let sessions = rig.sessions();
    let slow = tokio::spawn(async move { sessions.delete(&key).await });
    while rig.switchover.policy().calls_in_flight == 0 {
        tokio::task::yield_now().await;
    }
    rig.switchover.swap_policy(Policy::builtin(Builtin::CachedDb)).await?;
    rig.old.set_latency(Duration::ZERO);
    let left = rig.old.inner().upkeep().scan(None, 1, std::time::Instant::now() + Duration::from_secs(5)).await?;
    assert!(left.sessions.is_empty(), "the swap came before the end of a call under another protocol");
    assert!(slow.await??);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_are_part_of_a_version() -> Result<()> {
    let rig = Rig::new().await?;
    let policy = || Policy::builtin(Builtin::CachedDb);
    let plain = rig.switchover.swap_policy(policy()).await?;
    let again = rig.switchover.swap_policy(policy()).await?;
    let other = rig.switchover.swap_policy(policy().setting("database", "new_session_store")).await?;
    let granted = rig.switchover.swap_policy(policy().grant_payload()).await?;
    assert_eq!(plain.digest, again.digest);
    assert_ne!(plain.generation, again.generation);
    assert_ne!(plain.digest, other.digest);
    assert_ne!(plain.digest, granted.digest);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closed_host_answers_closed_and_swaps_nothing() -> Result<()> {
    let rig = Rig::new().await?;
    let key = create(&rig.sessions(), "v1").await?;
    rig.switchover.close().await;
    assert!(matches!(rig.sessions().load(&key).await, Err(switchover::Error::Closed)));
    let swap = rig.switchover.swap_policy(Policy::native::<Fallback>()).await;
    assert!(matches!(swap, Err(SwapError::Closed)), "{swap:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn close_waits_for_calls_under_way() -> Result<()> {
    let rig = Rig::new().await?;
    let key = create(&rig.sessions(), "v1").await?;
    rig.old.set_latency(Duration::from_millis(200));
    let sessions = rig.sessions();
    let slow = tokio::spawn(async move { sessions.delete(&key).await });
    while rig.switchover.policy().calls_in_flight == 0 {
        tokio::task::yield_now().await;
    }
    rig.switchover.close().await;
    assert!(slow.await??, "the call that was under way ended well");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swap_that_cannot_drain_is_an_error_and_the_old_policy_goes_on() -> Result<()> {
    let mut limits = switchover::Limits::default();
    limits.drain_wait = Duration::from_millis(50);
    let rig = Rig::with(|builder| builder.limits(limits)).await?;
    let key = create(&rig.sessions(), "v1").await?;
    rig.old.set_latency(Duration::from_millis(1_500));
    let sessions = rig.sessions();
    let slow = tokio::spawn(async move { sessions.delete(&key).await });
    while rig.switchover.policy().calls_in_flight == 0 {
        tokio::task::yield_now().await;
    }
    let before = rig.switchover.policy().version;
    let swap = rig.switchover.swap_policy(Policy::builtin(Builtin::CachedDb)).await;
    assert!(matches!(swap, Err(SwapError::NotDrained { in_flight }) if in_flight > 0), "{swap:?}");
    assert_eq!(rig.switchover.policy().version, before);
    rig.old.set_latency(Duration::ZERO);
    create(&rig.sessions(), "v2").await?;
    assert!(slow.await??);
    rig.switchover.swap_policy(Policy::builtin(Builtin::CachedDb)).await?;
    Ok(())
}
