//! Measures what a migration costs, on two PostgreSQL servers that it starts.
//!
//! `cargo bench -p switchover-tests --bench migration -- costs`: saves and loads in each phase, beside those of a host
//! without a migration. `dead`: calls while the database that a phase does not need is gone. `backfill`: copying and
//! verifying a large table while saves go on, beside `COPY` of the same table. It asserts nothing. `docs/performance.md`
//! has the results of a run.

mod migration {
    pub(crate) mod backfill;
    pub(crate) mod clients;
    pub(crate) mod costs;
    pub(crate) mod dead;
    pub(crate) mod site;
}

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Measures what a migration costs, on servers that it starts.
#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    what: What,
    /// Added by `cargo bench`
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum What {
    /// Saves and loads in each phase, in turn with a host without a migration
    Costs(migration::costs::Options),
    /// Calls while the database that a phase does not need is gone, and after it has come back
    Dead(migration::dead::Options),
    /// Backfill and verification of a large table while saves go on
    Backfill(migration::backfill::Options),
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    match Options::parse().what {
        What::Costs(options) => migration::costs::run(&options).await,
        What::Dead(options) => migration::dead::run(&options).await,
        What::Backfill(options) => migration::backfill::run(&options).await,
    }
}
