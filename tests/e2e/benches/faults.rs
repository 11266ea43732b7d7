//! Measures what faults cost: Redis under a host, and databases by themselves, while servers and connections break in
//! every way.
//!
//! `cargo bench -p switchover-tests --bench faults [-- --help]`. It starts the servers itself. Clients call with small
//! pauses, so that a call waits for the fault and not for another client. They continue through all faults. It asserts
//! no time; the report says for each promise whether it held. `docs/performance.md` has the results of a run.
//!
//! ```text
//! faults::cache ── faults::visitor ──┐
//!                                    ├──> faults::journal ──> faults::course ──> faults::results ──> faults::report
//! faults::databases ─────────────────┘                             ▲
//!                                         faults::fault ───────────┘
//! ```

mod faults {
    pub(crate) mod cache;
    pub(crate) mod course;
    pub(crate) mod databases;
    pub(crate) mod fault;
    pub(crate) mod journal;
    pub(crate) mod options;
    pub(crate) mod report;
    pub(crate) mod results;
    pub(crate) mod visitor;
}

use std::io::{IsTerminal as _, Write as _};

use anyhow::Result;
use clap::Parser as _;
use indicatif::{ProgressBar, ProgressStyle};
use switchover_tests::facts::Machine;

use crate::faults::options::{Options, Part};
use crate::faults::report::Facts;
use crate::faults::results::Results;
use crate::faults::{cache, databases};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let options = Options::parse();
    let mut facts = Facts { machine: Machine::look()?, servers: Vec::new() };
    let results = measure(&options, &mut facts).await?;
    let mut out = std::io::stdout().lock();
    if options.json {
        writeln!(out, "{}", faults::report::json(&facts, &results, &options))?;
    } else {
        write!(out, "{}", faults::report::markdown(&facts, &results, &options))?;
    }
    Ok(())
}

/// Measures one part after the other. Each has servers of its own, which end with it.
async fn measure(options: &Options, facts: &mut Facts) -> Result<Results> {
    let parts = options.parts();
    let turns: usize = parts.iter().map(|part| options.faults(*part).len() * options.rounds()).sum();
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(turns as u64) } else { ProgressBar::hidden() };
    bar.set_style(ProgressStyle::with_template("{bar:32} {pos}/{len} faults, {eta} left  {msg}")?);
    let mut results = Results::default();
    for part in parts {
        let servers = match part {
            Part::Cache => {
                let mut setup = cache::Setup::start(options).await?;
                results.add_cache(&setup.measure(options, &bar).await?);
                setup.facts().await?
            }
            Part::Postgres | Part::Mariadb => {
                let mut setup = databases::Setup::start(part, options).await?;
                results.add_database(part, &setup.measure(options, &bar).await?);
                vec![setup.facts().await?]
            }
        };
        let is_new = |(part, _): &(Part, _)| facts.servers.iter().all(|(known, _)| known != part);
        let servers: Vec<_> = servers.into_iter().filter(is_new).collect();
        facts.servers.extend(servers);
    }
    bar.finish_and_clear();
    Ok(results)
}
