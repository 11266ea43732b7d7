//! Measures what a session call costs on real servers: through the wasm policy, through the same policy natively, and
//! through a proxy written by hand.
//!
//! `cargo bench -p switchover-tests --bench servers [-- --help]`. It starts two PostgreSQL servers and a Redis. The
//! contestants take turns in short slices, so that a noisy machine disturbs all alike. The results are the ratios
//! within one round, and their median over the rounds. It asserts nothing, but it reports calls that fail.
//! `docs/performance.md` has the results of a run.
//!
//! ```text
//! servers::site ── places ──> servers::contestant ── servers::load ──> servers::results ──> servers::report
//!                             (Switchover, or servers::native)
//! ```

mod servers {
    pub(crate) mod contestant;
    pub(crate) mod facts;
    pub(crate) mod load;
    pub(crate) mod memory;
    pub(crate) mod native;
    pub(crate) mod options;
    pub(crate) mod report;
    pub(crate) mod results;
    pub(crate) mod site;
}

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::Parser as _;
use indicatif::{ProgressBar, ProgressStyle};

use crate::servers::contestant::{Contestant, KINDS};
use crate::servers::facts::Facts;
use crate::servers::load::{Data, Workload, slice};
use crate::servers::options::Options;
use crate::servers::results::{Cell, Results};
use crate::servers::site::Site;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let options = Options::parse();
    if let Some(kind) = options.memory_of {
        return servers::memory::measure_here(kind, &options).await;
    }
    let site = Site::start(&options).await?;
    let facts = Facts::of(&site).await?;
    let data = Arc::new(Data::new(&options));
    let mut contestants = Vec::new();
    for (kind, place) in KINDS.into_iter().zip(&site.places) {
        place.fill(&data).await?;
        contestants.push(Arc::new(Contestant::open(kind, place).await?));
    }
    let results = measure(&site, &contestants, &data, &options).await?;
    let mut out = std::io::stdout().lock();
    if options.json {
        writeln!(out, "{}", servers::report::json(&facts, &results, &options))?;
    } else {
        write!(out, "{}", servers::report::markdown(&facts, &results, &options))?;
    }
    Ok(())
}

async fn measure(site: &Site, contestants: &[Arc<Contestant>], data: &Arc<Data>, options: &Options) -> Result<Results> {
    let (workloads, crowds) = (options.workloads(), options.crowds());
    let slices = workloads.len() * crowds.len() * options.rounds * contestants.len();
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(slices as u64) } else { ProgressBar::hidden() };
    bar.set_style(ProgressStyle::with_template("{bar:32} {pos}/{len} slices, {eta} left  {msg}")?);
    let mut results = Results::default();
    for workload in workloads {
        prepare(site, contestants, data, workload).await?;
        for at_once in &crowds {
            let mut cell = Cell::new(workload, *at_once);
            // The first round connects, prepares statements and makes instances.
            for round in 0..=options.rounds {
                for turn in 0..contestants.len() {
                    // Another contestant begins each round.
                    let at = (round + turn) % contestants.len();
                    bar.set_message(format!("{workload}, {at_once} at once"));
                    if workload == Workload::Miss {
                        site.places[at].empty_cache().await?;
                    }
                    let length = if round == 0 { options.length() / 4 } else { options.length() };
                    let seed = (round * crowds.len() + at_once) as u64;
                    let measured = slice(&contestants[at], workload, data, *at_once, length, seed).await?;
                    if round > 0 {
                        cell.add(at, &measured);
                        bar.inc(1);
                    }
                }
            }
            results.cells.push(cell);
        }
        if workload == Workload::DualSave {
            for place in &site.places {
                results.differing_rows.push(place.differing_rows().await?);
            }
        }
    }
    bar.set_message("memory");
    for (kind, place) in KINDS.into_iter().zip(&site.places) {
        results.memory.push(servers::memory::measure_apart(kind, place, options).await?);
    }
    results.cache_failures = contestants.iter().map(|contestant| contestant.cache_failures()).collect();
    bar.finish_and_clear();
    Ok(results)
}

/// Prepares flags, rows and cache for a workload.
async fn prepare(site: &Site, contestants: &[Arc<Contestant>], data: &Arc<Data>, workload: Workload) -> Result<()> {
    for (contestant, place) in contestants.iter().zip(&site.places) {
        contestant.set_migrating(workload == Workload::DualSave).await?;
        match workload {
            Workload::Hit => {
                place.empty_cache().await?;
                let all = slice(contestant, Workload::Miss, data, 64, servers::load::PATIENCE, 0).await?;
                anyhow::ensure!(all.failed == 0, "the cache could not be filled: {:?}", all.error);
            }
            Workload::DualSave => place.empty_new().await.context("cannot empty the new table")?,
            Workload::Miss | Workload::Save => {}
        }
    }
    Ok(())
}
