//! The report: tables in Markdown, as `docs/performance.md` has them, or one JSON object with the same figures.

use std::fmt::Write as _;

use anyhow::Result;
use serde_json::{Value, json};

use super::contestant::KINDS;
use super::load::Workload;
use super::options::Options;
use super::results::{Cell, Of, PAIRS, Ratio};
use super::trips::Trips;
use crate::facts::{Machine, Settings};
use crate::report::{align, settings, settings_json, table};

/// What is promised of the time of ours by that of tower-sessions: the call, how many at a time, the most, and what is
/// wanted. Hits may be slower nowhere.
const GOALS: [(Workload, Option<usize>, f64, Option<f64>); 3] = [
    (Workload::Miss, Some(64), 0.5, Some(0.25)),
    (Workload::Create, Some(64), 0.5, Some(0.25)),
    (Workload::Hit, None, 1.0, None),
];

/// Where and on what was measured.
pub(crate) struct Facts {
    pub(crate) machine: Machine,
    pub(crate) postgres: Settings,
    pub(crate) redis: Settings,
}

/// A goal with what was measured.
struct Judged<'a> {
    cell: &'a Cell,
    most: f64,
    wanted: Option<f64>,
    ratio: Ratio,
}

pub(crate) fn markdown(facts: &Facts, cells: &[Cell], trips: &[Trips], options: &Options) -> Result<String> {
    let mut text = String::new();
    writeln!(text, "{}", facts.machine.line())?;
    writeln!(text, "PostgreSQL: {}", settings(&facts.postgres))?;
    writeln!(text, "Redis: {}", settings(&facts.redis))?;
    writeln!(text, "{} rounds of {:.1} s\n", options.rounds, options.length().as_secs_f64())?;
    writeln!(text, "{}", round_trips(trips))?;
    for (name, ours, theirs) in PAIRS {
        writeln!(text, "Time of Switchover by that of {name}:\n\n{}", ratios(cells, options, Of::Time, ours, theirs))?;
    }
    for (name, ours, theirs) in PAIRS {
        let table = ratios(cells, options, Of::Processor, ours, theirs);
        writeln!(text, "Processor time of Switchover by that of {name}:\n\n{table}")?;
    }
    writeln!(text, "{}", figures(cells))?;
    for Judged { cell, most, wanted, ratio } in judged(cells) {
        let Cell { payload, workload, at_once, .. } = cell;
        let met = if ratio.median <= most { "met" } else { "NOT MET" };
        let wanted = wanted.map_or_else(String::new, |wanted| {
            format!("; {wanted:.2} wanted: {}", if ratio.median <= wanted { "reached" } else { "not reached" })
        });
        let ratio = spread(ratio);
        writeln!(
            text,
            "{workload} at {at_once} with {payload} B: {ratio} of tower-sessions' time, at most {most:.2}: {met}{wanted}"
        )?;
    }
    for line in troubles(cells) {
        writeln!(text, "{line}")?;
    }
    Ok(text)
}

fn round_trips(trips: &[Trips]) -> String {
    let names: Vec<_> = ["call"].into_iter().chain(KINDS.map(|kind| kind.title())).collect();
    let mut table = table(&names);
    for Trips { workload, each } in trips {
        let each = each.iter().map(|[database, cache]| format!("{database:.1} + {cache:.1}"));
        table.add_row([workload.to_string()].into_iter().chain(each));
    }
    format!("Round trips of a call to PostgreSQL and to Redis, one call at a time:\n\n{}", align(&mut table, 1))
}

fn spread(Ratio { median, least, most }: Ratio) -> String {
    format!("{median:.2} ({least:.2}–{most:.2})")
}

/// A row for each call and crowd, a column for each size.
fn ratios(cells: &[Cell], options: &Options, of: Of, ours: usize, theirs: usize) -> String {
    let sizes = options.payload.iter().map(|size| format!("{size} B"));
    let names: Vec<_> = ["call".to_owned(), "at once".to_owned()].into_iter().chain(sizes).collect();
    let mut table = table(&names.iter().map(String::as_str).collect::<Vec<_>>());
    for cell in cells.iter().filter(|cell| Some(&cell.payload) == options.payload.first()) {
        let same = |other: &&Cell| (other.workload, other.at_once) == (cell.workload, cell.at_once);
        let row = cells.iter().filter(same).map(|cell| spread(cell.ratio(of, ours, theirs)));
        table.add_row([cell.workload.to_string(), cell.at_once.to_string()].into_iter().chain(row));
    }
    align(&mut table, 2)
}

fn figures(cells: &[Cell]) -> String {
    let mut table = table(&["bytes", "call", "at once", "", "calls/s", "p50 ms", "p99 ms", "CPU µs/call"]);
    for cell in cells {
        for (kind, figures) in KINDS.iter().zip(&cell.contestants) {
            table.add_row([
                cell.payload.to_string(),
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
    align(&mut table, 4)
}

fn judged(cells: &[Cell]) -> impl Iterator<Item = Judged<'_>> {
    let (_, ours, theirs) = PAIRS[0];
    GOALS.into_iter().flat_map(move |(workload, at_once, most, wanted)| {
        let of_goal = move |cell: &&Cell| cell.workload == workload && at_once.is_none_or(|n| cell.at_once == n);
        cells.iter().filter(of_goal).map(move |cell| {
            let ratio = cell.ratio(Of::Time, ours, theirs);
            Judged { cell, most, wanted, ratio }
        })
    })
}

/// Lists what should not have happened, one line each.
fn troubles(cells: &[Cell]) -> Vec<String> {
    let mut lines = Vec::new();
    for cell in cells {
        for (kind, figures) in KINDS.iter().zip(&cell.contestants).filter(|(_, figures)| figures.failed > 0) {
            let (failed, all) = (figures.failed, figures.failed + figures.calls());
            let why = figures.error.as_deref().unwrap_or_default();
            let Cell { payload, workload, at_once, .. } = cell;
            let kind = kind.title();
            lines.push(format!(
                "{kind}, {workload} at {at_once} with {payload} B: {failed} calls of {all} FAILED: {why}"
            ));
        }
    }
    if lines.is_empty() {
        lines.push("no call failed".to_owned());
    }
    lines
}

pub(crate) fn json(facts: &Facts, cells: &[Cell], trips: &[Trips], options: &Options) -> Value {
    let ratio = |Ratio { median, least, most }: Ratio| json!({"median": median, "min": least, "max": most});
    let each_cell = cells.iter().map(|cell| {
        let contestants = KINDS.iter().zip(&cell.contestants).map(|(kind, figures)| {
            json!({"contestant": kind.title(), "calls": figures.calls(), "failed": figures.failed,
                "calls_per_second": figures.calls_per_second(), "p50_ms": figures.latency_ms(0.5),
                "p99_ms": figures.latency_ms(0.99), "processor_us": figures.processor_us()})
        });
        let beside = PAIRS.map(|(name, ours, theirs)| {
            json!({"crate": name, "time": ratio(cell.ratio(Of::Time, ours, theirs)),
                "processor": ratio(cell.ratio(Of::Processor, ours, theirs))})
        });
        json!({"payload": cell.payload, "call": cell.workload.to_string(), "at_once": cell.at_once,
            "contestants": contestants.collect::<Vec<_>>(), "ratios": beside})
    });
    let goals = judged(cells).map(|Judged { cell, most, wanted, ratio: of }| {
        json!({"payload": cell.payload, "call": cell.workload.to_string(), "at_once": cell.at_once,
            "time": ratio(of), "at_most": most, "met": of.median <= most, "wanted": wanted})
    });
    let round_trips = trips.iter().map(|Trips { workload, each }| {
        let each = KINDS
            .iter()
            .zip(each)
            .map(|(kind, [database, cache])| json!({"contestant": kind.title(), "database": database, "cache": cache}));
        json!({"call": workload.to_string(), "contestants": each.collect::<Vec<_>>()})
    });
    json!({
        "machine": facts.machine.json(),
        "postgres": settings_json(&facts.postgres), "redis": settings_json(&facts.redis),
        "options": {"rounds": options.rounds, "seconds": options.length().as_secs_f64()},
        "round_trips": round_trips.collect::<Vec<_>>(),
        "cells": each_cell.collect::<Vec<_>>(), "goals": goals.collect::<Vec<_>>(),
    })
}
