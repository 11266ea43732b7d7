//! What a fault costs: Redis under a host, and databases by themselves, while servers and lines break in every way.
//!
//! `cargo bench -p switchover-tests --bench faults [-- --help]`. It starts the servers itself. Clients call with small pauses, so
//! that what is waited for is the fault and not another client, and go on over all faults. Nothing here asserts a time; the report
//! says of each promise whether it held. `docs/performance.md` has a run.
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

/// One part after the other, each with servers of its own that end with it.
async fn measure(options: &Options, facts: &mut Facts) -> Result<Results> {
    let parts = options.parts();
    let turns: usize = parts.iter().map(|part| options.faults(*part).len() * options.rounds()).sum();
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(turns as u64) } else { ProgressBar::hidden() };
    bar.set_style(ProgressStyle::with_template("{bar:32} {pos}/{len} faults, {eta} left  {msg}")?);
    let mut results = Results::default();
    for part in parts {
        let told = match part {
            Part::Cache => {
                let mut scene = cache::Scene::start(options).await?;
                results.add_cache(&scene.measure(options, &bar).await?);
                scene.facts().await?
            }
            Part::Postgres | Part::Mariadb => {
                let mut scene = databases::Scene::start(part, options).await?;
                results.add_database(part, &scene.measure(options, &bar).await?);
                vec![scene.facts().await?]
            }
        };
        let is_new = |(part, _): &(Part, _)| facts.servers.iter().all(|(told, _)| told != part);
        let told: Vec<_> = told.into_iter().filter(is_new).collect();
        facts.servers.extend(told);
    }
    bar.finish_and_clear();
    Ok(results)
}
