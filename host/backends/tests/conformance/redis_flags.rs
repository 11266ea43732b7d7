//! Flags from a hash: what is accepted, what is refused, and what stays in force if the hash or the server fails.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use switchover_backends::{RedisFlags, RedisFlagsBuilder};
use switchover_core::capabilities::{FlagSnapshot, Flags};
use switchover_harness::{Redis as RedisServer, Server};

use super::fixture::eventually;
use super::flags::warnings;
use super::redis_fixture::Outside;

const HASH: &str = "switchover:flags";

fn latest(flags: &dyn Flags) -> Arc<FlagSnapshot> {
    flags.subscribe().borrow().clone()
}

fn quick(server: &Server) -> RedisFlagsBuilder {
    RedisFlags::builder(&server.url()).poll(Duration::from_millis(10))
}

async fn started() -> Result<(Server, Outside)> {
    let server = RedisServer::start().await?;
    let outside = Outside::at(&server.url()).await?;
    Ok((server, outside))
}

#[tokio::test]
async fn hash_gives_names_and_texts() -> Result<()> {
    let (server, mut outside) = started().await?;
    outside.ask::<()>(&["HSET", HASH, "on", "true", "off", "false", "percent", "5", "é", "ü"]).await?;
    let flags = RedisFlags::connect(&server.url()).await?;
    let snapshot = latest(&flags);
    let all: Vec<_> = snapshot.iter().collect();
    assert_eq!(all, [("off", "false"), ("on", "true"), ("percent", "5"), ("é", "ü")]);
    assert!(snapshot.enabled("on") && !snapshot.enabled("percent"));
    assert!(flags.summary().contains(HASH) && flags.summary().contains("127.0.0.1"), "{}", flags.summary());
    outside.ask::<()>(&["HSET", "shop:flags", "on", "false"]).await?;
    assert!(!latest(&quick(&server).hash("shop:flags").connect().await?).enabled("on"));
    Ok(())
}

#[tokio::test]
async fn hash_that_is_wrong_at_the_start_is_an_error_and_never_off() -> Result<()> {
    let (server, mut outside) = started().await?;
    let refused = async || {
        let error = RedisFlags::connect(&server.url()).await.err().context("taken")?;
        assert!(error.message.contains(HASH), "{error}");
        anyhow::Ok(error.message)
    };
    assert!(refused().await?.contains("no such hash"));
    outside.ask::<()>(&["SET", HASH, "true"]).await?;
    assert!(refused().await?.contains("no hash"));
    outside.ask::<()>(&["DEL", HASH]).await?;
    outside.ask::<()>(&["HSET", HASH, "big", &"x".repeat(300 << 10)]).await?;
    assert!(refused().await?.contains("bytes"));
    outside.ask::<()>(&["DEL", HASH]).await?;
    for at in 0..5_000 {
        outside.ask::<()>(&["HSET", HASH, &at.to_string(), ""]).await?;
    }
    assert!(refused().await?.contains("5000 fields"));
    outside.ask::<()>(&["DEL", HASH]).await?;
    outside.ask::<()>(&["EVAL", "redis.call('HSET', KEYS[1], 'bytes', '\\255')", "1", HASH]).await?;
    assert!(refused().await?.contains("bytes is no text"));
    server.kill().await?;
    refused().await?;
    Ok(())
}

#[tokio::test]
async fn changed_hash_is_read_again_and_one_command_is_one_snapshot() -> Result<()> {
    let (server, mut outside) = started().await?;
    outside.ask::<()>(&["HSET", HASH, "one", "0", "two", "0"]).await?;
    let flags = quick(&server).connect().await?;
    let mut seen = flags.subscribe();
    for turn in 1..=20 {
        let turn = turn.to_string();
        outside.ask::<()>(&["HSET", HASH, "one", &turn, "two", &turn]).await?;
        seen.changed().await?;
        let snapshot = seen.borrow_and_update().clone();
        assert_eq!((snapshot.value("one"), snapshot.value("two")), (Some(&*turn), Some(&*turn)));
    }
    outside.ask::<()>(&["HDEL", HASH, "two"]).await?;
    seen.changed().await?;
    assert_eq!(seen.borrow().value("two"), None);
    Ok(())
}

#[tokio::test]
async fn what_goes_bad_leaves_the_last_flags_and_is_told_once() -> Result<()> {
    let (server, mut outside) = started().await?;
    let address = server.address().to_string();
    outside.ask::<()>(&["HSET", HASH, "on", "true", "turn", "0"]).await?;
    let flags = quick(&server).connect().await?;
    // A machine that pauses for a second is reported too; that is not meant here.
    let is_meant = |told: &&String| {
        told.contains(&address) && !["timed out", "no answer within"].iter().any(|slow| told.contains(slow))
    };
    let warned = || warnings().iter().filter(is_meant).count();
    for (turn, spoil) in (1..).zip(["flush", "type", "bytes", "kill"]) {
        let changes = flags.subscribe();
        match spoil {
            "flush" => outside.ask::<()>(&["FLUSHALL"]).await?,
            "type" => outside.ask::<()>(&["EVAL", "redis.call('SET', KEYS[1], 'x')", "1", HASH]).await?,
            "bytes" => outside.ask::<()>(&["EVAL", "redis.call('HSET', KEYS[1], 'x', '\\255')", "1", HASH]).await?,
            _ => server.kill().await?,
        }
        eventually("it is told", async || Ok(warned() == turn)).await?;
        assert!(!changes.has_changed()?, "{spoil}");
        if spoil == "kill" {
            server.restart().await?;
            outside = Outside::at(&server.url()).await?;
        }
        let text = turn.to_string();
        let mend = "redis.call('DEL', KEYS[1]) redis.call('HSET', KEYS[1], 'on', 'true', 'turn', ARGV[1])";
        outside.ask::<()>(&["EVAL", mend, "1", HASH, &text]).await?;
        eventually("it recovers", async || Ok(latest(&flags).value("turn") == Some(&text))).await?;
        assert_eq!(warned(), turn, "told once: {spoil}");
    }
    Ok(())
}

#[tokio::test]
async fn receiver_outlives_a_source_that_was_dropped() -> Result<()> {
    let (server, mut outside) = started().await?;
    outside.ask::<()>(&["HSET", HASH, "on", "true"]).await?;
    let flags = quick(&server).connect().await?;
    let receiver = flags.subscribe();
    drop(flags);
    assert!(receiver.borrow().enabled("on"));
    eventually("the looking ends", async || Ok(receiver.has_changed().is_err())).await
}
