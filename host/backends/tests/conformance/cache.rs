//! Leases and guards of every cache.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use switchover_core::capabilities::{Cache, CacheLookup, Lease, Nonce};
use switchover_core::{Session, SessionKey, Timestamp};
use tokio::task::JoinSet;

use super::fixture::{PATIENCE, SECOND, eventually, key, session};

pub(crate) fn now() -> Timestamp {
    Timestamp::from_micros(SECOND)
}

pub(crate) fn some(payload: &str) -> Session {
    session("aaaaaaaa", payload, now().plus(Duration::from_secs(60)))
}

pub(crate) async fn miss(cache: &dyn Cache, key: &SessionKey) -> Result<Lease> {
    match cache.get(key, now()).await? {
        CacheLookup::Miss(lease) => Ok(lease),
        CacheLookup::Hit(session) => bail!("a hit: {session:?}"),
    }
}

pub(crate) async fn fill(cache: &dyn Cache, session: &Session) -> Result<()> {
    let lease = miss(cache, &session.key).await?;
    assert!(cache.fill(lease, session, PATIENCE).await?);
    Ok(())
}

pub(crate) async fn is_hit(cache: &dyn Cache, session: &Session) -> Result<bool> {
    Ok(cache.get(&session.key, now()).await? == CacheLookup::Hit(session.clone()))
}

/// Short enough to wait for, and long enough that a slow machine does not exceed it too early.
const SHORT: Duration = Duration::from_millis(300);

/// Runs each claim once for each cache.
macro_rules! cache_claims {
    ($($claim:ident,)*) => {
        mod memory { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() -> anyhow::Result<()> {
                super::$claim(std::sync::Arc::new(switchover_backends::MemoryCache::new())).await
            }
        )* }
        #[cfg(feature = "redis")]
        mod redis { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() -> anyhow::Result<()> {
                super::$claim(std::sync::Arc::new(crate::conformance::redis_fixture::patient().await?)).await
            }
        )* }
    };
}

cache_claims! {
    miss_gives_the_right_to_fill_once,
    later_miss_takes_the_lease_away,
    lease_fills_its_own_key_alone,
    invalidation_removes_entry_and_lease,
    guard_removes_entry_and_lease_and_lets_nobody_fill,
    every_writer_releases_its_own_nonce_alone,
    release_removes_what_was_filled_without_a_guard,
    guard_ends_with_its_time_to_live,
    entry_ends_with_its_time_to_live,
    entry_ends_with_its_session,
    nobody_reads_an_old_row_after_a_write,
}

async fn miss_gives_the_right_to_fill_once(cache: Arc<dyn Cache>) -> Result<()> {
    let session = some("payload");
    let lease = miss(&*cache, &session.key).await?;
    assert_ne!(lease, Lease::DEAD);
    assert!(cache.fill(lease, &session, PATIENCE).await?);
    assert!(is_hit(&*cache, &session).await?);
    assert!(!cache.fill(lease, &some("again"), PATIENCE).await?);
    assert!(is_hit(&*cache, &session).await?);
    Ok(())
}

async fn later_miss_takes_the_lease_away(cache: Arc<dyn Cache>) -> Result<()> {
    let session = some("payload");
    let (first, second) = (miss(&*cache, &session.key).await?, miss(&*cache, &session.key).await?);
    assert_ne!(first, second);
    assert!(!cache.fill(first, &some("first"), PATIENCE).await?);
    assert!(cache.fill(second, &session, PATIENCE).await?);
    assert!(is_hit(&*cache, &session).await?);
    Ok(())
}

async fn lease_fills_its_own_key_alone(cache: Arc<dyn Cache>) -> Result<()> {
    let session = some("payload");
    let lease = miss(&*cache, &session.key).await?;
    let other = Session { key: key("bbbbbbbb"), ..session };
    assert!(!cache.fill(lease, &other, PATIENCE).await?);
    assert!(!cache.fill(Lease::DEAD, &other, PATIENCE).await?);
    miss(&*cache, &other.key).await?;
    Ok(())
}

async fn invalidation_removes_entry_and_lease(cache: Arc<dyn Cache>) -> Result<()> {
    let session = some("payload");
    fill(&*cache, &session).await?;
    cache.invalidate(&session.key).await?;
    let lease = miss(&*cache, &session.key).await?;
    cache.invalidate(&session.key).await?;
    assert!(!cache.fill(lease, &session, PATIENCE).await?);
    miss(&*cache, &session.key).await?;
    Ok(())
}

async fn guard_removes_entry_and_lease_and_lets_nobody_fill(cache: Arc<dyn Cache>) -> Result<()> {
    let session = some("payload");
    let before = miss(&*cache, &session.key).await?;
    cache.guard(&session.key, Nonce(1), PATIENCE).await?;
    assert!(!cache.fill(before, &session, PATIENCE).await?);
    assert_eq!(miss(&*cache, &session.key).await?, Lease::DEAD);
    cache.release(&session.key, Nonce(1)).await?;
    assert!(!cache.fill(before, &session, PATIENCE).await?, "a row that was read before the write stays out");

    fill(&*cache, &session).await?;
    cache.guard(&session.key, Nonce(2), PATIENCE).await?;
    assert_eq!(miss(&*cache, &session.key).await?, Lease::DEAD);
    Ok(())
}

async fn every_writer_releases_its_own_nonce_alone(cache: Arc<dyn Cache>) -> Result<()> {
    let session = some("payload");
    for nonce in [1, 2, 3] {
        cache.guard(&session.key, Nonce(nonce), PATIENCE).await?;
    }
    for nonce in [2, 2, 9, 1] {
        cache.release(&session.key, Nonce(nonce)).await?;
        assert_eq!(miss(&*cache, &session.key).await?, Lease::DEAD);
    }
    cache.release(&session.key, Nonce(3)).await?;
    fill(&*cache, &session).await?;
    assert!(is_hit(&*cache, &session).await?);
    Ok(())
}

async fn release_removes_what_was_filled_without_a_guard(cache: Arc<dyn Cache>) -> Result<()> {
    let session = some("payload");
    fill(&*cache, &session).await?;
    cache.release(&session.key, Nonce(1)).await?;
    miss(&*cache, &session.key).await?;
    Ok(())
}

async fn guard_ends_with_its_time_to_live(cache: Arc<dyn Cache>) -> Result<()> {
    let session = some("payload");
    cache.guard(&session.key, Nonce(1), PATIENCE).await?;
    cache.guard(&session.key, Nonce(2), SHORT).await?;
    cache.release(&session.key, Nonce(1)).await?;
    eventually("the guard ends", async || Ok(miss(&*cache, &session.key).await? != Lease::DEAD)).await?;
    fill(&*cache, &session).await?;
    Ok(())
}

async fn entry_ends_with_its_time_to_live(cache: Arc<dyn Cache>) -> Result<()> {
    let session = some("payload");
    let lease = miss(&*cache, &session.key).await?;
    assert!(cache.fill(lease, &session, SHORT).await?);
    eventually("the entry ends", async || Ok(!is_hit(&*cache, &session).await?)).await
}

async fn entry_ends_with_its_session(cache: Arc<dyn Cache>) -> Result<()> {
    let session = some("payload");
    fill(&*cache, &session).await?;
    assert!(matches!(cache.get(&session.key, session.expires_at).await?, CacheLookup::Miss(_)));
    miss(&*cache, &session.key).await?;
    assert!(matches!(cache.get(&session.key, Timestamp::MAX).await?, CacheLookup::Miss(_)));
    Ok(())
}

/// Writers and readers run at the same time. The payload is a counter that only grows, so an older one after a newer
/// one would be stale.
async fn nobody_reads_an_old_row_after_a_write(cache: Arc<dyn Cache>) -> Result<()> {
    let row = Arc::new(std::sync::Mutex::new(0_u64));
    let mut tasks = JoinSet::new();
    for writer in 0..4_u128 {
        let (cache, row) = (Arc::clone(&cache), Arc::clone(&row));
        tasks.spawn(async move {
            for turn in 0..2_000 {
                let nonce = Nonce(writer << 64 | turn);
                cache.guard(&key("aaaaaaaa"), nonce, PATIENCE).await?;
                *row.lock().expect("no panic under it") += 1;
                tokio::task::yield_now().await;
                cache.release(&key("aaaaaaaa"), nonce).await?;
            }
            anyhow::Ok(())
        });
    }
    for _ in 0..4 {
        let (cache, row) = (Arc::clone(&cache), Arc::clone(&row));
        tasks.spawn(async move {
            for _ in 0..2_000 {
                match cache.get(&key("aaaaaaaa"), now()).await? {
                    CacheLookup::Hit(session) => {
                        let seen: u64 = session.payload.as_text().unwrap_or_default().parse()?;
                        // Every write was acknowledged or is under its guard. So a hit is the row as it is, or as it
                        // was during the look-up.
                        let before = *row.lock().expect("no panic under it");
                        assert!(seen <= before);
                    }
                    CacheLookup::Miss(lease) => {
                        let read = *row.lock().expect("no panic under it");
                        tokio::task::yield_now().await;
                        cache.fill(lease, &some(&read.to_string()), PATIENCE).await?;
                    }
                }
                tokio::task::yield_now().await;
            }
            anyhow::Ok(())
        });
    }
    tasks.join_all().await.into_iter().collect::<Result<()>>()?;
    let last = row.lock().expect("no panic under it").to_string();
    if let CacheLookup::Hit(session) = cache.get(&key("aaaaaaaa"), now()).await? {
        assert_eq!(session.payload.as_text().unwrap_or_default(), last, "a stale entry outlived the writes");
    }
    Ok(())
}
