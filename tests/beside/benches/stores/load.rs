//! The workloads, and a slice of one: a number of clients that call without a pause until the time is over.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::ValueEnum;

use super::contestant::{Contestant, Key};
use super::site::Place;
use crate::process::processor_time;

/// The number of different payloads that saves use.
const PAYLOADS: usize = 16;
/// How many tasks create the sessions.
const FILLERS: usize = 64;
/// An end that is later by at most this is what a touch writes.
const LATER_SECONDS: i64 = 3_600;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// Loads of sessions that are in the cache.
    Hit,
    /// Loads of sessions that are not in the cache. It is emptied before a slice, and each session is loaded once.
    Miss,
    /// New sessions, with what the crate does to find an id that is free.
    Create,
    /// Saves with another payload.
    Save,
    /// Saves with the same payload and a later end: none of the crates has another way to move an end.
    Touch,
    /// Deletes, each session once.
    Logout,
}

impl Workload {
    pub(crate) const ALL: [Self; 6] = [Self::Hit, Self::Miss, Self::Create, Self::Save, Self::Touch, Self::Logout];

    /// Whether each session can be used once.
    fn uses_up(self) -> bool {
        matches!(self, Self::Miss | Self::Logout)
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Create => "create",
            Self::Save => "save",
            Self::Touch => "touch",
            Self::Logout => "logout",
        })
    }
}

/// Payloads of one size that no server can compress.
pub(crate) fn payloads(size: usize) -> Vec<String> {
    let mut dice = fastrand::Rng::with_seed(size as u64);
    (0..PAYLOADS).map(|_| (0..size).map(|_| dice.alphanumeric()).collect()).collect()
}

/// A contestant with its place and its sessions.
pub(crate) struct Stand {
    pub(crate) contestant: Contestant,
    pub(crate) place: Place,
    keys: Arc<Vec<Key>>,
}

impl Stand {
    pub(crate) fn new(contestant: Contestant, place: Place) -> Self {
        Self { contestant, place, keys: Arc::default() }
    }

    /// Puts this many new sessions in the place of all others. They are in the cache.
    pub(crate) async fn fill(self: &mut Arc<Self>, sessions: usize, payloads: &Arc<Vec<String>>) -> Result<()> {
        self.place.empty().await?;
        let left = Arc::new(AtomicUsize::new(0));
        let fillers: Vec<_> = (0..FILLERS)
            .map(|filler| {
                let (stand, payloads, left) = (Arc::clone(self), Arc::clone(payloads), Arc::clone(&left));
                let mut dice = fastrand::Rng::with_seed(fastrand::u64(..) ^ filler as u64);
                tokio::spawn(async move {
                    let mut keys = Vec::new();
                    while left.fetch_add(1, Ordering::Relaxed) < sessions {
                        let key = stand.contestant.create(&payloads[0], &mut dice).await?;
                        stand.contestant.load(&key).await?;
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
        let stand = Arc::get_mut(self);
        ensure!(stand.is_some(), "a client of the last slice is still there");
        if let Some(stand) = stand {
            stand.keys = Arc::new(keys);
        }
        Ok(())
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

/// Runs `at_once` clients until `length` is over, or until every session was used if the workload uses them up.
pub(crate) async fn slice(
    stand: &Arc<Stand>,
    workload: Workload,
    payloads: &Arc<Vec<String>>,
    at_once: usize,
    length: Duration,
) -> Result<Slice> {
    let next = Arc::new(AtomicUsize::new(0));
    let (processor, begun) = (processor_time()?, Instant::now());
    let clients: Vec<_> = (0..at_once)
        .map(|_| {
            let (stand, payloads, next) = (Arc::clone(stand), Arc::clone(payloads), Arc::clone(&next));
            tokio::spawn(async move { client(&stand, workload, &payloads, &next, begun + length).await })
        })
        .collect();
    let (mut latencies_us, mut failed, mut error) = (Vec::new(), 0, None);
    for client in clients {
        let (latencies, failures, problem) = client.await?;
        latencies_us.extend(latencies);
        failed += failures;
        error = error.or(problem);
    }
    let wall = begun.elapsed();
    Ok(Slice { latencies_us, failed, error, wall, processor: processor_time()?.saturating_sub(processor) })
}

async fn client(
    stand: &Stand,
    workload: Workload,
    payloads: &[String],
    next: &AtomicUsize,
    end: Instant,
) -> (Vec<u32>, u64, Option<String>) {
    let (mut latencies, mut failed, mut error) = (Vec::new(), 0, None);
    let mut dice = fastrand::Rng::new();
    loop {
        let begun = Instant::now();
        if begun >= end {
            break;
        }
        let at = if workload.uses_up() { next.fetch_add(1, Ordering::Relaxed) } else { dice.usize(..stand.keys.len()) };
        let Some(key) = stand.keys.get(at) else { break };
        match call(&stand.contestant, workload, payloads, key, &mut dice).await {
            Ok(()) => latencies.push(u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX)),
            Err(problem) => {
                failed += 1;
                error.get_or_insert_with(|| format!("{problem:#}"));
            }
        }
    }
    (latencies, failed, error)
}

async fn call(
    contestant: &Contestant,
    workload: Workload,
    payloads: &[String],
    key: &Key,
    dice: &mut fastrand::Rng,
) -> Result<()> {
    match workload {
        Workload::Hit | Workload::Miss => {
            let size = contestant.load(key).await?;
            ensure!(size == payloads[0].len(), "{size} bytes were loaded");
        }
        Workload::Create => drop(contestant.create(&payloads[dice.usize(..PAYLOADS)], dice).await?),
        Workload::Save => contestant.save(key, &payloads[dice.usize(..PAYLOADS)], 0).await?,
        Workload::Touch => contestant.save(key, &payloads[0], dice.i64(1..=LATER_SECONDS)).await?,
        Workload::Logout => contestant.delete(key).await?,
    }
    Ok(())
}
