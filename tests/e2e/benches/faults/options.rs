//! The command line of the benchmark.

use std::time::Duration;

use clap::{Parser, ValueEnum};
use switchover_harness::Durability;

use super::fault::Fault;

/// The part that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Redis under a host with a healthy database.
    Cache,
    /// PostgreSQL by itself.
    Postgres,
    /// MariaDB by itself.
    Mariadb,
}

impl Part {
    const ALL: [Self; 3] = [Self::Cache, Self::Postgres, Self::Mariadb];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Cache => "Redis",
            Self::Postgres => "PostgreSQL",
            Self::Mariadb => "MariaDB",
        }
    }
}

/// Breaks Redis, PostgreSQL and MariaDB in every way, on servers that it starts, and reports what each fault costs.
#[derive(Clone, Debug, Parser)]
#[command(after_help = "\
The default run takes about 3 minutes. PostgreSQL, MariaDB and Redis must be installed, those of the parts that run.

Examples, each after `cargo bench -p switchover-tests --bench faults --`:
  --only cache                      what Redis costs when it is gone
  --only postgres --only mariadb    databases alone
  --only postgres --fault paused    one fault, beside none
  --seconds 0.5                     a quick look
  --rounds 3 --json                 each fault three times")]
pub(crate) struct Options {
    /// Print one JSON object instead of tables
    #[arg(long)]
    pub(crate) json: bool,
    /// How long a fault lasts, and how long to measure before it
    #[arg(long, default_value_t = 1.5)]
    seconds: f64,
    /// How often to make each fault
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Only this part; can be given several times
    #[arg(long, value_name = "NAME")]
    only: Vec<Part>,
    /// Only this fault, and the run without a fault; can be given several times
    #[arg(long, value_name = "NAME")]
    fault: Vec<Fault>,
    /// How many clients call
    #[arg(long, default_value_t = 16)]
    clients: usize,
    /// Databases without durability: no flush to disk
    #[arg(long)]
    fast: bool,
    /// Added by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    pub(crate) fn length(&self) -> Duration {
        Duration::from_secs_f64(self.seconds.clamp(0.2, 60.0))
    }

    pub(crate) fn rounds(&self) -> usize {
        self.rounds.max(1)
    }

    pub(crate) fn clients(&self) -> usize {
        self.clients.max(1)
    }

    pub(crate) fn parts(&self) -> Vec<Part> {
        Part::ALL.into_iter().filter(|part| self.only.is_empty() || self.only.contains(part)).collect()
    }

    /// The faults that `part` can have.
    pub(crate) fn faults(&self, part: Part) -> Vec<Fault> {
        let wanted = |fault: &Fault| self.fault.is_empty() || *fault == Fault::Nothing || self.fault.contains(fault);
        Fault::of(part).filter(wanted).collect()
    }

    pub(crate) fn durability(&self) -> Durability {
        if self.fast { Durability::Fast } else { Durability::Durable }
    }
}
