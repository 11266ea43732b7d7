//! Measures a Django site over HTTP: on the engine `switchover.sessions`, and on Django's own `cached_db`.
//!
//! `cargo bench -p switchover-django-tests --bench cached_db [-- --help]`. It starts a PostgreSQL and a Redis, and for
//! each of the two a gunicorn with the same settings; for the engine also `switchover serve`, at a unix socket. The two
//! take turns in short slices, so that a noisy machine disturbs both alike. It asserts nothing, but it reports requests
//! that fail, and whether the goals are met. `docs/performance.md` has the results of a run.
//!
//! ```text
//! cached_db::site ── cached_db::web ── cached_db::visitors ──> cached_db::results ──> cached_db::report
//! ```

#[expect(dead_code, reason = "shared with the tests")]
#[path = "../tests/django/environment.rs"]
mod environment;
#[path = "../tests/django/interpreters.rs"]
mod interpreters;
#[path = "../tests/django/program.rs"]
mod program;

mod cached_db {
    pub(crate) mod connection;
    pub(crate) mod options;
    pub(crate) mod report;
    pub(crate) mod results;
    pub(crate) mod site;
    pub(crate) mod visitors;
    pub(crate) mod web;
}

use std::io::Write as _;

use anyhow::Result;
use clap::Parser as _;
use switchover_tests::facts::{self, Machine};

use crate::cached_db::options::Options;
use crate::cached_db::report::Facts;
use crate::cached_db::results::Cell;
use crate::cached_db::site::Site;
use crate::cached_db::visitors::{Stand, Workload};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let options = Options::parse();
    let site = Site::start(options.fast).await?;
    let facts = Facts {
        machine: Machine::look()?,
        postgres: facts::postgres(&site.database.url()).await?,
        redis: facts::redis(&site.cache.url()).await?,
    };
    let trips = site.round_trips(&options).await?;
    let cells = measure(&site, &options).await?;
    let mut out = std::io::stdout().lock();
    if options.json {
        writeln!(out, "{}", cached_db::report::json(&facts, &cells, &trips, &options))?;
    } else {
        write!(out, "{}", cached_db::report::markdown(&facts, &cells, &trips, &options)?)?;
    }
    Ok(())
}

async fn measure(site: &Site, options: &Options) -> Result<Vec<Cell>> {
    let webs = site.webs("measured", None, options).await?;
    let mut stands: Vec<_> = webs.into_iter().map(Stand::new).collect();
    let mut cells = Vec::new();
    for payload in &options.payload {
        for workload in options.workloads() {
            for stand in &mut stands {
                stand.fill(options.sessions_of(*payload), *payload).await?;
            }
            for at_once in options.crowds() {
                writeln!(std::io::stderr(), "{workload}, {at_once} at once, {payload} B")?;
                let mut cell = Cell::new(*payload, workload, at_once);
                for round in 0..=options.rounds {
                    for turn in 0..stands.len() {
                        // Another contestant begins each round.
                        let at = (round + turn) % stands.len();
                        let stand = &mut stands[at];
                        match workload {
                            Workload::Miss => stand.web.place.empty_cache().await?,
                            Workload::Create => stand.web.place.empty().await?,
                            Workload::Logout => stand.fill(options.sessions_of(*payload), *payload).await?,
                            Workload::Bare | Workload::Hit | Workload::Save => {}
                        }
                        // The first round connects and warms up.
                        let length = if round == 0 { options.length() / 4 } else { options.length() };
                        let measured = stand.slice(workload, *payload, at_once, length).await?;
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
