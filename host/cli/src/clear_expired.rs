//! `switchover clear-expired`: deletes the sessions that have ended, in batches that make nobody wait for long.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use chrono::DateTime;
use clap::Args;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use serde_json::json;
use switchover::capabilities::{Database, ExpiredLeft};
use switchover::{Limits, Timestamp, expires_in};

use crate::STOPPED;
use crate::batches::{Batches, COUNT_WAIT, Refused, Stop, delete_expired};
use crate::output::{Colour, Verdict, note, paint, print};
use crate::place;

/// How many rounds to make for rows that others hold, and the pause between two rounds.
const ROUNDS_MAX: u32 = 5;
const ROUND_PAUSE: Duration = Duration::from_millis(500);

/// The options of `clear-expired`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  switchover clear-expired default
  switchover clear-expired new_session_store --batch 200 --pause 500
  switchover clear-expired sqlite:old.sqlite3 --before 2026-01-01T00:00:00Z --json

Deletes only sessions that have ended by the database's own clock, whatever --before says. Leaves
sessions that end during the run for the next run. Ctrl-C stops it between two batches: deleted rows
stay deleted, and you can run it again. The exit status is 1 if expired rows are left because others
hold them or because the database refuses to delete them, or if rows have an end that cannot be
read. The database keeps the freed space: `switchover stats DATABASE` shows the command that gives it
back.")]
pub(crate) struct Options {
    /// An alias of the configuration, or an address such as sqlite:PATH
    database: String,
    #[command(flatten)]
    batches: Batches,
    /// Delete only sessions that ended before this instant, written as 2026-01-31T00:00:00Z
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    before: Option<Timestamp>,
    /// The configuration
    #[arg(long, default_value = place::CONFIG)]
    config: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Deletes, and reports how many.
pub(crate) async fn run(options: Options) -> Result<Verdict> {
    let limits = place::limits(&options.config)?;
    let database = place::open(&options.database, &options.config, false).await?;
    let readable = database.upkeep().check_columns(switchover::migration::tool_deadline(limits.read_deadline)).await;
    readable.with_context(|| database.summary())?;
    let stop = Stop::on_signal(STOPPED)?;
    let style = ProgressStyle::with_template("{spinner} {human_pos} expired rows deleted, {per_sec}")?;
    let bar = ProgressBar::new_spinner().with_style(style);
    // One cut-off for all batches, so that the run ends however many sessions end meanwhile.
    let now = expires_in(Duration::ZERO);
    let before = options.before.map_or(now, |before| before.min(now));
    let mut deleted = 0;
    let mut count = |rows| {
        deleted += rows;
        bar.set_position(deleted);
    };
    let done = clear(database.as_ref(), before, options.batches, &limits, &stop, &mut count).await;
    bar.finish_and_clear();
    let (left, refused) = match done {
        Ok(left) => left,
        Err(error) => {
            note(format_args!("{} rows were deleted before this failed", HumanCount(deleted)));
            return Err(error);
        }
    };
    let stopped = stop.is_asked();
    let all = left == ExpiredLeft::default();
    if options.json {
        let (expired, unreadable) = (left.expired, left.unreadable);
        print(json!({
            "ok": all && !stopped,
            "deleted": deleted,
            "left": expired,
            "refused": refused.rows.min(expired),
            "unreadable": unreadable,
            "stopped": stopped,
        }))?;
    } else {
        let stopped = if stopped { "; stopped early, run it again for the rest" } else { "" };
        print(format_args!("{}: {} expired rows deleted{stopped}", database.summary(), HumanCount(deleted)))?;
        show_left(left, &refused)?;
    }
    database.close().await;
    Ok(if stopped { Verdict::Stopped } else { Verdict::of(all) })
}

/// Deletes until no expired row is left that can be deleted, or until a stop is asked for. Tries rows that others hold
/// a few times. Returns what is left, and how much of it the database refuses to delete.
async fn clear(
    database: &dyn Database,
    before: Timestamp,
    batches: Batches,
    limits: &Limits,
    stop: &Stop,
    deleted: &mut (dyn FnMut(u64) + Send),
) -> Result<(ExpiredLeft, Refused)> {
    let count = async || {
        let left = database.upkeep().expired_left(Some(before), Instant::now() + COUNT_WAIT).await;
        left.with_context(|| format!("{}: cannot count the expired rows", database.summary()))
    };
    let (mut left, mut refused) = (count().await?, Refused::default());
    for round in 0..ROUNDS_MAX {
        if left.expired <= refused.rows {
            break;
        }
        if round > 0 {
            tokio::time::sleep(ROUND_PAUSE).await;
        }
        let expected = (Some(before), left.expired);
        refused = delete_expired(database, expected, batches, limits, stop, deleted).await?;
        if stop.is_asked() {
            return Ok((ExpiredLeft::default(), refused));
        }
        left = count().await?;
    }
    Ok((left, refused))
}

fn show_left(left: ExpiredLeft, refused: &Refused) -> Result<()> {
    let refusals = refused.rows.min(left.expired);
    if refusals > 0 {
        let count = paint(Colour::Red, HumanCount(refusals));
        let reason = refused.reason.as_deref().unwrap_or("without a reason");
        print(format_args!(
            "{count} expired rows are left because the database refuses to delete them ({reason}): \
             look for triggers on the table and for tables that refer to it"
        ))?;
    }
    if left.expired > refusals {
        let count = paint(Colour::Red, HumanCount(left.expired - refusals));
        print(format_args!(
            "{count} expired rows are left because others hold locks on them or write them again: run it again"
        ))?;
    }
    if left.unreadable > 0 {
        let count = paint(Colour::Red, HumanCount(left.unreadable));
        print(format_args!("{count} rows are left because their end cannot be read: check them by hand"))?;
    }
    Ok(())
}

fn instant(text: &str) -> Result<Timestamp> {
    let parsed = DateTime::parse_from_rfc3339(text).ok().and_then(|at| u64::try_from(at.timestamp_micros()).ok());
    parsed.map(Timestamp::from_micros).ok_or_else(|| anyhow!("write an instant as 2026-01-31T00:00:00Z"))
}
