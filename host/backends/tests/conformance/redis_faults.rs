//! A server that is gone, silent or late: who waits, and what is read afterwards.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use switchover_backends::Redis;
use switchover_core::capabilities::{Cache as _, CacheError, CacheLookup, Lease, Nonce};
use switchover_harness::{Direction, Proxy, Redis as RedisServer};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::cache::{fill, is_hit, miss, now, some};
use super::fixture::{PATIENCE, eventually, key};
use super::redis_fixture::{Outside, alone, builder};

/// The result of an operation that must not wait for anything.
async fn at_once<T>(operation: impl Future<Output = Result<T, CacheError>>) -> Result<Result<T, CacheError>> {
    // A timeout polls its future before it checks its own clock.
    timeout(Duration::ZERO, operation).await.context("it waits")
}

async fn is_back(cache: &Redis) -> Result<()> {
    eventually("connected, and nothing owed", async || Ok(cache.is_connected() && cache.owed_keys() == 0)).await
}

#[tokio::test]
async fn dead_server_fails_at_once_and_comes_back() -> Result<()> {
    let (server, cache) = alone().await?;
    let session = some("payload");
    fill(&cache, &session).await?;
    server.kill().await?;
    eventually("noticed", async || Ok(cache.get(&session.key, now()).await.is_err() && !cache.is_connected())).await?;
    for _ in 0..100 {
        assert!(at_once(cache.get(&key("bbbbbbbb"), now())).await?.is_err());
        assert!(at_once(cache.guard(&session.key, Nonce(1), PATIENCE)).await?.is_err());
        assert!(at_once(cache.fill(Lease(1), &some("x"), PATIENCE)).await?.is_ok_and(|filled| !filled));
        assert!(at_once(cache.release(&session.key, Nonce(1))).await?.is_err());
        assert!(at_once(cache.get(&session.key, now())).await?.is_ok(), "an owed key is a dead miss");
    }
    assert_eq!(cache.owed_keys(), 1);
    server.restart().await?;
    is_back(&cache).await?;
    fill(&cache, &session).await?;
    assert!(is_hit(&cache, &session).await?);
    Ok(())
}

#[tokio::test]
async fn paused_server_is_waited_for_once() -> Result<()> {
    let (server, cache) = alone().await?;
    let session = some("payload");
    fill(&cache, &session).await?;
    server.pause().await?;
    let mut waiting = JoinSet::new();
    for at in 0..64 {
        let cache = cache.clone();
        waiting.spawn(async move { cache.get(&key(&format!("key{at:05}")), now()).await.is_err() });
    }
    assert!(waiting.join_all().await.into_iter().all(|failed| failed));
    assert!(at_once(cache.get(&session.key, now())).await?.is_err());
    server.resume().await?;
    is_back(&cache).await?;
    assert!(is_hit(&cache, &session).await?, "nobody wrote it");
    Ok(())
}

#[tokio::test]
async fn what_was_written_while_the_server_was_silent_is_not_read_afterwards() -> Result<()> {
    let (server, cache) = alone().await?;
    let old = some("old");
    fill(&cache, &old).await?;
    server.pause().await?;
    assert!(cache.guard(&old.key, Nonce(1), PATIENCE).await.is_err());
    assert!(cache.release(&old.key, Nonce(1)).await.is_err());
    // From here on the write is acknowledged.
    assert_eq!(miss(&cache, &old.key).await?, Lease::DEAD);
    server.resume().await?;
    loop {
        match cache.get(&old.key, now()).await? {
            CacheLookup::Hit(_) => bail!("the old entry was served"),
            CacheLookup::Miss(_) if cache.is_connected() && cache.owed_keys() == 0 => break,
            CacheLookup::Miss(_) => tokio::task::yield_now().await,
        }
    }
    miss(&cache, &old.key).await?;
    Ok(())
}

#[tokio::test]
async fn late_fill_of_an_old_row_is_not_read() -> Result<()> {
    let (server, cache) = alone().await?;
    let old = some("old");
    for _ in 0..10 {
        let lease = miss(&cache, &old.key).await?;
        server.pause().await?;
        // These are sent, and executed when the server goes on, before or after the operations of the new connection.
        assert!(cache.fill(lease, &old, PATIENCE).await.is_err());
        assert!(cache.guard(&old.key, Nonce(1), PATIENCE).await.is_err());
        assert!(cache.release(&old.key, Nonce(1)).await.is_err());
        server.resume().await?;
        is_back(&cache).await?;
        for _ in 0..20 {
            miss(&cache, &old.key).await?;
        }
        cache.release(&old.key, Nonce(1)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn fill_that_is_executed_late_has_the_age_of_its_lease() -> Result<()> {
    let server = RedisServer::start().await?;
    let proxy = Proxy::start(server.address()).await?;
    let cache = builder(&proxy.url_of(&server.url())?).response_timeout(PATIENCE).connect().await?;
    let mut outside = Outside::at(&server.url()).await?;
    let session = some("payload");
    let lease = miss(&cache, &session.key).await?;
    let name = outside.only_name().await?;
    // Nearly all of the lease's life has passed.
    outside.ask::<()>(&["PEXPIRE", &name, "1000"]).await?;
    assert!(cache.fill(lease, &session, PATIENCE).await?);
    let ttl: u64 = outside.ask(&["PTTL", &name]).await?;
    assert!(Duration::from_millis(ttl) <= PATIENCE - Duration::from_secs(4), "{ttl} ms");
    Ok(())
}

#[tokio::test]
async fn operation_that_is_given_up_counts_as_one_without_an_answer() -> Result<()> {
    let server = RedisServer::start().await?;
    let proxy = Proxy::start(server.address()).await?;
    let cache = builder(&proxy.url_of(&server.url())?).response_timeout(PATIENCE).connect().await?;
    let old = some("old");
    fill(&cache, &old).await?;
    proxy.hold(Direction::ToClient);
    assert!(timeout(Duration::from_millis(20), cache.release(&old.key, Nonce(1))).await.is_err());
    assert_eq!((cache.is_connected(), cache.owed_keys()), (false, 1));
    assert_eq!(miss(&cache, &old.key).await?, Lease::DEAD);
    proxy.heal().await?;
    is_back(&cache).await
}

#[tokio::test]
async fn guard_that_could_not_be_set_is_set_when_the_server_is_back() -> Result<()> {
    let server = RedisServer::start().await?;
    let proxy = Proxy::start(server.address()).await?;
    let here = builder(&proxy.url_of(&server.url())?).connect().await?;
    let there = builder(&server.url()).connect().await?;
    let old = some("old");
    fill(&there, &old).await?;
    proxy.hold(Direction::Both);
    assert!(here.guard(&old.key, Nonce(1), PATIENCE).await.is_err());
    assert!(is_hit(&there, &old).await?, "until it is told, another host reads on: the published bound");
    proxy.heal().await?;
    is_back(&here).await?;
    assert_eq!(miss(&there, &old.key).await?, Lease::DEAD, "the write is still under way");
    here.release(&old.key, Nonce(1)).await?;
    fill(&there, &old).await
}

#[tokio::test]
async fn reset_connection_is_made_anew() -> Result<()> {
    let server = RedisServer::start().await?;
    let proxy = Proxy::start(server.address()).await?;
    let cache = builder(&proxy.url_of(&server.url())?).connect().await?;
    let session = some("payload");
    fill(&cache, &session).await?;
    for _ in 0..5 {
        proxy.reset();
        eventually("it reads again", async || Ok(is_hit(&cache, &session).await.unwrap_or(false))).await?;
    }
    Ok(())
}
