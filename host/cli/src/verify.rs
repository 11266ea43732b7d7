//! `switchover verify`: compares the unexpired sessions of two databases, both ways, while they are in use.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::compare::{Comparison, Difference, compare};
use crate::output::{Colour, Verdict, paint, print, utc};
use crate::place;

/// So many are shown.
const SHOWN_MAX: usize = 20;

/// What to compare.
#[derive(Args)]
#[command(after_help = "\
Examples:
  switchover verify default new_session_store
  switchover verify sqlite:old.sqlite3 sqlite:new.sqlite3 --json

Sessions are written while this runs, so a difference counts only if it is still there later than any write may take.
Rows that only OLD has are a difference too: they are still to be carried over, by use, or expire.
The exit status is 1 on a difference.")]
pub(crate) struct Options {
    /// An alias of the configuration, or an address such as sqlite:PATH
    old: String,
    /// The same for the database that takes over
    new: String,
    /// The configuration
    #[arg(long, default_value = place::CONFIG)]
    config: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Compares two databases of the command line.
pub(crate) async fn run(options: Options) -> Result<Verdict> {
    let old = place::open(&options.old, &options.config, false).await?;
    let new = place::open(&options.new, &options.config, false).await?;
    let style = ProgressStyle::with_template("{spinner} {pos} rows compared")?;
    let bar = ProgressBar::new_spinner().with_style(style);
    let comparison = compare(old.as_ref(), new.as_ref(), &mut |rows| bar.inc(rows)).await;
    bar.finish_and_clear();
    let comparison = comparison?;
    if options.json {
        print(as_json(&comparison))?;
    } else {
        show(&comparison)?;
    }
    Ok(Verdict::of(comparison.differences() == 0))
}

fn show(comparison: &Comparison) -> Result<()> {
    print(format_args!(
        "{} unexpired rows in the old database, {} in the new one",
        comparison.old_rows, comparison.new_rows
    ))?;
    print(format_args!("  {:>8} equal", comparison.equal))?;
    for kind in
        [Difference::OnlyOld, Difference::OnlyNew, Difference::Payload, Difference::Expiry, Difference::Unsettled]
    {
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
    Ok(())
}

fn as_json(comparison: &Comparison) -> serde_json::Value {
    let shown = comparison.different.iter().take(SHOWN_MAX);
    let shown: Vec<_> =
        shown.map(|(key, kind)| json!({"session": key.short_hash(), "difference": kind.as_str()})).collect();
    json!({
        "ok": comparison.differences() == 0,
        "old_rows": comparison.old_rows,
        "new_rows": comparison.new_rows,
        "equal": comparison.equal,
        "only_old": comparison.count(Difference::OnlyOld),
        "only_new": comparison.count(Difference::OnlyNew),
        "payload_differs": comparison.count(Difference::Payload),
        "expiry_differs": comparison.count(Difference::Expiry),
        "unsettled": comparison.count(Difference::Unsettled),
        "last_only_old_expires_at": comparison.last_only_old.map(utc),
        "differences": shown,
    })
}
