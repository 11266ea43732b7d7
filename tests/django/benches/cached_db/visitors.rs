//! The workloads, and a slice of one: visitors that ask without a pause until the time is over.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::connection::Connection;
use super::web::{Processor, Web};

/// How many visitors create the sessions.
const FILLERS: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Workload {
    /// Requests that use no session: what everything else costs.
    Bare,
    /// Requests that read a session which is in the cache.
    Hit,
    /// Requests that read a session which is not in the cache. It is emptied before a slice, and each session is read
    /// once.
    Miss,
    /// Requests that begin a session.
    Create,
    /// Requests that read a session and change it.
    Save,
    /// Requests that end a session, each once.
    Logout,
}

impl Workload {
    pub(crate) const ALL: [Self; 6] = [Self::Bare, Self::Hit, Self::Miss, Self::Create, Self::Save, Self::Logout];
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bare => "bare",
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Create => "create",
            Self::Save => "save",
            Self::Logout => "logout",
        })
    }
}

/// A contestant with its sessions.
pub(crate) struct Stand {
    pub(crate) web: Web,
    keys: Arc<Vec<String>>,
}

/// The measurements of one slice.
pub(crate) struct Slice {
    pub(crate) latencies_us: Vec<u32>,
    pub(crate) failed: u64,
    /// Why the first failed request failed.
    pub(crate) error: Option<String>,
    pub(crate) wall: Duration,
    pub(crate) processor: Processor,
}

/// What the visitors of a slice share.
struct Visit {
    workload: Workload,
    payload: usize,
    keys: Arc<Vec<String>>,
    /// The next session, if each is used once.
    next: AtomicUsize,
    end: Instant,
}

#[derive(Default)]
struct Visited {
    latencies_us: Vec<u32>,
    failed: u64,
    error: Option<String>,
}

impl Stand {
    pub(crate) fn new(web: Web) -> Self {
        Self { web, keys: Arc::default() }
    }

    /// Puts this many new sessions in the place of all others, and reads each once: they are in the cache.
    pub(crate) async fn fill(&mut self, sessions: usize, payload: usize) -> Result<()> {
        self.web.place.empty().await?;
        let left = Arc::new(AtomicUsize::new(0));
        let fillers: Vec<_> = (0..FILLERS)
            .map(|_| {
                let (port, left) = (self.web.port, Arc::clone(&left));
                tokio::spawn(async move {
                    let (mut keys, mut connection) = (Vec::new(), Connection::open(port).await?);
                    while left.fetch_add(1, Ordering::Relaxed) < sessions {
                        let (_, key) = connection.get(&format!("create/{payload}"), None).await?;
                        let key = key.context("no key for a new session")?;
                        connection.get("read", Some(&key)).await?;
                        keys.push(key);
                    }
                    anyhow::Ok(keys)
                })
            })
            .collect();
        let mut keys = Vec::with_capacity(sessions);
        for filler in fillers {
            keys.extend(filler.await??);
        }
        self.keys = Arc::new(keys);
        Ok(())
    }

    /// Runs `at_once` visitors until `length` is over, or until every session was used if they are used once.
    pub(crate) async fn slice(
        &self,
        workload: Workload,
        payload: usize,
        at_once: usize,
        length: Duration,
    ) -> Result<Slice> {
        let mut connections = Vec::with_capacity(at_once);
        for _ in 0..at_once {
            connections.push(Connection::open(self.web.port).await?);
        }
        let (before, begun) = (self.web.processor()?, Instant::now());
        let (keys, end) = (Arc::clone(&self.keys), begun + length);
        let visit = Arc::new(Visit { workload, payload, keys, next: AtomicUsize::new(0), end });
        let visitors: Vec<_> = connections
            .into_iter()
            .map(|connection| {
                let visit = Arc::clone(&visit);
                tokio::spawn(async move { visit.run(connection).await })
            })
            .collect();
        let mut all = Visited::default();
        for visitor in visitors {
            let visited = visitor.await?;
            all.latencies_us.extend(visited.latencies_us);
            all.failed += visited.failed;
            all.error = all.error.or(visited.error);
        }
        let (wall, after) = (begun.elapsed(), self.web.processor()?);
        let processor = Processor { web: after.web - before.web, serve: after.serve - before.serve };
        let Visited { latencies_us, failed, error } = all;
        Ok(Slice { latencies_us, failed, error, wall, processor })
    }
}

impl Visit {
    async fn run(&self, mut connection: Connection) -> Visited {
        let (mut visited, mut dice) = (Visited::default(), fastrand::Rng::new());
        loop {
            let begun = Instant::now();
            if begun >= self.end {
                break;
            }
            let at = match self.workload {
                Workload::Miss | Workload::Logout => self.next.fetch_add(1, Ordering::Relaxed),
                _ => dice.usize(..self.keys.len()),
            };
            let Some(key) = self.keys.get(at) else { break };
            match self.ask(&mut connection, key).await {
                Ok(()) => visited.latencies_us.push(u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX)),
                Err(problem) => {
                    visited.failed += 1;
                    visited.error.get_or_insert_with(|| format!("{problem:#}"));
                }
            }
        }
        visited
    }

    async fn ask(&self, connection: &mut Connection, key: &str) -> Result<()> {
        let create = format!("create/{}", self.payload);
        let (path, key) = match self.workload {
            Workload::Bare => ("bare", None),
            Workload::Hit | Workload::Miss => ("read", Some(key)),
            Workload::Create => (create.as_str(), None),
            Workload::Save => ("save", Some(key)),
            Workload::Logout => ("leave", Some(key)),
        };
        let (body, _) = connection.get(path, key).await?;
        if matches!(self.workload, Workload::Hit | Workload::Miss) {
            anyhow::ensure!(body == self.payload.to_string(), "{body} bytes were read");
        }
        Ok(())
    }
}
