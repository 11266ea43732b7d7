//! `switchover stats`: the rows of a session table, the space it takes, and how much of that is in use.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use indicatif::{HumanBytes, HumanCount, ProgressBar};
use serde_json::{Value, json};
use switchover::capabilities::Statistics;

use crate::output::{Colour, Verdict, paint, print};
use crate::place;

/// With less unused space than this, in bytes or in per cent of the whole, a remedy costs more than it gives: the size
/// of a table always varies.
const UNUSED_BYTES_MIN: u64 = 1 << 20;
const UNUSED_PERCENT_MIN: u64 = 20;

/// The options of `stats`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  switchover stats default
  switchover stats sqlite:old.sqlite3 --json

Counts every row, without a lock that a write would wait for. On a large table this takes minutes
and reads the whole table. `unused` is about what the shown commands give back: dead rows, free
pages and holes. A number that the database does not report has no line. The exit status is 1 if
there are rows whose end cannot be read.")]
pub(crate) struct Options {
    /// An alias of the configuration, or an address such as sqlite:PATH
    database: String,
    /// Give up after this many seconds
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 600,
        value_parser = clap::value_parser!(u64).range(1..=86_400)
    )]
    timeout: u64,
    /// The configuration
    #[arg(long, default_value = place::CONFIG)]
    config: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Counts, and prints the counts.
pub(crate) async fn run(options: Options) -> Result<Verdict> {
    let limits = place::limits(&options.config)?;
    let database = place::open(&options.database, &options.config, false).await?;
    let readable = database.upkeep().check_columns(switchover::migration::tool_deadline(limits.read_deadline)).await;
    readable.with_context(|| database.summary())?;
    let bar = ProgressBar::new_spinner().with_message("counting");
    bar.enable_steady_tick(Duration::from_millis(100));
    let deadline = Instant::now() + Duration::from_secs(options.timeout);
    let statistics = database.upkeep().statistics(deadline).await;
    bar.finish_and_clear();
    let statistics = statistics.with_context(|| database.summary())?;
    if options.json {
        print(as_json(&database.summary(), &statistics))?;
    } else {
        print(database.summary())?;
        show(place::shown(&options.database), &statistics)?;
    }
    database.close().await;
    Ok(Verdict::of(statistics.unreadable_rows == 0))
}

fn show(name: &str, statistics: &Statistics) -> Result<()> {
    let line = |what: &str, value: String| print(format_args!("  {what:<10} {value}"));
    let (rows, expired) = (HumanCount(statistics.rows), HumanCount(statistics.expired_rows));
    line("rows", format!("{rows}, {expired} of them expired"))?;
    if statistics.unreadable_rows > 0 {
        let count = paint(Colour::Red, HumanCount(statistics.unreadable_rows));
        line("unreadable", format!("{count} rows whose end cannot be read, so it is unknown whether they live"))?;
    }
    let (bytes, expired) = (HumanBytes(statistics.payload_bytes), HumanBytes(statistics.expired_payload_bytes));
    line("payloads", format!("{bytes}, {expired} of it expired"))?;
    let sizes =
        [("table", statistics.table_bytes), ("indexes", statistics.index_bytes), ("file", statistics.file_bytes)];
    for (what, bytes) in sizes {
        if let Some(bytes) = bytes {
            line(what, HumanBytes(bytes).to_string())?;
        }
    }
    if let Some(dead) = statistics.dead_rows {
        line("dead rows", HumanCount(dead).to_string())?;
    }
    if let (Some(total), Some(used), Some(unused)) =
        (statistics.total_bytes(), statistics.used_bytes(), statistics.unused_bytes)
    {
        line("unused", HumanBytes(unused).to_string())?;
        let (percent, wasteful) = (percent(used, total), is_wasteful(statistics));
        let colour = if wasteful { Colour::Red } else { Colour::Green };
        let text = format!("{} of {}, {percent} %", HumanBytes(used), HumanBytes(total));
        line("in use", paint(colour, text))?;
        let living = statistics.payload_bytes.saturating_sub(statistics.expired_payload_bytes);
        let share = match self::percent(living, total) {
            percent @ 0..=100 => format!("{percent} %"),
            _ => "more than the table takes, since the database compresses them".to_owned(),
        };
        line("living", format!("{} of payloads, {share}", HumanBytes(living)))?;
    }
    if statistics.expired_rows > 0 {
        print(format_args!(
            "{} expired rows can be deleted:\n  switchover clear-expired {name}",
            HumanCount(statistics.expired_rows)
        ))?;
    }
    if is_wasteful(statistics) && !statistics.remedies.is_empty() {
        print("one of these commands gives the unused space back:")?;
        for remedy in &statistics.remedies {
            print(format_args!("  {}  {}", remedy.command, paint(Colour::Dim, format_args!("({})", remedy.cost))))?;
        }
    }
    Ok(())
}

fn is_wasteful(statistics: &Statistics) -> bool {
    let (Some(total), Some(unused)) = (statistics.total_bytes(), statistics.unused_bytes) else { return false };
    unused >= UNUSED_BYTES_MIN && percent(unused, total) >= UNUSED_PERCENT_MIN
}

fn percent(part: u64, whole: u64) -> u64 {
    (u128::from(part) * 100).checked_div(whole.into()).map_or(100, |percent| u64::try_from(percent).unwrap_or(100))
}

fn as_json(summary: &str, statistics: &Statistics) -> Value {
    let remedies: Vec<_> =
        statistics.remedies.iter().map(|remedy| json!({"command": remedy.command, "cost": remedy.cost})).collect();
    json!({
        "database": summary,
        "rows": statistics.rows,
        "expired_rows": statistics.expired_rows,
        "unreadable_rows": statistics.unreadable_rows,
        "payload_bytes": statistics.payload_bytes,
        "expired_payload_bytes": statistics.expired_payload_bytes,
        "table_bytes": statistics.table_bytes,
        "index_bytes": statistics.index_bytes,
        "file_bytes": statistics.file_bytes,
        "total_bytes": statistics.total_bytes(),
        "used_bytes": statistics.used_bytes(),
        "unused_bytes": statistics.unused_bytes,
        "dead_rows": statistics.dead_rows,
        "mend": is_wasteful(statistics),
        "remedies": remedies,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remedy_is_advised_where_it_is_worth_its_cost() {
        let of = |total, unused| {
            let mut statistics = Statistics::default();
            (statistics.table_bytes, statistics.unused_bytes) = (total, unused);
            is_wasteful(&statistics)
        };
        const GIB: u64 = 1 << 30;
        assert!(of(Some(70 * GIB), Some(54 * GIB)), "the table of 2016");
        assert!(!of(Some(70 * GIB), Some(GIB)));
        assert!(!of(Some(1 << 16), Some(1 << 15)), "an empty table does not matter");
        assert!(!of(Some(GIB), None) && !of(None, Some(GIB)) && !of(Some(0), Some(0)));
        assert_eq!((percent(u64::MAX, u64::MAX), percent(16, 70), percent(0, 0)), (100, 22, 100));
    }
}
