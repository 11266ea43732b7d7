//! The report: tables in Markdown, as `docs/performance.md` has them, or one JSON object with the same figures.

use serde_json::{Value, json};
use switchover_tests::facts::{Machine, Settings};
use switchover_tests::report::{align, holds, settings, settings_json, table};

use super::course::Longest;
use super::databases::DEADLINE;
use super::journal::Outcome;
use super::options::{Options, Part};
use super::results::{CacheRow, DatabaseRow, Results, Row, ms, seconds};

/// Where and on what was measured.
pub(crate) struct Facts {
    pub(crate) machine: Machine,
    pub(crate) servers: Vec<(Part, Settings)>,
}

pub(crate) fn markdown(facts: &Facts, results: &Results, options: &Options) -> String {
    let mut lines = vec![facts.machine.line()];
    lines.extend(facts.servers.iter().map(|(part, server)| format!("{}: {}", part.title(), settings(server))));
    lines.push(format!(
        "{} clients; faults of {:.1} s; rounds: {}; deadline of databases {} ms\n",
        options.clients(),
        options.length().as_secs_f64(),
        options.rounds(),
        DEADLINE.as_millis()
    ));
    if !results.cache.is_empty() {
        lines.push(cache(&results.cache));
    }
    if !results.databases.is_empty() {
        lines.push(databases(&results.databases));
    }
    for promise in results.promises() {
        lines.push(format!("{}: {}: {}", promise.name, promise.found, holds(promise.held)));
    }
    lines.extend(troubles(results));
    lines.join("\n") + "\n"
}

fn cache(rows: &[CacheRow]) -> String {
    let mut table = table(&[
        "Redis is",
        "calls/s",
        "calls",
        "failed",
        "wrong",
        "longest before, ms",
        "met it",
        "",
        "more",
        "after it",
        "machine",
        "full after, s",
        "connected",
        "hit",
    ]);
    for CacheRow { row, connected, hit } in rows {
        table.add_row([
            row.fault.title().to_owned(),
            format!("{:.0}", row.per_second_before),
            row.calls.to_string(),
            row.failed().to_string(),
            row.wrong.to_string(),
            format!("{:.1}", ms(row.before.took)),
            format!("{:.1}", ms(row.met.took)),
            row.met.what.to_owned(),
            format!("{:.1}", ms(row.more)),
            format!("{:.1}", ms(row.after.took)),
            format!("{:.1}", ms(row.longest().stall)),
            seconds(row.full),
            seconds(*connected),
            seconds(*hit),
        ]);
    }
    align(&mut table, 1)
}

fn databases(rows: &[DatabaseRow]) -> String {
    let failures = Outcome::FAILURES.map(|(_, name)| name);
    let ends = ["longest, ms", "", "over", "machine", "full after, s"];
    let header: Vec<_> = ["", "is", "ops/s", "ops", "ok"].into_iter().chain(failures).chain(ends).collect();
    let mut table = table(&header);
    for DatabaseRow { part, row } in rows {
        let longest = row.longest();
        let begin = [
            part.title().to_owned(),
            row.fault.title().to_owned(),
            format!("{:.0}", row.per_second_before),
            row.calls.to_string(),
            (row.calls - row.failed()).to_string(),
        ];
        let end = [
            format!("{:.1}", ms(longest.took)),
            longest.what.to_owned(),
            format!("{:.1}", ms(row.over())),
            format!("{:.1}", ms(row.longest().stall)),
            seconds(row.full),
        ];
        table.add_row(begin.into_iter().chain(row.failures.map(|count| count.to_string())).chain(end));
    }
    align(&mut table, 2)
}

/// Lists what should not have happened, one line each.
fn troubles(results: &Results) -> Vec<String> {
    let cache = results.cache.iter().map(|row| (Part::Cache, &row.row));
    let databases = results.databases.iter().map(|row| (row.part, &row.row));
    let mut lines = Vec::new();
    for (part, row) in cache.chain(databases) {
        let name = format!("{} {}", part.title(), row.fault.title());
        if row.stuck > 0 {
            lines.push(format!("{name}: {} clients WAITED after its end", row.stuck));
        }
        // A database that is gone is expected to fail, so its message is left out.
        let is_trouble = part == Part::Cache || row.failures[Outcome::FAILURES.len() - 1] > 0;
        if let Some(trouble) = row.trouble.as_ref().filter(|_| is_trouble) {
            lines.push(format!("{name}: {trouble}"));
        }
    }
    lines
}

pub(crate) fn json(facts: &Facts, results: &Results, options: &Options) -> Value {
    let servers = facts.servers.iter().map(|(part, server)| (part.title().to_owned(), settings_json(server)));
    let cache = results.cache.iter().map(|CacheRow { row, connected, hit }| {
        let mut object = row_json(row);
        object["connected_s"] = json!(connected.map(|time| time.as_secs_f64()));
        object["hit_s"] = json!(hit.map(|time| time.as_secs_f64()));
        object
    });
    let databases = results.databases.iter().map(|DatabaseRow { part, row }| {
        let mut object = row_json(row);
        object["database"] = json!(part.title());
        object["over_ms"] = json!(ms(row.over()));
        object
    });
    let promises = results.promises();
    let promises =
        promises.iter().map(|promise| json!({"promise": promise.name, "found": promise.found, "holds": promise.held}));
    json!({
        "machine": facts.machine.json(),
        "servers": servers.collect::<serde_json::Map<_, _>>(),
        "options": {"clients": options.clients(), "seconds": options.length().as_secs_f64(),
            "rounds": options.rounds(), "deadline_ms": ms(DEADLINE)},
        "cache": cache.collect::<Vec<_>>(), "databases": databases.collect::<Vec<_>>(),
        "promises": promises.collect::<Vec<_>>(),
    })
}

fn row_json(row: &Row) -> Value {
    let longest =
        |Longest { what, took, stall }: Longest| json!({"call": what, "ms": ms(took), "machine_ms": ms(stall)});
    let failures = Outcome::FAILURES.iter().zip(row.failures).map(|((_, name), count)| (*name, count));
    json!({"fault": row.fault.title(), "calls": row.calls, "calls_per_second_before": row.per_second_before,
        "failed": row.failed(), "failures": failures.collect::<std::collections::BTreeMap<_, _>>(),
        "wrong": row.wrong, "stuck": row.stuck, "longest_before": longest(row.before), "longest_met": longest(row.met),
        "longest_after": longest(row.after), "more_ms": ms(row.more),
        "full_s": row.full.map(|time| time.as_secs_f64()), "trouble": row.trouble})
}
