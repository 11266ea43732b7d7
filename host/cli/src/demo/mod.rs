//! `switchover demo`: live sessions move from one database to another under traffic, and an audit shows that nothing was lost.
//!
//! ```text
//! story ─> switchover <─ traffic ─> history ─┐
//!   (swaps, flags)        (calls)            ├─> audit ─> report
//!                     two SQLite files ──────┘
//! ```

mod audit;
mod checker;
mod contents;
mod django;
mod history;
mod latency;
mod meter;
mod moved;
mod population;
mod progress;
mod report;
mod seed;
mod story;
mod table;
mod traffic;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::demo::audit::Audit;
use crate::demo::report::Tally;
use crate::output::{Verdict, is_reader_gone, note, print};

/// What to show.
#[derive(Args)]
#[command(after_help = "\
Examples:
  switchover demo
  switchover demo --seconds 20 --concurrency 128 --seed 7
  switchover demo --json | tail -n 1 | jq .lost_writes

The exit status is 1 if anything was lost, came back, was stale or failed.")]
pub(crate) struct Options {
    /// Sessions that are there when it begins, and that traffic keeps alive
    #[arg(long, default_value_t = 4_000, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(20..=200_000))]
    pub(crate) sessions: usize,
    /// How long it takes, about: sessions that nobody uses live for a part of that
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(5..=600))]
    pub(crate) seconds: u64,
    /// Visitors at one time, each waiting for an answer before the next call
    #[arg(long, default_value_t = 48, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1_024))]
    pub(crate) concurrency: usize,
    /// Decides what visitors do; keys are random all the same
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Where to put the two files, and keep them; without it, a folder that is removed if all went well
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
    /// Print one JSON object on the last line
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs the demo.
pub(crate) async fn run(options: Options) -> Result<Verdict> {
    let temporary = match &options.dir {
        Some(dir) => {
            prepare(dir)?;
            None
        }
        None => Some(tempfile::Builder::new().prefix("switchover-demo-").tempdir()?),
    };
    let dir = temporary.as_ref().map_or_else(|| options.dir.clone().unwrap_or_default(), |dir| dir.path().to_owned());
    let verdict = run_in(&options, &dir).await;
    match (temporary, &verdict) {
        (Some(temporary), Err(error)) if is_reader_gone(error) => drop(temporary),
        (Some(temporary), Ok(Verdict::Found | Verdict::Stopped) | Err(_)) => {
            note(format_args!("the files are kept in {}", temporary.keep().display()));
        }
        (Some(temporary), Ok(Verdict::Fine)) => temporary.close().context("cannot remove the demo's files")?,
        (None, _) => note(format_args!("the files are in {}", dir.display())),
    }
    verdict
}

async fn run_in(options: &Options, dir: &Path) -> Result<Verdict> {
    let mut told = story::tell(options, dir).await?;
    let audited = tokio::task::spawn_blocking(move || {
        let history = told.take_history();
        Audit::of(&told, &history).map(|audit| (Tally::of(&told, &history), audit, told))
    });
    let (tally, audit, told) = audited.await??;
    report::show(&told, &audit, &tally)?;
    if options.json {
        print(report::as_json(options, &told, &audit, &tally))?;
    }
    Ok(Verdict::of(report::is_fine(&told, &audit)))
}

/// A folder of one's own must not hold a demo's files yet: nothing that is there is written over.
fn prepare(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
    for name in story::FILES {
        let path = dir.join(name);
        ensure!(!path.exists(), "{} is there already: remove it, or take another --dir", path.display());
    }
    Ok(())
}
