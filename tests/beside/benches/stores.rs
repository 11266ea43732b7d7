//! Measures Switchover's stores for tower-sessions and axum_session beside the stores that their users have now, on
//! real servers.
//!
//! `cargo bench --manifest-path tests/beside/Cargo.toml [-- --help]`. It starts a PostgreSQL and a Redis. The contestants
//! take turns in short slices, so that a noisy machine disturbs all alike. The results are the ratios within one round:
//! their median, the least and the most. It asserts nothing, but it reports calls that fail, and whether the goals are
//! met. `docs/performance.md` has the results of a run.
//!
//! ```text
//! stores::site ── places ──> stores::contestant ── stores::load ──> stores::results ──> stores::report
//!                                                └ stores::trips ──────────────────────────┘
//! ```

#[expect(dead_code, unreachable_pub, reason = "shared with other benchmarks")]
#[path = "../../e2e/src/facts.rs"]
mod facts;
#[expect(dead_code, unreachable_pub, reason = "shared with other benchmarks")]
#[path = "../../e2e/src/process.rs"]
mod process;
#[expect(dead_code, unreachable_pub, reason = "shared with other benchmarks")]
#[path = "../../e2e/src/report.rs"]
mod report;

mod stores {
    pub(crate) mod contestant;
    pub(crate) mod load;
    pub(crate) mod options;
    pub(crate) mod report;
    pub(crate) mod results;
    pub(crate) mod site;
    pub(crate) mod trips;
}

use std::io::Write as _;
use std::sync::Arc;

use anyhow::Result;
use clap::Parser as _;

use crate::facts::Machine;
use crate::stores::contestant::{Contestant, KINDS};
use crate::stores::load::{Stand, Workload, payloads, slice};
use crate::stores::options::Options;
use crate::stores::report::Facts;
use crate::stores::results::Cell;
use crate::stores::site::Site;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let options = Options::parse();
    let site = Site::start(&options).await?;
    let facts = Facts {
        machine: Machine::look()?,
        postgres: facts::postgres(&site.database.url()).await?,
        redis: facts::redis(&site.cache.url()).await?,
    };
    let trips = stores::trips::count(&site, &options.workloads()).await?;
    let cells = measure(&site, &options).await?;
    let mut out = std::io::stdout().lock();
    if options.json {
        writeln!(out, "{}", stores::report::json(&facts, &cells, &trips, &options))?;
    } else {
        write!(out, "{}", stores::report::markdown(&facts, &cells, &trips, &options)?)?;
    }
    Ok(())
}

async fn measure(site: &Site, options: &Options) -> Result<Vec<Cell>> {
    let mut stands = Vec::new();
    for (kind, place) in KINDS.into_iter().zip(site.places("contestant").await?) {
        stands.push(Arc::new(Stand::new(Contestant::open(kind, &place).await?, place)));
    }
    let mut cells = Vec::new();
    for payload in &options.payload {
        let (sessions, payloads) = (options.sessions_of(*payload), Arc::new(payloads(*payload)));
        for workload in options.workloads() {
            for stand in &mut stands {
                stand.fill(sessions, &payloads).await?;
            }
            for at_once in options.crowds() {
                writeln!(std::io::stderr(), "{workload}, {at_once} at once, {payload} B")?;
                let mut cell = Cell::new(*payload, workload, at_once);
                // The first round connects, prepares statements and makes instances.
                for round in 0..=options.rounds {
                    for turn in 0..stands.len() {
                        // Another contestant begins each round.
                        let at = (round + turn) % stands.len();
                        prepare(&mut stands[at], workload, sessions, &payloads).await?;
                        let length = if round == 0 { options.length() / 4 } else { options.length() };
                        let measured = slice(&stands[at], workload, &payloads, at_once, length).await?;
                        if round > 0 {
                            cell.add(at, &measured);
                        }
                    }
                }
                cells.push(cell);
            }
        }
    }
    Ok(cells)
}

/// Before a slice: an empty cache, or sessions in the place of those that the last slice used up or added.
async fn prepare(
    stand: &mut Arc<Stand>,
    workload: Workload,
    sessions: usize,
    payloads: &Arc<Vec<String>>,
) -> Result<()> {
    match workload {
        Workload::Hit | Workload::Save | Workload::Touch => Ok(()),
        Workload::Miss => stand.place.empty_cache().await,
        Workload::Create => stand.fill(1, payloads).await,
        Workload::Logout => stand.fill((sessions / 2).max(1), payloads).await,
    }
}
