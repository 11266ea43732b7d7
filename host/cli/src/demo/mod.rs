//! `switchover demo`: moves live sessions from one database to another under traffic. An audit shows that nothing was
//! lost.
//!
//! ```text
//! story ─> switchover <─ traffic ─> history ─┐
//!   (swaps, flags)        (calls)            ├─> audit ─> report
//!                       two databases ───────┘
//! ```

mod audit;
mod fleet;
mod latency;
mod moved;
mod progress;
mod report;
mod seed;
mod stage;
mod steps;
mod story;
mod told;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use switchover::Layout;

use crate::demo::audit::Audit;
use crate::demo::report::Tally;
use crate::demo::stage::Stage;
use crate::output::{Verdict, is_reader_gone, note, print};

/// Which story the demo tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Tale {
    /// A fleet goes through the phases of a migration; hosts die and hang, and the operator goes back
    Fleet,
    /// The design of 2016: two flags, which each host sees at a time of its own
    #[value(name = "2016")]
    Of2016,
}

/// The options of `demo`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  switchover demo
  switchover demo --seconds 20 --concurrency 128 --seed 7
  switchover demo --story 2016             the old scheme on three hosts: sessions are lost
  switchover demo --story 2016 --hosts 1   on one host none is
  switchover demo --json | tail -n 1 | jq .lost_writes
  switchover demo --old postgres://app:secret@db-1/app --new mysql://app:secret@db-2/app
  switchover demo --old mysql://app@db-1/app --cache redis://cache-1 --tolerate-failures

In a given database the demo creates its own table, switchover_demo_ and some random characters (on
PostgreSQL a schema), and beside it the side tables of a migration. It touches no other table, and
removes its own if all went well. You may kill, pause and restart servers during the run: the demo
continues when they are back.

The exit status is 1 if anything was lost, came back, was stale or failed.")]
pub(crate) struct Options {
    /// The story
    #[arg(long, value_enum, value_name = "STORY", default_value = "fleet")]
    pub(crate) story: Tale,
    /// Hosts of the story of 2016; the fleet has three, and a fourth that joins later
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub(crate) hosts: u8,
    /// How long after one host the next one sees a flag of 2016, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 500, value_parser = clap::value_parser!(u64).range(..=60_000))]
    pub(crate) skew_ms: u64,
    /// Sessions at the start; the traffic keeps as many alive
    #[arg(
        long,
        default_value_t = 4_000,
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(20..=200_000)
    )]
    pub(crate) sessions: usize,
    /// The approximate length of the run; unused sessions live for a part of it
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(5..=600))]
    pub(crate) seconds: u64,
    /// Visitors at one time; each waits for an answer before the next call
    #[arg(
        long,
        default_value_t = 48,
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1_024)
    )]
    pub(crate) concurrency: usize,
    /// Decides what visitors do; keys are random with any seed
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// The old database: sqlite:PATH, postgres://... or mysql://... (also MariaDB); by default a file of the demo
    #[arg(long, value_name = "URL")]
    pub(crate) old: Option<String>,
    /// The new database, given in the same way
    #[arg(long, value_name = "URL")]
    pub(crate) new: Option<String>,
    /// How sessions stand in the old table: django or switchover
    #[arg(long, value_name = "LAYOUT", default_value = "django", value_parser = layout)]
    pub(crate) old_layout: Layout,
    /// How sessions stand in the new table
    #[arg(long, value_name = "LAYOUT", default_value = "django", value_parser = layout)]
    pub(crate) new_layout: Layout,
    /// The cache: memory: or redis://...
    #[arg(long, value_name = "URL", default_value = "memory:")]
    pub(crate) cache: String,
    /// Exit with 0 if no promise was broken, even if calls failed, as they do when a server is killed
    #[arg(long)]
    pub(crate) tolerate_failures: bool,
    /// A folder for the demo's own files, which are kept; by default a folder that is removed if all went well
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
    /// Print one JSON object on the last line
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs the demo.
pub(crate) async fn run(options: Options) -> Result<Verdict> {
    if options.old.is_some() && options.new.is_some() {
        ensure!(options.dir.is_none(), "--dir is for files of the demo's own: leave it out with --old and --new");
        return play(&options, &Stage::open(&options, Path::new("")).await?).await;
    }
    let temporary = match &options.dir {
        Some(dir) => {
            stage::prepare(dir)?;
            None
        }
        None => Some(tempfile::Builder::new().prefix("switchover-demo-").tempdir()?),
    };
    let dir = temporary.as_ref().map_or_else(|| options.dir.clone().unwrap_or_default(), |dir| dir.path().to_owned());
    let stage = Stage::open(&options, &dir).await?;
    let verdict = play(&options, &stage).await;
    match (temporary, &verdict) {
        (Some(temporary), Err(error)) if is_reader_gone(error) => drop(temporary),
        (Some(temporary), Ok(Verdict::Found | Verdict::Red | Verdict::Stopped) | Err(_)) => {
            note(format_args!("the files are kept in {}", temporary.keep().display()));
        }
        (Some(temporary), Ok(Verdict::Fine)) => temporary.close().context("cannot remove the demo's files")?,
        (None, _) => note(format_args!("the files are in {}", dir.display())),
    }
    verdict
}

/// Runs the demo on a stage, and removes the tables if all went well.
async fn play(options: &Options, stage: &Stage) -> Result<Verdict> {
    let verdict = run_on(options, stage).await;
    let fine = match &verdict {
        Ok(verdict) => *verdict == Verdict::Fine,
        Err(error) => is_reader_gone(error),
    };
    stage.strike(fine).await?;
    verdict
}

async fn run_on(options: &Options, stage: &Stage) -> Result<Verdict> {
    stage.set().await?;
    let mut told = match options.story {
        Tale::Fleet => fleet::tell(options, stage).await?,
        Tale::Of2016 => story::tell(options, stage).await?,
    };
    let rows = audit::read_tables(&told).await?;
    let audited = tokio::task::spawn_blocking(move || {
        let history = told.take_history();
        let audit = Audit::of(&told, &history, rows);
        (Tally::of(&told, &history), audit, told)
    });
    let (tally, audit, told) = audited.await?;
    report::show(options, &told, &audit, &tally)?;
    if options.json {
        print(report::as_json(options, &told, &audit, &tally))?;
    }
    Ok(Verdict::of(report::is_fine(options, &told, &audit)))
}

fn layout(name: &str) -> Result<Layout, String> {
    let known = || Layout::ALL.map(|layout| layout.name()).join(", ");
    Layout::named(name).ok_or_else(|| format!("the layouts are {}", known()))
}

#[cfg(test)]
impl Options {
    /// The options of a command line without options.
    fn usual() -> Self {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            options: Options,
        }
        <Line as clap::Parser>::parse_from(["demo"]).options
    }
}
