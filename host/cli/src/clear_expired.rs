//! `switchover clear-expired`: deletes the sessions that have ended, in batches that keep nobody waiting for long.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, anyhow};
use chrono::DateTime;
use clap::Args;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use serde_json::json;
use switchover::{Timestamp, expires_in};

use crate::STOPPED;
use crate::batches::{Batches, Stop, delete_expired};
use crate::output::{Verdict, note, print};
use crate::place;

/// Where, and how much at a time.
#[derive(Args)]
#[command(after_help = "\
Examples:
  switchover clear-expired default
  switchover clear-expired new_session_store --batch 200 --pause 500
  switchover clear-expired sqlite:old.sqlite3 --before 2026-01-01T00:00:00Z --json

Only sessions that have ended by the database's own clock are deleted, whatever --before says.
Those that end while this runs are left for the next time. Ctrl-C ends it between two batches;
what is deleted is deleted, and it can be run again. The room stays with the database: `switchover
stats DATABASE` shows the command that gives it back.")]
pub(crate) struct Options {
    /// An alias of the configuration, or an address such as sqlite:PATH
    database: String,
    #[command(flatten)]
    batches: Batches,
    /// Only sessions that ended before this, as 2026-01-31T00:00:00Z
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    before: Option<Timestamp>,
    /// The configuration
    #[arg(long, default_value = place::CONFIG)]
    config: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Deletes, and says how many.
pub(crate) async fn run(options: Options) -> Result<Verdict> {
    let database = place::open(&options.database, &options.config, false).await?;
    let stop = Stop::on_signal(STOPPED)?;
    let style = ProgressStyle::with_template("{spinner} {human_pos} expired rows deleted, {per_sec}")?;
    let bar = ProgressBar::new_spinner().with_style(style);
    // One cut-off for all batches, so that it ends however many sessions end meanwhile.
    let now = expires_in(Duration::ZERO);
    let before = options.before.map_or(now, |before| before.min(now));
    let mut deleted = 0;
    let mut count = |rows| {
        deleted += rows;
        bar.set_position(deleted);
    };
    let done = delete_expired(database.as_ref(), Some(before), options.batches, &stop, &mut count).await;
    bar.finish_and_clear();
    if let Err(error) = done {
        note(format_args!("{} rows were deleted before it failed", HumanCount(deleted)));
        return Err(error);
    }
    let stopped = stop.is_asked();
    if options.json {
        print(json!({"ok": !stopped, "deleted": deleted, "stopped": stopped}))?;
    } else {
        let stopped = if stopped { "; stopped before the end, run it again for the rest" } else { "" };
        print(format_args!("{}: {} expired rows deleted{stopped}", database.summary(), HumanCount(deleted)))?;
    }
    database.close().await;
    Ok(if stopped { Verdict::Stopped } else { Verdict::Fine })
}

fn instant(text: &str) -> Result<Timestamp> {
    let parsed = DateTime::parse_from_rfc3339(text).ok().and_then(|at| u64::try_from(at.timestamp_micros()).ok());
    parsed.map(Timestamp::from_micros).ok_or_else(|| anyhow!("an instant is written as 2026-01-31T00:00:00Z"))
}
