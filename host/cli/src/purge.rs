//! `switchover purge`: empties the old table after a migration, and refuses while a living session is only there.

mod check;
mod delete;
mod empty;
mod feed;

use std::io::{self, BufRead, IsTerminal};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use switchover::capabilities::Database;
use switchover::migration::{ensure_carried, tool_patience};

use self::check::{Check, check};
use self::empty::{Emptied, empty};
use crate::STOPPED;
use crate::batches::{Batches, Stop};
use switchover_server::report::utc;

use crate::output::{Colour, Verdict, note, paint, paint_note, print};
use crate::place;

/// The options of `purge`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  switchover purge default --against new_session_store --dry-run
  switchover purge default --against new_session_store
  switchover purge sqlite:old.sqlite3 --against sqlite:new.sqlite3 --yes --json

Use it for an old table that nothing writes any more. It reads the table twice, a write deadline
apart. It deletes nothing, and exits with 1, if NEW lacks an unexpired row of OLD both times, if a
row cannot be read, if the table was written in between, or if both are the same database. Then it
checks each batch again right before it deletes the batch. It leaves rows that NEW does not have by
then, and rows that were not there at the check.

If NEW still follows OLD, by replication or a trigger, a deleted session is lost in both. So purge
asks both databases about replication. It writes a row of its own to OLD, which must not come to
NEW. It deletes a few sessions first; NEW must keep them, or they are written again. Each test waits
--watch seconds. It does not see what follows later, so end replication first.

At the end it counts the rows that are left, also those that came meanwhile. The exit status is 1 if
there are any. A session that was deleted in NEW since the migration looks like one that was never
carried over: wait until it expires.")]
pub(crate) struct Options {
    /// The database to empty: an alias of the configuration, or an address such as sqlite:PATH
    old: String,
    /// The database that has taken over
    #[arg(long, value_name = "NEW")]
    against: String,
    /// Seconds to watch whether NEW follows changes of OLD; it watches twice
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    watch: u64,
    /// Continue although NEW says that it is fed: it is replicated from a database other than OLD
    #[arg(long)]
    fed_from_elsewhere: bool,
    /// Check, report what would be deleted, and delete nothing
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Do not ask before deleting
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    batches: Batches,
    /// The configuration
    #[arg(long, default_value = place::CONFIG)]
    config: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Checks, asks, deletes.
pub(crate) async fn run(options: Options) -> Result<Verdict> {
    ensure!(options.old != options.against, "OLD and NEW are the same: nothing would be left");
    let limits = place::limits(&options.config)?;
    let old = place::open(&options.old, &options.config, false).await?;
    let new = place::open(&options.against, &options.config, false).await?;
    let (old, new) = (old.as_ref(), new.as_ref());
    place::ensure_distinct(old, new, &limits).await?;
    place::ensure_readable(old, &limits).await?;
    place::ensure_readable(new, &limits).await?;
    ensure_carried(old, new, tool_patience(limits.read_deadline)).await?;
    let mut told = feed::ask(old, new, &limits).await?;
    if options.fed_from_elsewhere {
        told.notes.extend(told.refusal.take());
    }

    let bar =
        ProgressBar::new_spinner().with_style(ProgressStyle::with_template("{spinner} {human_pos} rows checked")?);
    let checked = check(old, new, &limits, &mut |rows| bar.inc(rows)).await;
    bar.finish_and_clear();
    let checked = checked?;
    let refusal = checked.refusal().map(str::to_owned).or(told.refusal);
    if refusal.is_some() || options.dry_run {
        if options.json {
            print(as_json(&checked, refusal.as_deref(), &told.notes, None, options.dry_run, false))?;
        } else {
            show(old, &checked, refusal.as_deref(), &told.notes)?;
        }
        return Ok(Verdict::of(refusal.is_none()));
    }
    if !options.json {
        show(old, &checked, None, &told.notes)?;
    }
    if !options.yes && !confirm(old)? {
        note("nothing was deleted");
        return Ok(Verdict::Found);
    }
    let stop = Stop::on_signal(STOPPED)?;
    let style = ProgressStyle::with_template("{bar:32} {human_pos} of {human_len} rows deleted, {per_sec}")?;
    let bar = ProgressBar::new(checked.rows + checked.expired_rows.unwrap_or(0)).with_style(style);
    let mut emptied = Emptied::default();
    let done = async {
        let watch = Duration::from_secs(options.watch);
        if let Some(reason) = feed::try_row(old, new, watch, &limits).await? {
            note(format_args!(
                "no row of the program's own could be written for a test ({reason}); the first sessions decide"
            ));
        }
        if !stop.is_asked() {
            emptied.in_both = feed::try_first_rows(old, new, &checked.prints, watch, &limits).await?;
            bar.inc(emptied.in_both);
        }
        let how = (options.batches, &limits);
        empty((old, new), &checked.prints, how, &stop, &mut emptied, &|rows| bar.inc(rows)).await
    };
    let done = done.await;
    bar.finish_and_clear();
    if let Err(error) = done {
        note(format_args!("{} rows were deleted before this failed", HumanCount(emptied.deleted())));
        return Err(error);
    }
    let stopped = stop.is_asked();
    if options.json {
        print(as_json(&checked, None, &told.notes, Some(&emptied), false, stopped))?;
    } else {
        show_emptied(&emptied, stopped)?;
    }
    old.close().await;
    new.close().await;
    Ok(if stopped { Verdict::Stopped } else { Verdict::of(emptied.kept == 0) })
}

fn confirm(old: &dyn Database) -> Result<bool> {
    if !io::stdin().is_terminal() {
        bail!("there is no terminal to confirm at: give --yes, or --dry-run to see what would be deleted");
    }
    note(format_args!("{} will be emptied. Type `yes` to go on:", paint_note(Colour::Red, old.summary())));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).context("cannot read the answer")?;
    Ok(answer.trim() == "yes")
}

fn show(old: &dyn Database, checked: &Check, refusal: Option<&str>, notes: &[String]) -> Result<()> {
    print(old.summary())?;
    for note in notes {
        print(format_args!("  note: {note}"))?;
    }
    let line = |count: u64, what: &str| print(format_args!("  {:>12} {what}", HumanCount(count).to_string()));
    match checked.expired_rows {
        Some(expired) => line(expired, "expired rows")?,
        None => print("  expired rows were not counted: the count takes too long here")?,
    }
    let in_both = checked.rows.saturating_sub(checked.only_old);
    line(in_both, "unexpired rows that the new database also has")?;
    let bad = |count: u64, what: String| {
        let count = HumanCount(count).to_string();
        print(format_args!("  {} {what}", paint(Colour::Red, format_args!("{count:>12}"))))
    };
    if checked.only_old > 0 {
        let last = checked.last_only_old.map(|last| format!(", the last of which expires at {}", utc(last)));
        bad(checked.only_old, format!("unexpired rows that only the old one has{}", last.unwrap_or_default()))?;
    }
    if checked.unreadable > 0 {
        bad(checked.unreadable, "rows that cannot be read, in the old database or in the new one".to_owned())?;
        for row in &checked.shown {
            print(format_args!("  {row}"))?;
        }
    }
    match refusal {
        Some(refusal) => print(format_args!("{}: {refusal}", paint(Colour::Red, "refused"))),
        None => {
            print(paint(Colour::Green, "every living session is in the new database: the old table can be emptied"))
        }
    }?;
    Ok(())
}

fn show_emptied(emptied: &Emptied, stopped: bool) -> Result<()> {
    let (living, expired) = (HumanCount(emptied.in_both), HumanCount(emptied.expired));
    print(format_args!("deleted {living} rows that the new database has, and {expired} expired rows"))?;
    if emptied.kept > 0 {
        let kept = paint(Colour::Red, HumanCount(emptied.kept));
        print(format_args!(
            "{kept} rows are left: the new database does not have them, they came during the run, others hold them, or \
             the database refuses to delete them"
        ))?;
        if let Some(reason) = &emptied.reason {
            print(format_args!("why the last of them could not be deleted: {reason}"))?;
        }
    }
    if stopped {
        print("stopped early; run it again for the rest")?;
    }
    Ok(())
}

fn as_json(
    checked: &Check,
    refusal: Option<&str>,
    notes: &[String],
    emptied: Option<&Emptied>,
    dry_run: bool,
    stopped: bool,
) -> Value {
    let unreadable: Vec<_> = checked.shown.iter().map(|row| json!({"session": row.row, "what": row.what})).collect();
    let kept = emptied.map_or(0, |emptied| emptied.kept);
    json!({
        "ok": refusal.is_none() && kept == 0 && !stopped,
        "dry_run": dry_run,
        "refused": refusal,
        "notes": notes,
        "rows": checked.rows,
        "expired_rows": checked.expired_rows,
        "only_old": checked.only_old,
        "last_only_old_expires_at": checked.last_only_old.map(utc),
        "unreadable": checked.unreadable,
        "unreadable_rows": unreadable,
        "deleted": emptied.map_or(0, Emptied::deleted),
        "kept": kept,
        "kept_because": emptied.and_then(|emptied| emptied.reason.as_deref()),
        "stopped": stopped,
    })
}
