//! Caches on real servers, and a connection that observes them from outside.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, cmd};
use switchover_backends::{Redis, RedisBuilder};
use switchover_harness::{Redis as RedisServer, Server};

use super::fixture::PATIENCE;

/// Longer than a machine pauses, and short enough to wait for if a test needs an operation without an answer.
pub(crate) const RESPONSE: Duration = Duration::from_millis(400);

/// A cache on the shared server, with a prefix of its own. It waits for answers as long as a test may take.
pub(crate) async fn patient() -> Result<Redis> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let prefix = format!("patient-{}:", NEXT.fetch_add(1, Ordering::Relaxed));
    Ok(builder(&RedisServer::shared().await?.url()).response_timeout(PATIENCE).prefix(prefix).connect().await?)
}

/// A cache with a server of its own.
pub(crate) async fn alone() -> Result<(Server, Redis)> {
    let server = RedisServer::start().await?;
    let cache = builder(&server.url()).connect().await?;
    Ok((server, cache))
}

/// Options for a busy machine.
pub(crate) fn builder(address: &str) -> RedisBuilder {
    Redis::builder(address).response_timeout(RESPONSE).connect_timeout(Duration::from_secs(2))
}

/// Another client of the same server.
pub(crate) struct Outside(MultiplexedConnection);

impl Outside {
    pub(crate) async fn at(address: &str) -> Result<Self> {
        Ok(Self(redis::Client::open(address)?.get_multiplexed_async_connection().await?))
    }

    /// Sends words as `redis-cli` would.
    pub(crate) async fn ask<T: FromRedisValue>(&mut self, words: &[&str]) -> Result<T> {
        let mut command = cmd(words[0]);
        for word in &words[1..] {
            command.arg(*word);
        }
        Ok(command.query_async(&mut self.0).await?)
    }

    /// Stores bytes under a name.
    pub(crate) async fn set(&mut self, name: &str, value: &[u8]) -> Result<()> {
        Ok(cmd("SET").arg(name).arg(value).query_async(&mut self.0).await?)
    }

    /// Reads the bytes under a name.
    pub(crate) async fn value(&mut self, name: &str) -> Result<Vec<u8>> {
        Ok(cmd("GET").arg(name).query_async(&mut self.0).await?)
    }

    /// Returns the only name under the usual prefix.
    pub(crate) async fn only_name(&mut self) -> Result<String> {
        let names: Vec<String> = self.ask(&["KEYS", "switchover:*"]).await?;
        assert_eq!(names.len(), 1, "one key for one session");
        Ok(names[0].clone())
    }
}

/// A random generator that a seed repeats (splitmix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((x ^ (x >> 31)) >> 33).expect("31 bits") % bound
    }
}
