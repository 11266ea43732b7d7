//! `switchover verify`: compares the unexpired sessions of two databases, both ways, while they are in use.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use switchover::Limits;
use switchover::capabilities::Database;
use switchover::migration::{Comparison, Difference, SHOWN_MAX, Seen, compare};
use switchover_server::report::{self, utc};

use crate::output::{Colour, Verdict, paint, print};
use crate::place;

/// The options of `verify`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  switchover verify default new_session_store
  switchover verify sqlite:old.sqlite3 sqlite:new.sqlite3 --json

Sessions may be written while this runs. So a difference counts only if it lasts longer than any
write may take. Rows that only OLD has are a difference too: they must still be carried over by use,
or expire. Rows that cannot be read are counted and shown; with such rows the databases never count
as alike. Other columns are compared too; a column that NEW cannot hold is refused before anything
is compared. The exit status is 1 on any of these.")]
pub(crate) struct Options {
    /// An alias of the configuration, or an address such as sqlite:PATH
    old: String,
    /// The database that takes over, named in the same way
    new: String,
    /// The configuration
    #[arg(long, default_value = place::CONFIG)]
    config: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Compares the two databases.
pub(crate) async fn run(options: Options) -> Result<Verdict> {
    let limits = place::limits(&options.config)?;
    let old = place::open(&options.old, &options.config, false).await?;
    let new = place::open(&options.new, &options.config, false).await?;
    place::ensure_distinct(old.as_ref(), new.as_ref(), &limits).await?;
    place::ensure_readable(old.as_ref(), &limits).await?;
    place::ensure_readable(new.as_ref(), &limits).await?;
    Ok(Verdict::of(compared(old.as_ref(), new.as_ref(), &limits, options.json).await?))
}

/// Compares two databases, and shows what differs. Returns whether they are alike.
pub(crate) async fn compared(old: &dyn Database, new: &dyn Database, limits: &Limits, json: bool) -> Result<bool> {
    let bar = progress()?;
    let comparison = compare(old, new, limits, &mut |rows| bar.inc(rows)).await;
    bar.finish_and_clear();
    let comparison = comparison?;
    if json {
        print(json!(report::comparison(&comparison)))?;
    } else {
        show(&comparison)?;
    }
    Ok(comparison.is_alike())
}

/// The progress of a comparison.
pub(crate) fn progress() -> Result<ProgressBar> {
    let style = ProgressStyle::with_template("{spinner} {pos} rows compared")?;
    Ok(ProgressBar::new_spinner().with_style(style))
}

pub(crate) fn show(comparison: &Comparison) -> Result<()> {
    print(format_args!(
        "{} unexpired rows in the old database, {} in the new one; {} and {} expired rows were not compared",
        comparison.old.rows, comparison.new.rows, comparison.old.expired, comparison.new.expired
    ))?;
    print(format_args!("  {:>8} equal", comparison.equal))?;
    if comparison.gone > 0 {
        print(format_args!("  {:>8} ended or deleted in both meanwhile", comparison.gone))?;
    }
    for kind in [
        Difference::OnlyOld,
        Difference::OnlyNew,
        Difference::Payload,
        Difference::Expiry,
        Difference::Column,
        Difference::Unsettled,
    ] {
        let count = comparison.count(kind);
        let colour = if count == 0 { Colour::Green } else { Colour::Red };
        let last = comparison.last_only_old.filter(|_| kind == Difference::OnlyOld);
        let last = last.map(|last| format!(", the last of them expires at {}", utc(last))).unwrap_or_default();
        print(format_args!("  {} {}{last}", paint(colour, format_args!("{count:>8}")), kind.as_str()))?;
    }
    for (key, difference) in comparison.different.iter().take(SHOWN_MAX) {
        print(format_args!("  session {}: {}", key.short_hash(), difference.as_str()))?;
    }
    let hidden = comparison.different.len().saturating_sub(SHOWN_MAX);
    if hidden > 0 {
        print(format_args!("  and {hidden} more"))?;
    }
    show_unreadable("old", &comparison.old)?;
    show_unreadable("new", &comparison.new)
}

fn show_unreadable(which: &str, seen: &Seen) -> Result<()> {
    if seen.unreadable == 0 {
        return Ok(());
    }
    let count = paint(Colour::Red, seen.unreadable);
    print(format_args!(
        "{count} rows in the {which} database cannot be read, so it is unknown whether they are alike"
    ))?;
    for row in &seen.shown {
        print(format_args!("  {row}"))?;
    }
    let hidden = seen.unreadable - seen.shown.len() as u64;
    if hidden > 0 {
        print(format_args!("  and {hidden} more"))?;
    }
    Ok(())
}
