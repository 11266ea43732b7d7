//! The bounds of the cache in memory.

use std::time::Duration;

use anyhow::Result;
use switchover_backends::MemoryCache;
use switchover_core::Session;
use switchover_core::capabilities::{Cache as _, Lease, Nonce};

use super::cache::{fill, is_hit, miss, some};
use super::fixture::{PATIENCE, key};

#[tokio::test]
async fn bound_holds_whatever_is_filled() -> Result<()> {
    for bytes in [1 << 10, 1 << 20, 4 << 20] {
        let cache = MemoryCache::with_bytes(bytes);
        for at in 0..2_000 {
            let payload = "x".repeat(at * 37 % 5_000);
            let session = Session { key: key(&format!("key{at:05}")), ..some(&payload) };
            let lease = miss(&cache, &session.key).await?;
            cache.fill(lease, &session, PATIENCE).await?;
            assert!(cache.bytes() <= bytes as u64, "{} of {bytes}", cache.bytes());
        }
        assert!(cache.bytes() > bytes as u64 / 2, "{} of {bytes} used", cache.bytes());
    }
    Ok(())
}

#[tokio::test]
async fn what_is_larger_than_the_cache_is_not_stored() -> Result<()> {
    let (cache, session) = (MemoryCache::with_bytes(1 << 20), some(&"x".repeat(1 << 20)));
    let lease = miss(&cache, &session.key).await?;
    assert!(!cache.fill(lease, &session, PATIENCE).await?);
    assert_eq!(cache.bytes(), 0);
    miss(&cache, &session.key).await?;
    Ok(())
}

#[tokio::test]
async fn flood_of_unknown_keys_takes_neither_entry_nor_guard() -> Result<()> {
    let (cache, session) = (MemoryCache::with_bytes(1 << 20), some("payload"));
    let guarded = key("guarded0");
    fill(&cache, &session).await?;
    cache.guard(&guarded, Nonce(1), PATIENCE).await?;
    for at in 0..20_000 {
        let unknown = key(&format!("unknown{at:05}"));
        miss(&cache, &unknown).await?;
        cache.guard(&unknown, Nonce(at), Duration::ZERO).await?;
    }
    assert!(is_hit(&cache, &session).await?);
    assert_eq!(miss(&cache, &guarded).await?, Lease::DEAD);
    Ok(())
}

#[tokio::test]
async fn guards_that_nobody_releases_have_a_bound() -> Result<()> {
    let cache = MemoryCache::with_bytes(1 << 20);
    let mut refused = 0;
    // First come guards that have ended; they must make room.
    for at in 0..1_000 {
        cache.guard(&key(&format!("dead{at:05}")), Nonce(at), Duration::ZERO).await?;
    }
    for at in 0..70_000 {
        refused +=
            u32::from(cache.guard(&key(&format!("key{at:05}")), Nonce(at), Duration::from_hours(1)).await.is_err());
    }
    assert_eq!(refused, 70_000 - 65_536);
    assert_eq!(miss(&cache, &key("key00000")).await?, Lease::DEAD);
    Ok(())
}
