//! Clients that call without a pause, and what their calls came to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::ValueEnum;
use switchover::{Error, Payload, SaveOutcome, SessionKey, Sessions, expires_in};
use tokio::task::JoinSet;

const MONTH: Duration = Duration::from_secs(30 * 24 * 3_600);

/// What clients call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Work {
    /// Saves of sessions that are there.
    Save,
    /// Loads from the database.
    Load,
    /// Three loads for each save.
    Mixed,
}

/// One call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) began: Instant,
    pub(crate) took: Duration,
    pub(crate) end: End,
    pub(crate) writes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Done,
    Failed,
    Unknown,
}

/// Clients that run until they are stopped.
pub(crate) struct Clients {
    running: JoinSet<Vec<Call>>,
    stop: Arc<AtomicBool>,
}

impl Clients {
    /// `calls_per_second` is the pace of all together; `None`: as fast as they can.
    pub(crate) fn start(
        sessions: &Sessions,
        keys: &Arc<[SessionKey]>,
        (work, payload): (Work, usize),
        count: usize,
        calls_per_second: Option<f64>,
    ) -> Self {
        let (stop, mut running) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
        for number in 0..count {
            let (sessions, keys, stop) = (sessions.clone(), Arc::clone(keys), Arc::clone(&stop));
            let pause = calls_per_second.map(|pace| Duration::from_secs_f64(count as f64 / pace));
            running.spawn(async move {
                let (mut rng, mut calls) = (fastrand::Rng::with_seed(number as u64), Vec::new());
                let mut due = Instant::now();
                while !stop.load(Ordering::Relaxed) {
                    let key = &keys[rng.usize(..keys.len())];
                    let writes = work == Work::Save || work == Work::Mixed && rng.u8(..4) == 0;
                    calls.push(call(&sessions, key, writes.then_some(payload), &mut rng).await);
                    if let Some(pause) = pause {
                        due += pause;
                        tokio::time::sleep_until(due.into()).await;
                    }
                }
                calls
            });
        }
        Self { running, stop }
    }

    pub(crate) async fn stop(mut self) -> Result<Vec<Call>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut calls = Vec::new();
        while let Some(ended) = self.running.join_next().await {
            calls.append(&mut ended?);
        }
        Ok(calls)
    }
}

async fn call(sessions: &Sessions, key: &SessionKey, save: Option<usize>, rng: &mut fastrand::Rng) -> Call {
    let began = Instant::now();
    let done = match save {
        Some(length) => {
            let payload = std::iter::repeat_n(rng.lowercase(), length).collect::<String>();
            let saved = sessions.save(key, Payload::from(payload), expires_in(MONTH)).await;
            saved.map(|outcome| outcome == SaveOutcome::Saved)
        }
        None => sessions.load_uncached(key).await.map(|found| found.is_some()),
    };
    let end = match done {
        Ok(true) => End::Done,
        // Every session is there.
        Ok(false) => End::Failed,
        Err(error) => end_of(&error),
    };
    Call { began, took: began.elapsed(), end, writes: save.is_some() }
}

fn end_of(error: &Error) -> End {
    if error.is_unknown_outcome() { End::Unknown } else { End::Failed }
}

/// The time below which this share of the calls stayed.
pub(crate) fn percentile(calls: &mut [Duration], share: f64) -> Duration {
    calls.sort_unstable();
    let at = (calls.len() as f64 * share) as usize;
    calls.get(at.min(calls.len().saturating_sub(1))).copied().unwrap_or_default()
}
