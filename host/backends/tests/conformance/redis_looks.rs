//! Look-ups that are requested in the same moment share a round trip, and nothing else.

use std::time::Duration;

use anyhow::{Context as _, Result};
use switchover_backends::Redis;
use switchover_core::Session;
use switchover_core::capabilities::{Cache as _, CacheError, CacheLookup, Clock as _, Lease, Nonce, SystemClock};
use switchover_harness::{Direction, Proxy, Redis as RedisServer, Server};
use tokio::task::{JoinHandle, yield_now};
use tokio::time::timeout;

use super::cache::{fill, some};
use super::fixture::{PATIENCE, eventually, key};
use super::redis_fixture::{Outside, builder};

/// More than one command takes.
const MANY: usize = 200;

type Looking = JoinHandle<Result<CacheLookup, CacheError>>;

/// A server behind a proxy, and a cache that waits for it as long as a test may take.
async fn behind_a_proxy() -> Result<(Server, Proxy, Redis)> {
    let server = RedisServer::start().await?;
    let proxy = Proxy::start(server.address()).await?;
    let cache = builder(&proxy.url_of(&server.url())?).response_timeout(PATIENCE).connect().await?;
    Ok((server, proxy, cache))
}

fn many(payload: &str) -> Vec<Session> {
    let named = |at: usize| Session { key: key(&format!("key{at:05}")), ..some(&format!("{payload} {at}")) };
    (0..MANY).map(named).collect()
}

/// Starts all look-ups before the first answer.
fn look(cache: &Redis, sessions: &[Session]) -> Vec<Looking> {
    let look = |session: &Session| {
        let (cache, key) = (cache.clone(), session.key.clone());
        // Whether a guard is alive is decided by a clock that agrees with the server's.
        tokio::spawn(async move { cache.get(&key, SystemClock.now()).await })
    };
    sessions.iter().map(look).collect()
}

fn living(sessions: Vec<Session>) -> Vec<Session> {
    let expires_at = SystemClock.now().plus(PATIENCE);
    sessions.into_iter().map(|session| Session { expires_at, ..session }).collect()
}

#[tokio::test]
async fn many_hits_share_round_trips_and_each_gets_its_own() -> Result<()> {
    let (_server, proxy, cache) = behind_a_proxy().await?;
    let sessions = living(many("payload"));
    for session in &sessions {
        fill(&cache, session).await?;
    }
    proxy.reset_counts();
    for (looked, session) in look(&cache, &sessions).into_iter().zip(&sessions) {
        assert_eq!(looked.await??, CacheLookup::Hit(session.clone()));
    }
    let trips = proxy.counts().round_trips;
    assert!((1..=9).contains(&trips), "{trips} round trips for {MANY} hits, 24 a command");
    Ok(())
}

#[tokio::test]
async fn each_of_many_misses_gets_a_lease_that_fills() -> Result<()> {
    let (_server, _proxy, cache) = behind_a_proxy().await?;
    let sessions = living(many("payload"));
    for session in sessions.iter().step_by(2) {
        fill(&cache, session).await?;
    }
    for (at, looked) in look(&cache, &sessions).into_iter().enumerate() {
        match looked.await?? {
            CacheLookup::Hit(found) => assert_eq!((at % 2, &found), (0, &sessions[at])),
            CacheLookup::Miss(lease) => {
                assert_eq!(at % 2, 1, "{at} was there");
                assert!(cache.fill(lease, &sessions[at], PATIENCE).await?);
            }
        }
    }
    for looked in look(&cache, &sessions) {
        let found = looked.await??;
        assert!(matches!(found, CacheLookup::Hit(_)), "{found:?}");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_with_one_key_is_no_matter_of_its_neighbours() -> Result<()> {
    let (server, _proxy, cache) = behind_a_proxy().await?;
    let mut outside = Outside::at(&server.url()).await?;
    let sessions = living(many("payload"));
    let mut names = Vec::new();
    for session in &sessions[..4] {
        let before: Vec<String> = outside.ask(&["KEYS", "switchover:*"]).await?;
        fill(&cache, session).await?;
        let after: Vec<String> = outside.ask(&["KEYS", "switchover:*"]).await?;
        names.push(after.into_iter().find(|name| !before.contains(name)).context("a new name")?);
    }
    let guarded = &sessions[0];
    cache.guard(&guarded.key, Nonce(1), PATIENCE).await?;
    outside.set(&names[1], b"garbage").await?;
    outside.ask::<()>(&["DEL", &names[2]]).await?;
    outside.ask::<()>(&["RPUSH", &names[2], "x"]).await?;
    let mut answers = Vec::new();
    for looked in look(&cache, &sessions[..8]) {
        answers.push(looked.await??);
    }
    assert_eq!(answers[0], CacheLookup::Miss(Lease::DEAD), "a guard");
    for (at, what) in [(1, "garbage"), (2, "another type"), (4, "nothing")] {
        let CacheLookup::Miss(lease) = answers[at] else { anyhow::bail!("{what} is a hit") };
        assert!(cache.fill(lease, &sessions[at], PATIENCE).await?, "{what}");
    }
    assert_eq!(answers[3], CacheLookup::Hit(sessions[3].clone()));
    assert!(cache.is_connected());
    Ok(())
}

#[tokio::test]
async fn entry_that_has_ended_is_no_hit_among_many() -> Result<()> {
    let (_server, _proxy, cache) = behind_a_proxy().await?;
    let ended = SystemClock.now();
    let sessions: Vec<_> =
        many("payload").into_iter().take(2).map(|session| Session { expires_at: ended, ..session }).collect();
    for session in &sessions {
        fill(&cache, session).await?;
    }
    for looked in look(&cache, &sessions) {
        let found = looked.await??;
        assert!(matches!(found, CacheLookup::Miss(_)), "{found:?}");
    }
    Ok(())
}

#[tokio::test]
async fn callers_that_leave_are_no_fault_and_take_nothing_from_the_others() -> Result<()> {
    let (_server, proxy, cache) = behind_a_proxy().await?;
    let sessions = living(many("payload"));
    for session in &sessions {
        fill(&cache, session).await?;
    }
    proxy.reset_counts();
    proxy.hold(Direction::ToClient);
    let mut looking = look(&cache, &sessions);
    eventually("they are sent", async || Ok(proxy.counts().bytes_to_server > 0)).await?;
    let stays = looking.split_off(MANY - 3);
    for leaves in &looking {
        leaves.abort();
    }
    for leaves in looking {
        assert!(leaves.await.is_err_and(|error| error.is_cancelled()));
    }
    assert!(cache.is_connected());
    proxy.heal().await?;
    for (looked, session) in stays.into_iter().zip(&sessions[MANY - 3..]) {
        assert_eq!(looked.await??, CacheLookup::Hit(session.clone()));
    }
    assert!(cache.is_connected());
    Ok(())
}

#[tokio::test]
async fn user_who_may_not_ask_for_many_asks_for_each() -> Result<()> {
    let server = RedisServer::start().await?;
    let mut outside = Outside::at(&server.url()).await?;
    outside.ask::<()>(&["ACL", "SETUSER", "frugal", "on", ">secret", "~*", "+@all", "-mget"]).await?;
    let address = server.url().replacen("redis://", "redis://frugal:secret@", 1);
    let cache = builder(&address).response_timeout(PATIENCE).connect().await?;
    let sessions = living(many("payload"));
    for session in sessions.iter().step_by(2) {
        fill(&cache, session).await?;
    }
    for (at, looked) in look(&cache, &sessions).into_iter().enumerate() {
        assert_eq!(matches!(looked.await??, CacheLookup::Hit(_)), at % 2 == 0);
    }
    assert!(cache.is_connected());
    Ok(())
}

#[tokio::test]
async fn one_silence_fails_all_that_wait_and_those_after_them_at_once() -> Result<()> {
    let server = RedisServer::start().await?;
    let cache = builder(&server.url()).connect().await?;
    let sessions = living(many("payload"));
    server.pause().await?;
    for looked in look(&cache, &sessions) {
        assert!(looked.await?.is_err());
    }
    assert!(!cache.is_connected());
    let next = timeout(Duration::ZERO, cache.get(&sessions[0].key, SystemClock.now())).await.context("it waits")?;
    assert!(next.is_err());
    server.resume().await?;
    eventually("connected again", async || Ok(cache.is_connected())).await
}

#[tokio::test]
async fn look_up_whose_caller_left_before_it_was_sent_is_not_sent() -> Result<()> {
    let (_server, proxy, cache) = behind_a_proxy().await?;
    let session = &living(many("payload"))[0];
    proxy.reset_counts();
    // Polled once, so that it waits for its turn, and dropped before the turn comes.
    tokio::select! {
        biased;
        _ = cache.get(&session.key, SystemClock.now()) => panic!("it was answered at once"),
        () = std::future::ready(()) => {}
    }
    for _ in 0..10 {
        yield_now().await;
    }
    assert_eq!(proxy.counts().round_trips, 0);
    fill(&cache, session).await?;
    assert_eq!(cache.get(&session.key, SystemClock.now()).await?, CacheLookup::Hit(session.clone()));
    Ok(())
}
