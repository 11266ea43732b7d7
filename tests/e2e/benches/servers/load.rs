//! The workloads, and a slice of one: a number of clients that call without a pause until the time is over.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::ValueEnum;
use switchover::{Payload, SessionKey, Timestamp, expires_in};
use switchover_tests::process::processor_time;

use super::contestant::Contestant;
use super::options::Options;

/// How long filling a cache may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The number of different payloads that saves use.
const PAYLOADS: usize = 16;
const MONTH: Duration = Duration::from_secs(30 * 24 * 3_600);

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// Loads of sessions that are in the cache.
    Hit,
    /// Loads of sessions that are not in the cache. The cache is emptied before a slice, and each session is loaded
    /// once.
    Miss,
    /// Saves in one database, both flags off.
    Save,
    /// Saves in both databases, `migration_flag` on.
    DualSave,
}

impl Workload {
    pub(crate) const ALL: [Self; 4] = [Self::Hit, Self::Miss, Self::Save, Self::DualSave];
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Save => "save",
            Self::DualSave => "dual save",
        })
    }
}

/// What all clients share: the sessions in a random order, and the payloads that they save.
pub(crate) struct Data {
    pub(crate) keys: Vec<SessionKey>,
    pub(crate) payloads: Vec<Payload>,
    expires_at: Timestamp,
}

impl Data {
    pub(crate) fn new(options: &Options) -> Self {
        let payload = |at: usize| {
            let text: String = std::iter::repeat_n(char::from(b'a' + at as u8), options.payload).collect();
            Payload::from(text)
        };
        Self {
            keys: (0..options.sessions.max(1)).map(|_| SessionKey::random()).collect(),
            payloads: (0..PAYLOADS).map(payload).collect(),
            expires_at: expires_in(MONTH),
        }
    }
}

/// The measurements of one slice.
pub(crate) struct Slice {
    pub(crate) latencies_us: Vec<u32>,
    pub(crate) failed: u64,
    /// Why the first failed call failed.
    pub(crate) error: Option<String>,
    pub(crate) wall: Duration,
    /// Processor time of this process: clients, contestant and drivers, but not the servers.
    pub(crate) processor: Duration,
}

/// Runs `at_once` clients until `length` is over, or until every session was loaded once if that is the workload.
pub(crate) async fn slice(
    contestant: &Arc<Contestant>,
    workload: Workload,
    data: &Arc<Data>,
    at_once: usize,
    length: Duration,
    seed: u64,
) -> Result<Slice> {
    let next = Arc::new(AtomicUsize::new(0));
    let (processor, begun) = (processor_time()?, Instant::now());
    let clients: Vec<_> = (0..at_once)
        .map(|client| {
            let dice = fastrand::Rng::with_seed(seed << 32 | client as u64);
            let client = Client { contestant: Arc::clone(contestant), data: Arc::clone(data), next: Arc::clone(&next) };
            tokio::spawn(client.run(workload, dice, begun + length))
        })
        .collect();
    let mut measured =
        Slice { latencies_us: Vec::new(), failed: 0, error: None, wall: Duration::ZERO, processor: Duration::ZERO };
    for client in clients {
        let (latencies, failed, error) = client.await?;
        measured.latencies_us.extend(latencies);
        measured.failed += failed;
        measured.error = measured.error.or(error);
    }
    measured.wall = begun.elapsed();
    measured.processor = processor_time()?.saturating_sub(processor);
    Ok(measured)
}

struct Client {
    contestant: Arc<Contestant>,
    data: Arc<Data>,
    /// The index of the next session, if each session is loaded once.
    next: Arc<AtomicUsize>,
}

impl Client {
    async fn run(self, workload: Workload, mut dice: fastrand::Rng, end: Instant) -> (Vec<u32>, u64, Option<String>) {
        let (mut latencies, mut failed, mut error) = (Vec::new(), 0, None);
        loop {
            let begun = Instant::now();
            if begun >= end {
                break;
            }
            let at = match workload {
                Workload::Miss => self.next.fetch_add(1, Ordering::Relaxed),
                Workload::Hit | Workload::Save | Workload::DualSave => dice.usize(..self.data.keys.len()),
            };
            let Some(key) = self.data.keys.get(at) else { break };
            let done = match workload {
                Workload::Hit | Workload::Miss => self.contestant.load(key).await.map(drop),
                Workload::Save | Workload::DualSave => {
                    let payload = &self.data.payloads[dice.usize(..PAYLOADS)];
                    self.contestant.save(key, payload, self.data.expires_at).await
                }
            };
            match done {
                Ok(()) => latencies.push(u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX)),
                Err(problem) => {
                    failed += 1;
                    error.get_or_insert_with(|| format!("{problem:#}"));
                }
            }
        }
        (latencies, failed, error)
    }
}
