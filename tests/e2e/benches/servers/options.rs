//! The command line of the benchmark.

use std::time::Duration;

use clap::Parser;

use super::contestant::Kind;
use super::load::Workload;

/// Compares Switchover, with its policy in wasm and native, with a proxy written by hand, on servers that it starts.
#[derive(Clone, Debug, Parser)]
#[command(after_help = "\
The default run takes about 6 minutes. PostgreSQL 12 or newer and Redis must be installed.

Examples, each after `cargo bench -p switchover-tests --bench servers --`:
  --seconds 0.5 --rounds 3          a quick look
  --only save --at-once 64          one workload, 64 calls at a time
  --fast                            without the disk's flushes, to see the cost of everything else")]
pub(crate) struct Options {
    /// Print one JSON object instead of tables
    #[arg(long)]
    pub(crate) json: bool,
    /// The length of one slice
    #[arg(long, default_value_t = 1.5)]
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
    /// The size of a payload in bytes
    #[arg(long, default_value_t = 400)]
    pub(crate) payload: usize,
    /// How many sessions to use
    #[arg(long, default_value_t = 10_000)]
    pub(crate) sessions: usize,
    /// Servers without durability: no flush to disk
    #[arg(long)]
    pub(crate) fast: bool,
    /// Added by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
    /// Only measure the memory of one contestant, in a process of its own
    #[arg(long, hide = true, requires_all = ["old", "new", "cache"])]
    pub(crate) memory_of: Option<Kind>,
    #[arg(long, hide = true)]
    pub(crate) old: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) new: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) cache: Option<String>,
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
}
