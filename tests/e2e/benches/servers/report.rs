//! The report: tables in Markdown, as `docs/performance.md` has them, or one JSON object with the same figures.

use std::fmt::Write as _;

use serde_json::{Value, json};
use switchover_tests::report::{align, holds, settings, settings_json, table};

use super::contestant::KINDS;
use super::facts::Facts;
use super::load::Workload;
use super::options::Options;
use super::results::{Cell, Of, Ratio, Results};

/// Indexes in [`KINDS`].
const A: usize = 0;
const B: usize = 1;
const C: usize = 2;
/// The ratios of the report, with their names.
const RATIOS: [(&str, &str, Of, usize, usize); 6] = [
    ("time A/C", "time_a_c", Of::Time, A, C),
    ("time B/C", "time_b_c", Of::Time, B, C),
    ("time A/B", "time_a_b", Of::Time, A, B),
    ("CPU A/C", "processor_a_c", Of::Processor, A, C),
    ("CPU B/C", "processor_b_c", Of::Processor, B, C),
    ("CPU A/B", "processor_a_b", Of::Processor, A, B),
];
/// The promised ratio of wall time by calls, A to C, at 64 calls at a time.
const JUDGED: [(Workload, f64); 2] = [(Workload::Save, 1.0), (Workload::Hit, 1.10)];
const JUDGED_AT_ONCE: usize = 64;

pub(crate) fn markdown(facts: &Facts, results: &Results, options: &Options) -> String {
    let mut text = String::new();
    let mut say = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    say(&facts.machine.line());
    say(&format!("PostgreSQL, twice: {}", settings(&facts.postgres)));
    say(&format!("Redis: {}", settings(&facts.redis)));
    say(&format!(
        "{} sessions of {} B; {} rounds of {:.1} s\n",
        options.sessions,
        options.payload,
        options.rounds,
        options.length().as_secs_f64()
    ));
    say(&figures(results));
    say(&ratios(results));
    say(&memory(results));
    for line in judged(results).into_iter().chain(troubles(results)) {
        say(&line);
    }
    text
}

fn figures(results: &Results) -> String {
    let mut table = table(&["call", "at once", "", "calls/s", "p50 ms", "p99 ms", "CPU µs/call"]);
    for cell in &results.cells {
        for (kind, figures) in KINDS.iter().zip(&cell.contestants) {
            table.add_row([
                cell.workload.to_string(),
                cell.at_once.to_string(),
                kind.title().to_owned(),
                format!("{:.0}", figures.calls_per_second()),
                format!("{:.2}", figures.latency_ms(0.5)),
                format!("{:.2}", figures.latency_ms(0.99)),
                format!("{:.1}", figures.processor_us()),
            ]);
        }
    }
    align(&mut table, 3)
}

fn ratios(results: &Results) -> String {
    let names: Vec<_> = ["call", "at once"].into_iter().chain(RATIOS.map(|(name, ..)| name)).collect();
    let mut table = table(&names);
    for cell in &results.cells {
        let ratios = RATIOS.map(|(_, _, of, first, second)| {
            let Ratio { median, p10, p90 } = cell.ratio(of, first, second);
            format!("{median:.2} ({p10:.2}–{p90:.2})")
        });
        table.add_row([cell.workload.to_string(), cell.at_once.to_string()].into_iter().chain(ratios));
    }
    align(&mut table, 2)
}

fn memory(results: &Results) -> String {
    let mut table = table(&["", "idle MiB", "more with 1,024 calls, MiB"]);
    let mib = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
    for (kind, memory) in KINDS.iter().zip(&results.memory) {
        table.add_row([kind.title().to_owned(), mib(memory.idle), mib(memory.growth)]);
    }
    align(&mut table, 1)
}

fn judged_cells(results: &Results) -> impl Iterator<Item = (&Cell, f64, Ratio)> {
    JUDGED.into_iter().filter_map(|(workload, most)| {
        let is = |cell: &&Cell| cell.workload == workload && cell.at_once == JUDGED_AT_ONCE;
        let cell = results.cells.iter().find(is)?;
        Some((cell, most, cell.ratio(Of::Time, A, C)))
    })
}

fn judged(results: &Results) -> Vec<String> {
    let line = |(cell, most, ratio): (&Cell, f64, Ratio)| {
        let (workload, at_once, holds) = (cell.workload, cell.at_once, holds(ratio.median <= most));
        format!("{workload} at {at_once}: A takes {:.2} of C's time, at most {most:.2}: {holds}", ratio.median)
    };
    judged_cells(results).map(line).collect()
}

/// Lists what should not have happened, one line each.
fn troubles(results: &Results) -> Vec<String> {
    let mut lines = Vec::new();
    for cell in &results.cells {
        for (kind, figures) in KINDS.iter().zip(&cell.contestants).filter(|(_, figures)| figures.failed > 0) {
            let mut line = format!("{}, {} at {}: ", kind.title(), cell.workload, cell.at_once);
            let _infallible = write!(line, "{} calls of {} FAILED", figures.failed, figures.failed + figures.calls());
            lines.push(line + &figures.error.as_ref().map_or_else(String::new, |error| format!(": {error}")));
        }
    }
    for (kind, failures) in KINDS.iter().zip(&results.cache_failures).filter(|(_, failures)| **failures > 0) {
        lines.push(format!("{}: {failures} operations of the cache FAILED, and the calls went on", kind.title()));
    }
    for (kind, rows) in KINDS.iter().zip(&results.differing_rows).filter(|(_, rows)| **rows > 0) {
        lines.push(format!("{}: {rows} rows DIFFER between old and new after dual saves", kind.title()));
    }
    if lines.is_empty() {
        lines.push("no call failed".to_owned());
    }
    lines
}

pub(crate) fn json(facts: &Facts, results: &Results, options: &Options) -> Value {
    let ratio = |Ratio { median, p10, p90 }: Ratio| json!({"median": median, "p10": p10, "p90": p90});
    let cells = results.cells.iter().map(|cell| {
        let contestants = KINDS.iter().zip(&cell.contestants).map(|(kind, figures)| {
            json!({"contestant": kind.title(), "calls": figures.calls(), "failed": figures.failed,
                "calls_per_second": figures.calls_per_second(), "p50_ms": figures.latency_ms(0.5),
                "p99_ms": figures.latency_ms(0.99), "processor_us": figures.processor_us()})
        });
        let ratios = RATIOS.map(|(_, name, of, a, b)| (name.to_owned(), ratio(cell.ratio(of, a, b))));
        json!({"call": cell.workload.to_string(), "at_once": cell.at_once,
            "contestants": contestants.collect::<Vec<_>>(),
            "ratios": ratios.into_iter().collect::<serde_json::Map<_, _>>()})
    });
    let judged = judged_cells(results).map(|(cell, most, ratio)| {
        json!({"call": cell.workload.to_string(), "at_once": cell.at_once, "time_a_c": ratio.median, "at_most": most,
            "holds": ratio.median <= most})
    });
    let each = KINDS.iter().enumerate().map(|(at, kind)| {
        let memory = results.memory.get(at);
        json!({"contestant": kind.title(), "idle_bytes": memory.map(|memory| memory.idle),
            "growth_bytes": memory.map(|memory| memory.growth), "cache_failures": results.cache_failures.get(at),
            "differing_rows": results.differing_rows.get(at)})
    });
    json!({
        "machine": facts.machine.json(),
        "postgres": settings_json(&facts.postgres), "redis": settings_json(&facts.redis),
        "options": {"sessions": options.sessions, "payload": options.payload, "rounds": options.rounds,
            "seconds": options.length().as_secs_f64()},
        "cells": cells.collect::<Vec<_>>(), "contestants": each.collect::<Vec<_>>(),
        "judged": judged.collect::<Vec<_>>(),
    })
}
