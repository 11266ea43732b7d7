//! Policies are swapped while users are at work: no call fails, no answer is wrong, and the old version ends.

use std::time::{Duration, Instant};

use anyhow::Result;
use switchover::capabilities::Database as _;
use switchover::{Builtin, Error, Policy, SwapError};
use switchover_cached_db::CachedDb;
use switchover_fallback::Fallback;
use switchover_tests::{Load, Rig, create, patient, until};

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
    let delete = rig.held_delete(&key).await?;
    // The database holds the delete, so a swap that waited for it would not end.
    rig.switchover.swap_policy(Policy::native::<Fallback>()).await?;
    assert_eq!(rig.switchover.policy().calls_in_flight, 0, "the call belongs to the version before");
    assert!(!delete.is_finished());
    rig.old.release();
    assert!(delete.await??);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swap_to_another_protocol_waits_for_calls_under_the_old_one() -> Result<()> {
    let rig = Rig::new().await?;
    let key = create(&rig.sessions(), "v1").await?;
    let delete = rig.held_delete(&key).await?;
    let host = rig.switchover.clone();
    let swap = tokio::spawn(async move { host.swap_policy(Policy::builtin(Builtin::CachedDb)).await });
    rig.calls_wait().await?;
    assert!(!swap.is_finished(), "the swap came before the end of a call under another protocol");
    rig.old.release();
    swap.await??;
    let left = rig.old.upkeep().scan(None, 1, Instant::now() + Duration::from_secs(60)).await?;
    assert!(left.sessions.is_empty(), "the swap came before the end of a call under another protocol");
    assert!(delete.await??);
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
    assert!(matches!(rig.sessions().load(&key).await, Err(Error::Closed)));
    let swap = rig.switchover.swap_policy(Policy::native::<Fallback>()).await;
    assert!(matches!(swap, Err(SwapError::Closed)), "{swap:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn close_waits_for_calls_under_way() -> Result<()> {
    let rig = Rig::new().await?;
    let key = create(&rig.sessions(), "v1").await?;
    let delete = rig.held_delete(&key).await?;
    let host = rig.switchover.clone();
    let close = tokio::spawn(async move { host.close().await });
    let sessions = rig.sessions();
    let closed = async || matches!(sessions.exists(&key).await, Err(Error::Closed));
    until("no new call is admitted", closed).await?;
    assert!(!close.is_finished(), "a call is under way");
    rig.old.release();
    close.await?;
    assert!(delete.await??, "the call that was under way ended well");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swap_that_cannot_drain_is_an_error_and_the_old_policy_goes_on() -> Result<()> {
    let mut limits = patient();
    limits.drain_wait = Duration::from_millis(50);
    let rig = Rig::with(|builder| builder.limits(limits)).await?;
    let key = create(&rig.sessions(), "v1").await?;
    let delete = rig.held_delete(&key).await?;
    let before = rig.switchover.policy().version;
    let swap = rig.switchover.swap_policy(Policy::builtin(Builtin::CachedDb)).await;
    assert!(matches!(swap, Err(SwapError::NotDrained { in_flight }) if in_flight > 0), "{swap:?}");
    assert_eq!(rig.switchover.policy().version, before);
    rig.old.release();
    create(&rig.sessions(), "v2").await?;
    assert!(delete.await??);
    rig.switchover.swap_policy(Policy::builtin(Builtin::CachedDb)).await?;
    Ok(())
}
