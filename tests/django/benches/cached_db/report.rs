//! The report: tables in Markdown, as `docs/performance.md` has them, or one JSON object with the same figures.

use std::fmt::Write as _;

use anyhow::Result;
use serde_json::{Value, json};
use switchover_tests::facts::{Machine, Settings};
use switchover_tests::report::{align, settings, settings_json, table};

use super::options::Options;
use super::results::{Cell, Of, Ratio};
use super::site::Trips;
use super::visitors::Workload;
use super::web::KINDS;

/// What is promised of a request's time by that on `cached_db`.
const GOALS: [(Workload, f64); 2] = [(Workload::Hit, 1.3), (Workload::Miss, 1.0)];

/// Where and on what was measured.
pub(crate) struct Facts {
    pub(crate) machine: Machine,
    pub(crate) postgres: Settings,
    pub(crate) redis: Settings,
}

pub(crate) fn markdown(facts: &Facts, cells: &[Cell], trips: &[Trips], options: &Options) -> Result<String> {
    let mut text = String::new();
    writeln!(text, "{}", facts.machine.line())?;
    writeln!(text, "PostgreSQL: {}", settings(&facts.postgres))?;
    writeln!(text, "Redis: {}", settings(&facts.redis))?;
    let (workers, threads, rounds) = (options.workers, options.threads, options.rounds);
    let seconds = options.length().as_secs_f64();
    writeln!(text, "gunicorn: {workers} workers, {threads} threads each; {rounds} rounds of {seconds:.1} s\n")?;
    writeln!(text, "{}", round_trips(trips))?;
    for (title, of) in [("Time", Of::Time), ("Processor time", Of::Processor)] {
        writeln!(text, "{title} of a request by that on cached_db:\n\n{}", ratios(cells, options, of))?;
    }
    writeln!(text, "{}", figures(cells))?;
    for (cell, most, ratio) in judged(cells) {
        let Cell { payload, workload, at_once, .. } = cell;
        let (met, ratio) = (if ratio.median <= most { "met" } else { "NOT MET" }, spread(ratio));
        writeln!(
            text,
            "{workload} at {at_once} with {payload} B: {ratio} of cached_db's time, at most {most:.2}: {met}"
        )?;
    }
    for line in troubles(cells) {
        writeln!(text, "{line}")?;
    }
    Ok(text)
}

fn round_trips(trips: &[Trips]) -> String {
    let mut table = table(&["request", KINDS[0].title(), KINDS[1].title()]);
    for Trips { workload, each } in trips {
        let each = each.iter().map(|[database, cache]| format!("{database:.1} + {cache:.1}"));
        table.add_row([workload.to_string()].into_iter().chain(each));
    }
    format!("Round trips of a request to PostgreSQL and to Redis, one request at a time:\n\n{}", align(&mut table, 1))
}

fn spread(Ratio { median, least, most }: Ratio) -> String {
    format!("{median:.2} ({least:.2}–{most:.2})")
}

/// A row for each request and crowd, a column for each size.
fn ratios(cells: &[Cell], options: &Options, of: Of) -> String {
    let sizes = options.payload.iter().map(|size| format!("{size} B"));
    let names: Vec<_> = ["request".to_owned(), "at once".to_owned()].into_iter().chain(sizes).collect();
    let mut table = table(&names.iter().map(String::as_str).collect::<Vec<_>>());
    for cell in cells.iter().filter(|cell| Some(&cell.payload) == options.payload.first()) {
        let same = |other: &&Cell| (other.workload, other.at_once) == (cell.workload, cell.at_once);
        let row = cells.iter().filter(same).map(|cell| spread(cell.ratio(of)));
        table.add_row([cell.workload.to_string(), cell.at_once.to_string()].into_iter().chain(row));
    }
    align(&mut table, 2)
}

fn figures(cells: &[Cell]) -> String {
    let columns = ["bytes", "request", "at once", "", "requests/s", "p50 ms", "p99 ms", "/processor s", "serve µs"];
    let mut table = table(&columns);
    for cell in cells {
        for (kind, figures) in KINDS.iter().zip(&cell.contestants) {
            table.add_row([
                cell.payload.to_string(),
                cell.workload.to_string(),
                cell.at_once.to_string(),
                kind.title().to_owned(),
                format!("{:.0}", figures.per_second()),
                format!("{:.2}", figures.latency_ms(0.5)),
                format!("{:.2}", figures.latency_ms(0.99)),
                format!("{:.0}", figures.per_processor_second()),
                format!("{:.0}", figures.serve_us()),
            ]);
        }
    }
    align(&mut table, 4)
}

fn judged(cells: &[Cell]) -> impl Iterator<Item = (&Cell, f64, Ratio)> {
    GOALS.into_iter().flat_map(move |(workload, most)| {
        let of_goal = cells.iter().filter(move |cell| cell.workload == workload);
        of_goal.map(move |cell| (cell, most, cell.ratio(Of::Time)))
    })
}

/// Lists what should not have happened, one line each.
fn troubles(cells: &[Cell]) -> Vec<String> {
    let mut lines = Vec::new();
    for cell in cells {
        for (kind, figures) in KINDS.iter().zip(&cell.contestants).filter(|(_, figures)| figures.failed > 0) {
            let (failed, all) = (figures.failed, figures.failed as usize + figures.requests());
            let why = figures.error.as_deref().unwrap_or_default();
            let (Cell { payload, workload, at_once, .. }, kind) = (cell, kind.title());
            lines.push(format!("{kind}, {workload} at {at_once} with {payload} B: {failed} of {all} FAILED: {why}"));
        }
    }
    if lines.is_empty() {
        lines.push("no request failed".to_owned());
    }
    lines
}

pub(crate) fn json(facts: &Facts, cells: &[Cell], trips: &[Trips], options: &Options) -> Value {
    let ratio = |Ratio { median, least, most }: Ratio| json!({"median": median, "min": least, "max": most});
    let each_cell = cells.iter().map(|cell| {
        let contestants = KINDS.iter().zip(&cell.contestants).map(|(kind, figures)| {
            json!({"contestant": kind.title(), "requests": figures.requests(), "failed": figures.failed,
                "requests_per_second": figures.per_second(), "p50_ms": figures.latency_ms(0.5),
                "p99_ms": figures.latency_ms(0.99), "requests_per_processor_second": figures.per_processor_second(),
                "serve_processor_us": figures.serve_us()})
        });
        json!({"payload": cell.payload, "request": cell.workload.to_string(), "at_once": cell.at_once,
            "contestants": contestants.collect::<Vec<_>>(), "time": ratio(cell.ratio(Of::Time)),
            "processor": ratio(cell.ratio(Of::Processor))})
    });
    let goals = judged(cells).map(|(cell, most, of)| {
        json!({"payload": cell.payload, "request": cell.workload.to_string(), "at_once": cell.at_once,
            "time": ratio(of), "at_most": most, "met": of.median <= most})
    });
    let round_trips = trips.iter().map(|Trips { workload, each }| {
        let each = KINDS
            .iter()
            .zip(each)
            .map(|(kind, [database, cache])| json!({"contestant": kind.title(), "database": database, "cache": cache}));
        json!({"request": workload.to_string(), "contestants": each.collect::<Vec<_>>()})
    });
    json!({
        "machine": facts.machine.json(),
        "postgres": settings_json(&facts.postgres), "redis": settings_json(&facts.redis),
        "options": {"workers": options.workers, "threads": options.threads, "rounds": options.rounds,
            "seconds": options.length().as_secs_f64()},
        "round_trips": round_trips.collect::<Vec<_>>(),
        "cells": each_cell.collect::<Vec<_>>(), "goals": goals.collect::<Vec<_>>(),
    })
}
