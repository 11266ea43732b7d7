//! Adds up the slices: figures of each contestant, and the ratio of ours to the other one in each round.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::contestant::KINDS;
use super::load::{Slice, Workload};

const LATENCY_US_MAX: u64 = 60_000_000;
const SIGNIFICANT_DIGITS: u8 = 3;

/// What is compared: the name of the session crate, and the places in [`KINDS`] of ours and of its own.
pub(crate) const PAIRS: [(&str, usize, usize); 2] = [("tower-sessions", 0, 1), ("axum_session", 2, 3)];

/// One workload with one size of payloads and one number of calls at a time.
pub(crate) struct Cell {
    pub(crate) payload: usize,
    pub(crate) workload: Workload,
    pub(crate) at_once: usize,
    pub(crate) contestants: Vec<Figures>,
}

/// All rounds of one contestant in one cell.
pub(crate) struct Figures {
    latencies: Histogram<u64>,
    rounds: Vec<Round>,
    pub(crate) failed: u64,
    pub(crate) error: Option<String>,
}

struct Round {
    call_us: f64,
    processor_us: f64,
}

/// The quantity that a ratio compares.
#[derive(Clone, Copy)]
pub(crate) enum Of {
    /// Wall time by calls.
    Time,
    /// Processor time of this process by calls.
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
        let figures = || Figures {
            latencies: Histogram::new_with_max(LATENCY_US_MAX, SIGNIFICANT_DIGITS).expect("possible bounds"),
            rounds: Vec::new(),
            failed: 0,
            error: None,
        };
        Self { payload, workload, at_once, contestants: KINDS.iter().map(|_| figures()).collect() }
    }

    pub(crate) fn add(&mut self, at: usize, slice: &Slice) {
        let figures = &mut self.contestants[at];
        for latency in &slice.latencies_us {
            figures.latencies.saturating_record(u64::from(*latency));
        }
        let calls = (slice.latencies_us.len() as f64).max(1.0);
        let micros = |time: Duration| time.as_secs_f64() * 1e6 / calls;
        figures.rounds.push(Round { call_us: micros(slice.wall), processor_us: micros(slice.processor) });
        figures.failed += slice.failed;
        figures.error = figures.error.take().or_else(|| slice.error.clone());
    }

    /// Compares one contestant with another, by their places in [`KINDS`], within each round.
    pub(crate) fn ratio(&self, of: Of, first: usize, second: usize) -> Ratio {
        let (first, second) = (&self.contestants[first], &self.contestants[second]);
        let ratios = first.rounds.iter().zip(&second.rounds).map(|(first, second)| match of {
            Of::Time => first.call_us / second.call_us,
            Of::Processor => first.processor_us / second.processor_us,
        });
        let mut ratios: Vec<_> = ratios.collect();
        let median = median(&mut ratios);
        let edge = |ratio: Option<&f64>| ratio.copied().unwrap_or(f64::NAN);
        Ratio { median, least: edge(ratios.first()), most: edge(ratios.last()) }
    }
}

impl Figures {
    pub(crate) fn calls(&self) -> u64 {
        self.latencies.len()
    }

    /// A quantile of the latencies in milliseconds, over the calls of all rounds.
    pub(crate) fn latency_ms(&self, quantile: f64) -> f64 {
        self.latencies.value_at_quantile(quantile) as f64 / 1e3
    }

    pub(crate) fn calls_per_second(&self) -> f64 {
        1e6 / median(&mut self.rounds.iter().map(|round| round.call_us).collect::<Vec<_>>())
    }

    pub(crate) fn processor_us(&self) -> f64 {
        median(&mut self.rounds.iter().map(|round| round.processor_us).collect::<Vec<_>>())
    }
}

/// Sorts the values.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = |at: usize| values.get(at).copied().unwrap_or(f64::NAN);
    (at(values.len().saturating_sub(1) / 2) + at(values.len() / 2)) / 2.0
}
