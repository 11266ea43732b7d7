//! Random interleavings of readers and writers of one key on two hosts, against the rule that every acknowledged write
//! is read.
//!
//! The steps of all of them run one after the other, in an order that a seed decides, so a finding can be repeated. A
//! write may be answered as failed and executed late, at any later point, as by a server that was paused.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use async_trait::async_trait;
use switchover_core::capabilities::{Cache, CacheError, CacheLookup, Lease, Nonce};
use switchover_core::{Session, SessionKey, Timestamp};
use switchover_harness::Redis as RedisServer;

use super::cache::{now, some};
use super::fixture::{PATIENCE, key};
use super::redis_fixture::{Dice, Outside, builder};

const STEPS: u32 = 120;
const READERS: usize = 3;
const WRITERS: usize = 2;

#[derive(Clone, Copy)]
enum Reader {
    Idle,
    Missed(Lease),
    Loaded(Lease, u64),
}

#[derive(Clone, Copy)]
enum Writer {
    Idle,
    Guarded(Nonce),
    Written(Nonce, u64),
}

/// An operation that a server has received, and whose sender has given up.
enum Late {
    Get,
    Fill(Lease, u64),
    Guard(Nonce),
    Release(Nonce),
    Invalidate,
}

struct Model<'a> {
    hosts: [Arc<dyn Cache>; 2],
    outside: &'a mut Outside,
    dice: Dice,
    row: u64,
    acknowledged: u64,
    nonce: u128,
    readers: [Reader; READERS],
    writers: [Writer; WRITERS],
    late: Vec<Late>,
    hits: u64,
}

impl Model<'_> {
    fn key() -> SessionKey {
        key("aaaaaaaa")
    }

    fn host(&self, client: usize) -> Arc<dyn Cache> {
        Arc::clone(&self.hosts[client % 2])
    }

    async fn step(&mut self) -> Result<()> {
        match self.dice.below(40) {
            0..=23 => {
                let reader = self.dice.below(READERS);
                self.read(reader).await
            }
            24..=33 => {
                let writer = self.dice.below(WRITERS);
                self.write(writer).await
            }
            34 => Ok(self.outside.ask::<()>(&["FLUSHALL"]).await?),
            35 => Ok(self.outside.ask::<()>(&["SCRIPT", "FLUSH"]).await?),
            36 => {
                self.late.push(if self.dice.below(2) == 0 { Late::Get } else { Late::Invalidate });
                Ok(())
            }
            _ => self.execute_late().await,
        }
    }

    async fn read(&mut self, at: usize) -> Result<()> {
        let host = self.host(at);
        self.readers[at] = match self.readers[at] {
            Reader::Idle => match host.get(&Self::key(), now()).await? {
                CacheLookup::Hit(session) => {
                    self.hits += 1;
                    let seen: u64 = session.payload.as_text().unwrap_or_default().parse()?;
                    ensure!(
                        seen >= self.acknowledged,
                        "{seen} was served after {} was acknowledged",
                        self.acknowledged
                    );
                    Reader::Idle
                }
                CacheLookup::Miss(lease) => Reader::Missed(lease),
            },
            Reader::Missed(lease) => Reader::Loaded(lease, self.row),
            Reader::Loaded(lease, row) => {
                if self.dice.below(4) == 0 {
                    // It times out here, and is executed at some later time.
                    self.late.push(Late::Fill(lease, row));
                } else {
                    host.fill(lease, &some(&row.to_string()), PATIENCE).await?;
                }
                Reader::Idle
            }
        };
        Ok(())
    }

    async fn write(&mut self, at: usize) -> Result<()> {
        let host = self.host(at);
        self.writers[at] = match self.writers[at] {
            Writer::Idle => {
                self.nonce += 1;
                let nonce = Nonce(self.nonce);
                match self.dice.below(4) {
                    // The guard is not answered. The release below makes up for what it did not keep out.
                    0 => self.late.push(Late::Guard(nonce)),
                    _ => host.guard(&Self::key(), nonce, PATIENCE).await?,
                }
                Writer::Guarded(nonce)
            }
            Writer::Guarded(nonce) => {
                self.row += 1;
                Writer::Written(nonce, self.row)
            }
            Writer::Written(nonce, row) => {
                host.release(&Self::key(), nonce).await?;
                if self.dice.below(4) == 0 {
                    self.late.push(Late::Release(nonce));
                }
                self.acknowledged = self.acknowledged.max(row);
                Writer::Idle
            }
        };
        Ok(())
    }

    /// Executes some of the late operations, in any order.
    async fn execute_late(&mut self) -> Result<()> {
        if self.late.is_empty() {
            return Ok(());
        }
        let at = self.dice.below(self.late.len());
        let (key, host) = (Self::key(), self.host(at));
        match self.late.swap_remove(at) {
            Late::Get => drop(host.get(&key, now()).await?),
            Late::Fill(lease, row) => drop(host.fill(lease, &some(&row.to_string()), PATIENCE).await?),
            // Short, or nothing would be filled any more.
            Late::Guard(nonce) => host.guard(&key, nonce, Duration::from_millis(1)).await?,
            Late::Release(nonce) => host.release(&key, nonce).await?,
            Late::Invalidate => host.invalidate(&key).await?,
        }
        Ok(())
    }
}

/// Runs many seeds. Returns the number of hits, or the first finding with its seed.
async fn explore(hosts: [Arc<dyn Cache>; 2], outside: &mut Outside, seeds: u64) -> Result<u64> {
    let mut hits = 0;
    for seed in 0..seeds {
        outside.ask::<()>(&["FLUSHALL"]).await?;
        let mut model = Model {
            hosts: hosts.clone(),
            outside: &mut *outside,
            dice: Dice(seed),
            row: 0,
            acknowledged: 0,
            nonce: u128::from(seed) << 64,
            readers: [Reader::Idle; READERS],
            writers: [Writer::Idle; WRITERS],
            late: Vec::new(),
            hits: 0,
        };
        for step in 0..STEPS {
            if let Err(error) = model.step().await {
                bail!("seed {seed}, step {step}: {error}");
            }
        }
        hits += model.hits;
    }
    Ok(hits)
}

#[tokio::test]
async fn no_interleaving_of_two_hosts_serves_what_an_acknowledged_write_replaced() -> Result<()> {
    let server = RedisServer::start().await?;
    let mut outside = Outside::at(&server.url()).await?;
    let one = builder(&server.url()).response_timeout(PATIENCE).connect().await?;
    let two = builder(&server.url()).response_timeout(PATIENCE).connect().await?;
    let hits = explore([Arc::new(one), Arc::new(two)], &mut outside, 300).await?;
    assert!(hits > 300, "only {hits} hits: little was tried");
    Ok(())
}

#[tokio::test]
async fn cache_with_a_fault_is_found() -> Result<()> {
    let server = RedisServer::start().await?;
    let mut outside = Outside::at(&server.url()).await?;
    for fault in [Bug::NoRelease, Bug::EveryLeaseFills, Bug::ReleaseKeepsLeases] {
        let inner = builder(&server.url()).response_timeout(PATIENCE).connect().await?;
        let buggy: Arc<dyn Cache> = Arc::new(Buggy { inner: Arc::new(inner), fault });
        let found = explore([Arc::clone(&buggy), buggy], &mut outside, 300).await;
        assert!(found.is_err_and(|finding| finding.to_string().contains("was served")), "{fault:?} was not found");
    }
    Ok(())
}

#[derive(Clone, Copy, Debug)]
enum Bug {
    NoRelease,
    EveryLeaseFills,
    ReleaseKeepsLeases,
}

struct Buggy {
    inner: Arc<dyn Cache>,
    fault: Bug,
}

#[async_trait]
impl Cache for Buggy {
    async fn get(&self, key: &SessionKey, now: Timestamp) -> Result<CacheLookup, CacheError> {
        self.inner.get(key, now).await
    }

    async fn fill(&self, lease: Lease, session: &Session, ttl: Duration) -> Result<bool, CacheError> {
        if let Bug::EveryLeaseFills = self.fault
            && let CacheLookup::Miss(lease) = self.inner.get(&session.key, now()).await?
        {
            return self.inner.fill(lease, session, ttl).await;
        }
        self.inner.fill(lease, session, ttl).await
    }

    async fn guard(&self, key: &SessionKey, nonce: Nonce, ttl: Duration) -> Result<(), CacheError> {
        match self.fault {
            Bug::NoRelease => self.inner.invalidate(key).await,
            Bug::EveryLeaseFills | Bug::ReleaseKeepsLeases => self.inner.guard(key, nonce, ttl).await,
        }
    }

    async fn release(&self, key: &SessionKey, nonce: Nonce) -> Result<(), CacheError> {
        match self.fault {
            Bug::NoRelease => Ok(()),
            Bug::EveryLeaseFills => self.inner.release(key, nonce).await,
            Bug::ReleaseKeepsLeases => match self.inner.get(key, now()).await? {
                CacheLookup::Miss(Lease::DEAD) => self.inner.release(key, nonce).await,
                CacheLookup::Miss(_) | CacheLookup::Hit(_) => Ok(()),
            },
        }
    }

    async fn invalidate(&self, key: &SessionKey) -> Result<(), CacheError> {
        self.inner.invalidate(key).await
    }

    fn summary(&self) -> String {
        self.inner.summary()
    }
}
