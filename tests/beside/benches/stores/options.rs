//! The command line of the benchmark.

use std::time::Duration;

use clap::Parser;

use super::load::Workload;

/// As many bytes of payloads as the sessions of a contestant have at most.
const BYTES_MAX: usize = 64 << 20;

/// Compares Switchover's stores for tower-sessions and axum_session with those crates' own stores.
#[derive(Clone, Debug, Parser)]
#[command(after_help = "\
The default run takes about 20 minutes. PostgreSQL 12 or newer and Redis must be installed.

Examples, each after `cargo bench --manifest-path tests/beside/Cargo.toml --`:
  --seconds 0.2 --rounds 3 --payload 400     a quick look
  --only miss --at-once 64                   one workload, 64 calls at a time")]
pub(crate) struct Options {
    /// Print one JSON object instead of tables
    #[arg(long)]
    pub(crate) json: bool,
    /// The length of one slice
    #[arg(long, default_value_t = 0.5)]
    seconds: f64,
    /// How many slices each contestant gets
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: usize,
    /// Only this workload; can be given several times
    #[arg(long, value_name = "NAME")]
    only: Vec<Workload>,
    /// How many calls at a time; can be given several times
    #[arg(long, value_name = "N", default_values_t = [1, 64, 1_024])]
    at_once: Vec<usize>,
    /// The size of a payload in bytes; can be given several times
    #[arg(long, value_name = "BYTES", default_values_t = [400, 4_096, 65_536])]
    pub(crate) payload: Vec<usize>,
    /// How many sessions each contestant has at most
    #[arg(long, default_value_t = 10_000)]
    sessions: usize,
    /// Servers without durability: no flush to disk
    #[arg(long)]
    pub(crate) fast: bool,
    /// Added by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    pub(crate) fn length(&self) -> Duration {
        Duration::from_secs_f64(self.seconds.clamp(0.05, 60.0))
    }

    pub(crate) fn workloads(&self) -> Vec<Workload> {
        let wanted = |workload: &Workload| self.only.is_empty() || self.only.contains(workload);
        Workload::ALL.into_iter().filter(wanted).collect()
    }

    pub(crate) fn crowds(&self) -> Vec<usize> {
        self.at_once.iter().map(|at_once| (*at_once).max(1)).collect()
    }

    /// How many sessions there are with payloads of this size.
    pub(crate) fn sessions_of(&self, payload: usize) -> usize {
        self.sessions.min(BYTES_MAX / payload.max(1)).max(1)
    }
}
