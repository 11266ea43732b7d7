//! Calls of a host while its Redis is killed, paused and flushed.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use switchover::backends::{MemoryDatabase, Redis};
use switchover::capabilities::{Cache as _, CacheLookup};
use switchover::{Builtin, Payload, Policy, Switchover, expires_in};
use switchover_harness::Redis as RedisServer;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::fixture::{PATIENCE, eventually};
use super::redis_fixture::{Dice, Outside};

/// One host with its database in memory. While Redis is killed, paused or flushed, no call fails, and none returns what
/// was replaced or deleted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_and_none_is_wrong_while_the_server_is_killed_paused_and_flushed() -> Result<()> {
    let server = RedisServer::start().await?;
    // The options are the defaults, except for the response timeout: this test is about answers.
    let cache = Redis::builder(&server.url()).response_timeout(Duration::from_millis(20)).start().await?;
    let switchover = Switchover::builder()
        .database("default", MemoryDatabase::new())
        .cache(cache.clone())
        .policy(Policy::builtin(Builtin::CachedDb))
        .build()
        .await?;
    let switchover = Arc::new(switchover);
    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    for visitor in 0..8_u64 {
        let (switchover, stopped) = (Arc::clone(&switchover), stopped.clone());
        tasks.spawn(async move { visit(&switchover, visitor, &stopped).await });
    }
    for round in 0..3 {
        server.pause().await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
        server.resume().await?;
        eventually("back", async || Ok(cache.is_connected())).await?;
        Outside::at(&server.url()).await?.ask::<()>(&["SAVE"]).await?;
        Outside::at(&server.url()).await?.ask::<()>(&["SCRIPT", "FLUSH"]).await?;
        if round % 2 == 0 {
            Outside::at(&server.url()).await?.ask::<()>(&["FLUSHALL"]).await?;
        }
        server.kill().await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.restart().await?;
        eventually("back", async || Ok(cache.is_connected())).await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    stop.send(true)?;
    let rounds = tasks.join_all().await.into_iter().collect::<Result<Vec<_>>>()?;
    assert!(rounds.iter().all(|rounds| *rounds > 10), "{rounds:?}");
    eventually("back", async || Ok(cache.is_connected())).await?;
    let key = switchover.sessions().create(Payload::from("last"), expires_in(PATIENCE)).await?;
    eventually("entries are served again", async || {
        switchover.sessions().load(&key).await?;
        Ok(matches!(cache.get(&key, expires_in(Duration::ZERO)).await, Ok(CacheLookup::Hit(_))))
    })
    .await
}

/// Sessions that a visitor has at one time. They are enough that most are in the cache when a fault begins, and that
/// some are written during it.
const SLOTS: usize = 32;

/// Saves, loads, deletes and creates sessions of its own in turn, some of each. Returns how many rounds it made.
async fn visit(switchover: &Switchover, visitor: u64, stopped: &watch::Receiver<bool>) -> Result<u32> {
    let sessions = switchover.sessions();
    let (mut rounds, mut dice) = (0, Dice(visitor));
    let mut slots = Vec::new();
    for _ in 0..SLOTS {
        slots.push((
            sessions.create(Payload::from("first"), expires_in(PATIENCE * 10)).await?,
            Some("first".to_owned()),
        ));
    }
    while !*stopped.borrow() {
        for (key, expected) in &mut slots {
            match (dice.below(4), expected.is_some()) {
                (0, true) => {
                    let next = format!("{visitor}-{rounds}");
                    sessions.save(key, Payload::from(next.as_str()), expires_in(PATIENCE * 10)).await?;
                    *expected = Some(next);
                }
                (1, true) => {
                    sessions.delete(key).await?;
                    *expected = None;
                }
                (0, false) => {
                    *key = sessions.create(Payload::from("first"), expires_in(PATIENCE * 10)).await?;
                    *expected = Some("first".to_owned());
                }
                _ => {}
            }
            let loaded =
                sessions.load(key).await?.map(|session| session.payload.as_text().unwrap_or_default().to_owned());
            assert_eq!(loaded, *expected, "not what was acknowledged last");
        }
        rounds += 1;
        // With this pause, a session is written once during a fault rather than a hundred times.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(rounds)
}
