//! Adds up the slices: figures of each contestant, and ratios between two of them for each round.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::contestant::KINDS;
use super::load::{Slice, Workload};
use super::memory::Memory;

const LATENCY_US_MAX: u64 = 60_000_000;
const SIGNIFICANT_DIGITS: u8 = 3;

#[derive(Default)]
pub(crate) struct Results {
    pub(crate) cells: Vec<Cell>,
    /// For each contestant, as all fields below.
    pub(crate) memory: Vec<Memory>,
    pub(crate) cache_failures: Vec<u64>,
    /// Rows that differ after dual saves; empty if there were none.
    pub(crate) differing_rows: Vec<usize>,
}

/// One workload with one number of calls at a time.
pub(crate) struct Cell {
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
    calls_per_second: f64,
    processor_us: f64,
}

/// The quantity that a ratio compares.
#[derive(Clone, Copy)]
pub(crate) enum Of {
    /// Wall time by calls. Below 1, the first contestant answers more calls in the same time.
    Time,
    /// Processor time of this process by calls.
    Processor,
}

/// The ratios of the rounds.
#[derive(Clone, Copy)]
pub(crate) struct Ratio {
    pub(crate) median: f64,
    pub(crate) p10: f64,
    pub(crate) p90: f64,
}

impl Cell {
    pub(crate) fn new(workload: Workload, at_once: usize) -> Self {
        let figures = || Figures {
            latencies: Histogram::new_with_max(LATENCY_US_MAX, SIGNIFICANT_DIGITS).expect("possible bounds"),
            rounds: Vec::new(),
            failed: 0,
            error: None,
        };
        Self { workload, at_once, contestants: KINDS.iter().map(|_| figures()).collect() }
    }

    pub(crate) fn add(&mut self, at: usize, slice: &Slice) {
        let figures = &mut self.contestants[at];
        for latency in &slice.latencies_us {
            figures.latencies.saturating_record(u64::from(*latency));
        }
        let calls = slice.latencies_us.len() as f64;
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        figures.rounds.push(Round {
            calls_per_second: calls / slice.wall.as_secs_f64(),
            processor_us: micros(slice.processor) / calls.max(1.0),
        });
        figures.failed += slice.failed;
        figures.error = figures.error.take().or_else(|| slice.error.clone());
    }

    /// Compares the first contestant with the second, by their indexes in [`KINDS`]: the median of the ratios of each
    /// round.
    pub(crate) fn ratio(&self, of: Of, first: usize, second: usize) -> Ratio {
        let (first, second) = (&self.contestants[first], &self.contestants[second]);
        let ratios = first.rounds.iter().zip(&second.rounds).map(|(first, second)| match of {
            Of::Time => second.calls_per_second / first.calls_per_second,
            Of::Processor => first.processor_us / second.processor_us,
        });
        let ratios: Vec<_> = ratios.collect();
        Ratio { median: quantile(&ratios, 0.5), p10: quantile(&ratios, 0.1), p90: quantile(&ratios, 0.9) }
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
        quantile(&self.rounds.iter().map(|round| round.calls_per_second).collect::<Vec<_>>(), 0.5)
    }

    pub(crate) fn processor_us(&self) -> f64 {
        quantile(&self.rounds.iter().map(|round| round.processor_us).collect::<Vec<_>>(), 0.5)
    }
}

/// A quantile, interpolated between the two nearest values.
fn quantile(values: &[f64], quantile: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = quantile * (sorted.len().max(1) - 1) as f64;
    let at = |place: f64| sorted.get(place as usize).copied().unwrap_or(f64::NAN);
    at(place.floor()) + (at(place.ceil()) - at(place.floor())) * place.fract()
}
