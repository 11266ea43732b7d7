//! Adds up the slices: figures of each contestant, and the ratio of the engine to `cached_db` in each round.

use super::visitors::{Slice, Workload};
use super::web::KINDS;

/// One workload with one size of data and one number of requests at a time.
pub(crate) struct Cell {
    pub(crate) payload: usize,
    pub(crate) workload: Workload,
    pub(crate) at_once: usize,
    /// For each of [`KINDS`].
    pub(crate) contestants: [Figures; 2],
}

/// All rounds of one contestant in one cell.
#[derive(Default)]
pub(crate) struct Figures {
    latencies_us: Vec<u32>,
    rounds: Vec<Round>,
    pub(crate) failed: u64,
    pub(crate) error: Option<String>,
}

/// Of a request, in microseconds.
struct Round {
    wall: f64,
    web: f64,
    serve: f64,
}

/// The quantity that a ratio compares.
#[derive(Clone, Copy)]
pub(crate) enum Of {
    /// Wall time by requests.
    Time,
    /// Processor time by requests, of gunicorn and of `switchover serve`.
    Processor,
}

/// The ratios of the rounds.
#[derive(Clone, Copy)]
pub(crate) struct Ratio {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Cell {
    pub(crate) fn new(payload: usize, workload: Workload, at_once: usize) -> Self {
        Self { payload, workload, at_once, contestants: KINDS.map(|_| Figures::default()) }
    }

    pub(crate) fn add(&mut self, at: usize, slice: &Slice) {
        let figures = &mut self.contestants[at];
        figures.latencies_us.extend(&slice.latencies_us);
        let micros = |seconds: f64| seconds * 1e6 / (slice.latencies_us.len() as f64).max(1.0);
        figures.rounds.push(Round {
            wall: micros(slice.wall.as_secs_f64()),
            web: micros(slice.processor.web),
            serve: micros(slice.processor.serve),
        });
        figures.failed += slice.failed;
        figures.error = figures.error.take().or_else(|| slice.error.clone());
    }

    /// Compares the engine with `cached_db`, within each round.
    pub(crate) fn ratio(&self, of: Of) -> Ratio {
        let [engine, cached_db] = &self.contestants;
        let value = |round: &Round| match of {
            Of::Time => round.wall,
            Of::Processor => round.web + round.serve,
        };
        let rounds = engine.rounds.iter().zip(&cached_db.rounds);
        let mut ratios: Vec<_> = rounds.map(|(engine, cached_db)| value(engine) / value(cached_db)).collect();
        let median = median(&mut ratios);
        let edge = |ratio: Option<&f64>| ratio.copied().unwrap_or(f64::NAN);
        Ratio { median, least: edge(ratios.first()), most: edge(ratios.last()) }
    }
}

impl Figures {
    pub(crate) fn requests(&self) -> usize {
        self.latencies_us.len()
    }

    /// A quantile of the latencies in milliseconds, over the requests of all rounds.
    pub(crate) fn latency_ms(&self, quantile: f64) -> f64 {
        let mut sorted = self.latencies_us.clone();
        sorted.sort_unstable();
        let at = (quantile * sorted.len().saturating_sub(1) as f64) as usize;
        sorted.get(at).map_or(f64::NAN, |latency| f64::from(*latency) / 1e3)
    }

    pub(crate) fn per_second(&self) -> f64 {
        1e6 / self.median_of(|round| round.wall)
    }

    /// Requests by processor second of gunicorn and of `switchover serve`.
    pub(crate) fn per_processor_second(&self) -> f64 {
        1e6 / self.median_of(|round| round.web + round.serve)
    }

    /// Processor time of `switchover serve` by request.
    pub(crate) fn serve_us(&self) -> f64 {
        self.median_of(|round| round.serve)
    }

    fn median_of(&self, value: impl Fn(&Round) -> f64) -> f64 {
        median(&mut self.rounds.iter().map(value).collect::<Vec<_>>())
    }
}

/// Sorts the values.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = |at: usize| values.get(at).copied().unwrap_or(f64::NAN);
    (at(values.len().saturating_sub(1) / 2) + at(values.len() / 2)) / 2.0
}
