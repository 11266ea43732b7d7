//! What others do to the server while it answers: flushes, evictions, garbage, lack of memory, replicas, snapshots.

use std::time::Duration;

use anyhow::Result;
use switchover_backends::Redis;
use switchover_core::capabilities::{Cache as _, CacheLookup, Clock as _, Lease, Nonce, SystemClock};
use switchover_core::{Payload, Session, SessionKey, Timestamp};
use switchover_harness::{Proxy, Redis as RedisServer};

use super::cache::{fill, is_hit, miss, now, some};
use super::fixture::{PATIENCE, eventually, key};
use super::redis_fixture::{Outside, alone, builder};

#[tokio::test]
async fn each_operation_is_one_round_trip() -> Result<()> {
    let server = RedisServer::start().await?;
    let proxy = Proxy::start(server.address()).await?;
    let cache = builder(&proxy.url_of(&server.url())?).connect().await?;
    let session = some("payload");
    let trips = || {
        let trips = proxy.counts().round_trips;
        proxy.reset_counts();
        trips
    };
    // Below Redis 7.0 a look-up is one script, whatever it finds.
    let trial = ["SET", "trial", "", "NX", "GET", "PX", "1"];
    let is_script = Outside::at(&server.url()).await?.ask::<Option<String>>(&trial).await.is_err();
    trips();
    let lease = miss(&cache, &session.key).await?;
    assert_eq!(trips(), 1, "a miss with its lease");
    let lease = later_miss(&cache, &session.key, lease).await?;
    assert_eq!(trips(), if is_script { 1 } else { 2 }, "a miss that takes the lease of another one");
    assert!(cache.fill(lease, &session, PATIENCE).await?);
    assert_eq!(trips(), 1, "a fill");
    assert!(is_hit(&cache, &session).await?);
    assert_eq!(trips(), 1, "a hit");
    cache.guard(&session.key, Nonce(1), PATIENCE).await?;
    assert_eq!(trips(), 1, "a guard");
    // Whether a guard is alive is decided by a clock that agrees with the server's.
    assert_eq!(cache.get(&session.key, SystemClock.now()).await?, CacheLookup::Miss(Lease::DEAD));
    assert_eq!(trips(), 1, "a miss under a guard");
    cache.release(&session.key, Nonce(1)).await?;
    assert_eq!(trips(), 1, "a release");
    cache.invalidate(&session.key).await?;
    assert_eq!(trips(), 1, "an invalidation");
    assert!(!cache.fill(Lease::DEAD, &session, PATIENCE).await?);
    assert_eq!(trips(), 0, "a dead lease asks nobody");
    Ok(())
}

async fn later_miss(cache: &Redis, key: &SessionKey, earlier: Lease) -> Result<Lease> {
    let lease = miss(cache, key).await?;
    assert!(lease != earlier && lease != Lease::DEAD);
    Ok(lease)
}

#[tokio::test]
async fn payload_and_its_end_come_back_exactly() -> Result<()> {
    let (_server, cache) = alone().await?;
    let ends = [now().plus(Duration::from_micros(1)), Timestamp::MAX];
    for (at, expires_at) in (0..).zip(ends) {
        for payload in ["", "a", "\r\n$3\r\n\u{1}\u{7f}é漢🦀", &"x".repeat(1 << 20)] {
            let session = Session { key: key(&format!("exactly{at}")), expires_at, ..some(payload) };
            cache.invalidate(&session.key).await?;
            fill(&cache, &session).await?;
            assert!(is_hit(&cache, &session).await?, "{} bytes", payload.len());
        }
    }
    Ok(())
}

#[tokio::test]
async fn names_and_values_do_not_hold_the_session_key() -> Result<()> {
    let (server, cache) = alone().await?;
    let mut outside = Outside::at(&server.url()).await?;
    fill(&cache, &some("payload")).await?;
    let name = outside.only_name().await?;
    assert!(!name.contains("aaaaaaaa"));
    assert!(!String::from_utf8_lossy(&outside.value(&name).await?).contains("aaaaaaaa"));
    let ttl: i64 = outside.ask(&["PTTL", &name]).await?;
    assert!(ttl > 0, "every value ends by itself");
    Ok(())
}

#[tokio::test]
async fn flush_is_a_miss_and_takes_leases_away() -> Result<()> {
    let (server, cache) = alone().await?;
    let mut outside = Outside::at(&server.url()).await?;
    let session = some("payload");
    fill(&cache, &session).await?;
    outside.ask::<()>(&["FLUSHALL"]).await?;
    let lease = miss(&cache, &session.key).await?;
    outside.ask::<()>(&["FLUSHALL"]).await?;
    assert!(!cache.fill(lease, &session, PATIENCE).await?);
    fill(&cache, &session).await?;
    assert!(is_hit(&cache, &session).await?);
    assert!(cache.is_connected());
    Ok(())
}

#[tokio::test]
async fn release_makes_good_what_was_filled_after_a_flush_took_the_guard() -> Result<()> {
    let (server, cache) = alone().await?;
    let mut outside = Outside::at(&server.url()).await?;
    let session = some("old");
    for filled in [true, false] {
        cache.guard(&session.key, Nonce(1), PATIENCE).await?;
        outside.ask::<()>(&["FLUSHALL"]).await?;
        // A reader loads the row before the write commits.
        let lease = miss(&cache, &session.key).await?;
        assert_ne!(lease, Lease::DEAD, "the guard is gone");
        if filled {
            assert!(cache.fill(lease, &session, PATIENCE).await?);
        }
        cache.release(&session.key, Nonce(1)).await?;
        assert!(!cache.fill(lease, &session, PATIENCE).await?);
        miss(&cache, &session.key).await?;
    }
    Ok(())
}

#[tokio::test]
async fn scripts_that_were_flushed_are_loaded_again() -> Result<()> {
    let (server, cache) = alone().await?;
    let mut outside = Outside::at(&server.url()).await?;
    let session = some("payload");
    let mut flush = async || outside.ask::<()>(&["SCRIPT", "FLUSH"]).await;
    flush().await?;
    let lease = miss(&cache, &session.key).await?;
    flush().await?;
    assert!(cache.fill(lease, &session, PATIENCE).await?);
    flush().await?;
    cache.guard(&session.key, Nonce(1), PATIENCE).await?;
    flush().await?;
    cache.release(&session.key, Nonce(1)).await?;
    assert_eq!((cache.is_connected(), cache.owed_keys()), (true, 0));
    Ok(())
}

#[tokio::test]
async fn another_type_or_garbage_under_the_name_is_a_miss_and_is_replaced() -> Result<()> {
    let (server, cache) = alone().await?;
    let mut outside = Outside::at(&server.url()).await?;
    let session = some("payload");
    fill(&cache, &session).await?;
    let name = outside.only_name().await?;
    let good = outside.value(&name).await?;
    let mut wrong: Vec<Vec<u8>> =
        ["", "E", "L", "G", "Gabc", "payload", "\0"].into_iter().map(|text| text.as_bytes().to_vec()).collect();
    // From another life of the server, of another session, with letters in place of a time, truncated.
    for at in [1, 12, 30] {
        let mut other = good.clone();
        other[at] = b'x';
        wrong.push(other);
    }
    wrong.push(good[..40].to_vec());
    wrong.push([b"G", &[b'x'; 64][..]].concat());
    for value in wrong {
        outside.set(&name, &value).await?;
        fill(&cache, &session).await?;
        assert!(is_hit(&cache, &session).await?, "{value:?}");
        outside.set(&name, &value).await?;
        cache.guard(&session.key, Nonce(1), PATIENCE).await?;
        assert_eq!(miss(&cache, &session.key).await?, Lease::DEAD, "{value:?}");
        outside.set(&name, &value).await?;
        cache.release(&session.key, Nonce(1)).await?;
        assert_ne!(miss(&cache, &session.key).await?, Lease::DEAD, "{value:?}");
    }
    for make in [["RPUSH", &name, "x", ""], ["SADD", &name, "x", ""], ["HSET", &name, "x", "y"]] {
        let make = || make.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>();
        outside.ask::<()>(&["DEL", &name]).await?;
        outside.ask::<()>(&make()).await?;
        fill(&cache, &session).await?;
        assert!(is_hit(&cache, &session).await?);
        outside.ask::<()>(&["DEL", &name]).await?;
        outside.ask::<()>(&make()).await?;
        cache.guard(&session.key, Nonce(1), PATIENCE).await?;
        assert_eq!(miss(&cache, &session.key).await?, Lease::DEAD);
        cache.release(&session.key, Nonce(1)).await?;
    }
    assert!(cache.is_connected());
    Ok(())
}

#[tokio::test]
async fn entry_has_payloads_of_any_bytes() -> Result<()> {
    let (_server, cache) = alone().await?;
    for payload in [&b""[..], b"\0", b"a\r\n\xff\0b", &[0xff; 70_000]] {
        let session = Session { payload: Payload::from(payload), ..some("") };
        cache.invalidate(&session.key).await?;
        fill(&cache, &session).await?;
        assert_eq!(cache.get(&session.key, now()).await?, CacheLookup::Hit(session));
    }
    Ok(())
}

#[tokio::test]
async fn what_is_evicted_is_a_miss() -> Result<()> {
    let server = RedisServer::builder().setting("maxmemory-policy", "allkeys-lru").start().await?;
    let cache = builder(&server.url()).connect().await?;
    let mut outside = Outside::at(&server.url()).await?;
    outside.ask::<()>(&["CONFIG", "SET", "maxmemory", "8mb"]).await?;
    let sessions: Vec<_> = (0..600)
        .map(|at| Session { key: key(&format!("key{at:05}")), ..some(&format!("{at}").repeat(10_000)) })
        .collect();
    for session in &sessions {
        let lease = miss(&cache, &session.key).await?;
        // Rarely, a full server evicts the lease before its fill.
        cache.fill(lease, session, PATIENCE).await?;
    }
    let mut hits = 0;
    for session in &sessions {
        match cache.get(&session.key, now()).await? {
            CacheLookup::Hit(found) => {
                assert_eq!(&found, session);
                hits += 1;
            }
            CacheLookup::Miss(lease) => assert_ne!(lease, Lease::DEAD),
        }
    }
    assert!(hits > 0 && hits < sessions.len(), "{hits} hits");
    Ok(())
}

#[tokio::test]
async fn without_memory_guards_are_set_and_nothing_is_filled() -> Result<()> {
    let (server, cache) = alone().await?;
    let mut outside = Outside::at(&server.url()).await?;
    let session = some("payload");
    fill(&cache, &session).await?;
    let lease = miss(&cache, &key("bbbbbbbb")).await?;
    outside.ask::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await?;
    assert!(is_hit(&cache, &session).await?);
    let other = Session { key: key("bbbbbbbb"), ..session.clone() };
    assert!(cache.fill(lease, &other, PATIENCE).await.unwrap_err().message.contains("OOM"));
    assert!(cache.get(&key("cccccccc"), now()).await.is_err());
    cache.guard(&session.key, Nonce(1), PATIENCE).await?;
    assert_eq!(miss(&cache, &session.key).await?, Lease::DEAD);
    cache.release(&session.key, Nonce(1)).await?;
    assert_eq!((cache.is_connected(), cache.owed_keys()), (true, 0));
    outside.ask::<()>(&["CONFIG", "SET", "maxmemory", "0"]).await?;
    fill(&cache, &session).await
}

#[tokio::test]
async fn many_writers_of_one_key_have_a_bound_and_none_is_forgotten() -> Result<()> {
    let (server, cache) = alone().await?;
    let mut outside = Outside::at(&server.url()).await?;
    let session = some("payload");
    for nonce in 1..=1_000 {
        cache.guard(&session.key, Nonce(nonce), PATIENCE).await?;
    }
    let name = outside.only_name().await?;
    let bytes: usize = outside.ask(&["STRLEN", &name]).await?;
    assert!(bytes <= 1 + 130 * 32, "{bytes} bytes");
    for nonce in 1..=1_000 {
        cache.release(&session.key, Nonce(nonce)).await?;
    }
    assert_eq!(miss(&cache, &session.key).await?, Lease::DEAD, "marks that were put together end by themselves");
    Ok(())
}

#[tokio::test]
async fn what_a_snapshot_brings_back_is_not_read() -> Result<()> {
    let (server, cache) = alone().await?;
    let mut outside = Outside::at(&server.url()).await?;
    let (session, other) = (some("deleted since"), Session { key: key("bbbbbbbb"), ..some("read since") });
    fill(&cache, &session).await?;
    let lease = miss(&cache, &other.key).await?;
    outside.ask::<()>(&["SAVE"]).await?;
    for written in [&session, &other] {
        cache.guard(&written.key, Nonce(1), PATIENCE).await?;
        cache.release(&written.key, Nonce(1)).await?;
    }
    server.kill().await?;
    server.restart().await?;
    eventually("it is connected again", async || Ok(cache.get(&key("cccccccc"), now()).await.is_ok())).await?;
    let names: usize = Outside::at(&server.url()).await?.ask(&["DBSIZE"]).await?;
    assert!(names >= 3, "the snapshot was loaded: {names}");
    assert!(!cache.fill(lease, &other, PATIENCE).await?, "the lease of before");
    miss(&cache, &session.key).await?;
    Ok(())
}

#[tokio::test]
async fn primary_that_becomes_a_replica_is_not_used_and_is_told_later() -> Result<()> {
    let (server, cache) = alone().await?;
    let mut outside = Outside::at(&server.url()).await?;
    let session = some("old");
    fill(&cache, &session).await?;
    outside.ask::<()>(&["REPLICAOF", "127.0.0.1", "1"]).await?;
    assert!(cache.guard(&session.key, Nonce(1), PATIENCE).await.unwrap_err().message.contains("READONLY"));
    assert!(cache.release(&session.key, Nonce(1)).await.is_err());
    assert_eq!(cache.owed_keys(), 1);
    assert!(builder(&server.url()).connect().await.unwrap_err().message.contains("replica"));
    outside.ask::<()>(&["REPLICAOF", "NO", "ONE"]).await?;
    eventually("it is told", async || Ok(cache.is_connected() && cache.owed_keys() == 0)).await?;
    miss(&cache, &session.key).await?;
    Ok(())
}
