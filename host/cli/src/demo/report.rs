//! The closing tables and the verdict, as text and as JSON.

use std::io;
use std::sync::atomic::Ordering;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use switchover_workload::checker::{History, Kind};
use switchover_workload::history::{Action, Operation, Outcome};

use crate::demo::Options;
use crate::demo::audit::{self, Audit};
use crate::demo::latency::Latencies;
use crate::demo::moved::Moved;
use crate::demo::told::{ByFlags, ByPhases, Scheme, Told};
use crate::output::{Colour, paint, print};

const FAULTS_SHOWN_MAX: usize = 10;
/// A line below the headings, and nothing else.
const STYLE: TableStyle = NOTHING.header_separator(LineStyle::none().fill('─').junction('─'));

/// The numbers of calls by kind and outcome.
pub(crate) struct Tally {
    acknowledged: u64,
    reads: u64,
    logins: u64,
    logouts: u64,
    cycles: u64,
    latencies: Latencies,
    moved: Moved,
}

impl Tally {
    /// Counts the calls of a run.
    pub(crate) fn of(told: &Told, history: &History) -> Self {
        let calls = || history.operations().iter().filter(|operation| operation.invoked >= told.traffic_began);
        let latencies = Latencies::of(calls(), &told.changes);
        let moved = match &told.scheme {
            Scheme::Flags(flags) => Moved::of(history, flags.both_written),
            Scheme::Phases(_) => Moved::default(),
        };
        let mut tally = Self { acknowledged: 0, reads: 0, logins: 0, logouts: 0, cycles: 0, latencies, moved };
        for operation in calls() {
            let done = u64::from(operation.outcome == Outcome::Done);
            match operation.action {
                Action::Create(_) => tally.logins += done,
                Action::Delete => tally.logouts += done,
                Action::CycleAway => tally.cycles += done,
                Action::Load | Action::Exists => tally.reads += 1,
                Action::Save(_) | Action::Touch(_) => tally.acknowledged += done,
                Action::CycleFrom(_) => {}
            }
        }
        tally.acknowledged += tally.logins + tally.logouts + tally.cycles;
        tally
    }
}

/// Whether the run is fine: nothing was lost, nothing came back, and no call failed that must not fail.
pub(crate) fn is_fine(options: &Options, told: &Told, audit: &Audit) -> bool {
    let failures_count = !options.tolerate_failures && told.site.meter.failures() != 0;
    audit.is_clean() && !failures_count && told.row_differences() == 0
}

/// Prints the closing tables and the verdict.
pub(crate) fn show(options: &Options, told: &Told, audit: &Audit, tally: &Tally) -> io::Result<()> {
    print(steps(told))?;
    print("")?;
    print(latencies(told, &tally.latencies))?;
    print("")?;
    print(figures(told, tally))?;
    print("")?;
    verdict(options, told, audit)
}

fn steps(told: &Told) -> Table {
    let mut table = table();
    table.set_header(["step", "policy", "sessions at", "seconds", "calls", "failed"]);
    for step in &told.steps {
        let seconds = format!("{:.1}", step.seconds);
        let (calls, failed) = (grouped(step.calls), step.failed.to_string());
        table.add_row([step.title, &step.policy, &step.routed_to, &seconds, &calls, &failed]);
    }
    align_right(&mut table, 3..6);
    table
}

fn latencies(told: &Told, latencies: &Latencies) -> Table {
    let mut table = table();
    table.set_header(["latency", "calls", "p50", "p99", "slowest"]);
    let rows = match told.scheme {
        Scheme::Flags(_) => vec![
            ("all other calls", &latencies.otherwise),
            ("calls that began around a swap", &latencies.swaps),
            ("calls that began around a change of flags", &latencies.flags),
        ],
        Scheme::Phases(_) => vec![
            ("all other calls", &latencies.otherwise),
            ("calls that began around a change of phase", &latencies.flags),
        ],
    };
    for (what, histogram) in rows {
        let ms = |us: u64| format!("{:.1} ms", us as f64 / 1e3);
        let [p50, p99] = [0.5, 0.99].map(|quantile| ms(histogram.value_at_quantile(quantile)));
        table.add_row([what, &grouped(histogram.len()), &p50, &p99, &ms(histogram.max())]);
    }
    align_right(&mut table, 1..5);
    table
}

fn figures(told: &Told, tally: &Tally) -> Table {
    let mut table = table();
    table.set_header(["traffic", ""]);
    table.add_row(["calls per second", &format!("{:.0}", calls_per_second(told))]);
    let mut rows = vec![
        ("writes acknowledged", tally.acknowledged),
        ("reads answered", tally.reads),
        ("logins", tally.logins),
        ("logouts", tally.logouts),
        ("new keys for old sessions", tally.cycles),
    ];
    match &told.scheme {
        Scheme::Flags(flags) => rows.extend([
            ("sessions carried over by a save or a touch", tally.moved.by_use),
            ("sessions that expired in the old database", tally.moved.by_expiry),
            ("sessions logged out or renamed before that", tally.moved.by_logout),
            ("policies swapped or rolled back", flags.swaps),
            ("broken policies refused", flags.policies_refused),
            ("changes of flags", flags.flag_changes),
        ]),
        Scheme::Phases(phases) => rows.extend(phases.figures()),
    }
    rows.push(("expired rows deleted", told.site.cleaned.load(Ordering::Relaxed)));
    for (what, count) in rows {
        table.add_row([what, &grouped(count)]);
    }
    align_right(&mut table, [1]);
    table
}

fn verdict(options: &Options, told: &Told, audit: &Audit) -> io::Result<()> {
    print(format_args!(
        "audit: compared {} calls on {} sessions, and {} rows in two tables, {}, with the recorded history",
        grouped(audit.calls as u64),
        grouped(audit.keys as u64),
        grouped(audit.rows as u64),
        layouts(options),
    ))?;
    let failures = told.site.meter.failures();
    let broken = Kind::ALL.map(|kind| (kind.as_str(), audit.count(kind)));
    let mut others = vec![("calls failed", failures)];
    if let Scheme::Flags(_) = told.scheme {
        others.push(("rows differed before the cutover", told.row_differences()));
    }
    for (what, count) in broken.into_iter().chain(others) {
        let colour = if count == 0 { Colour::Green } else { Colour::Red };
        print(format_args!("  {} {what}", paint(colour, format_args!("{count:>8}"))))?;
    }
    print(format_args!("  {:>8} unknown outcomes, counted both ways", told.site.meter.unknown_outcomes()))?;
    if audit.findings.undone_as_allowed > 0 {
        let (count, why) = (audit.findings.undone_as_allowed, audit::undone(told));
        print(format_args!("  {count:>8} {} while both databases were written, a known limit: {why}", Kind::Undone))?;
    }
    if audit.findings.either_order_as_allowed > 0 {
        let (count, why) = (audit.findings.either_order_as_allowed, audit::EITHER_ORDER);
        print(format_args!(
            "  {count:>8} reads of the value before a write in progress, after another host's of its value: {why}"
        ))?;
    }
    for fault in audit.findings.faults.iter().take(FAULTS_SHOWN_MAX) {
        let began = told.site.clock.seconds_at(fault.from);
        print(format_args!("  session {}: {}, {began:.3} s after the start", audit.name(fault), fault.kind))?;
    }
    if !audit.evidence.is_empty() {
        print("  every call on the first of these sessions:")?;
    }
    for call in &audit.evidence {
        let [from, to] = [call.invoked, call.returned].map(|at| told.site.clock.seconds_at(at));
        let Operation { host, action, outcome, .. } = call;
        print(format_args!("    {from:.4} to {to:.4} s, host {}: {action:?} -> {outcome:?}", host.0))?;
    }
    for error in told.site.meter.errors() {
        print(format_args!("  error: {error}"))?;
    }
    for (call, codes) in told.site.meter.errors_by_call() {
        let codes: Vec<_> = codes.iter().map(|(code, count)| format!("{} {code}", grouped(*count))).collect();
        print(format_args!("  {call}: {}", codes.join(", ")))?;
    }
    if is_fine(options, told, audit) {
        let noticed = if failures == 0 { "nobody noticed" } else { "only calls failed" };
        print(paint(Colour::Green, format_args!("nothing was lost, nothing came back, {noticed}")))
    } else {
        print(paint(Colour::Red, "a promise was broken"))
    }
}

/// The report as one JSON object.
pub(crate) fn as_json(options: &Options, told: &Told, audit: &Audit, tally: &Tally) -> Value {
    let (site, latencies) = (&told.site, &tally.latencies);
    let slowest = [&latencies.otherwise, &latencies.swaps, &latencies.flags].map(Histogram::max);
    let quantile = |histogram: &Histogram<u64>, quantile| histogram.value_at_quantile(quantile);
    let steps = told.steps.iter().map(|step| {
        json!({
            "title": step.title,
            "policy": step.policy,
            "sessions_at": step.routed_to,
            "seconds": (step.seconds * 1e3).round() / 1e3,
            "calls": step.calls,
            "failed_calls": step.failed,
            "unknown_outcomes": step.unknown,
        })
    });
    let mut report = json!({
        "ok": is_fine(options, told, audit),
        "acknowledged": tally.acknowledged,
        "reads": tally.reads,
        "undone_as_allowed": audit.findings.undone_as_allowed,
        "either_order_as_allowed": audit.findings.either_order_as_allowed,
        "row_differences": told.row_differences(),
        "new_keys_left": told.counts.new_keys_left,
        "cache_failures": told.counts.cache_failures,
        "repaired": told.counts.repaired,
        "repairs_abandoned": told.counts.repairs_abandoned,
        "unknown_outcomes": site.meter.unknown_outcomes(),
        "failed_calls": site.meter.failures(),
        "errors_by_call": site.meter.errors_by_call(),
        "calls": site.meter.calls(),
        "calls_per_second": calls_per_second(told).round(),
        "p50_us": quantile(&latencies.otherwise, 0.5),
        "p99_us": quantile(&latencies.otherwise, 0.99),
        "slowest_us": slowest.into_iter().max(),
        "old_layout": options.old_layout.name(),
        "new_layout": options.new_layout.name(),
        "seed": options.seed,
        "sessions": options.sessions,
        "concurrency": options.concurrency,
        "keys": audit.keys,
        "rows": audit.rows,
        "seconds": (told.traffic_seconds * 1e3).round() / 1e3,
        "steps": steps.collect::<Vec<_>>(),
    });
    for kind in Kind::ALL {
        report[kind.name()] = audit.count(kind).into();
    }
    let of_scheme = match &told.scheme {
        Scheme::Flags(flags) => flags_as_json(flags, tally),
        Scheme::Phases(phases) => phases_as_json(phases, tally),
    };
    if let (Value::Object(report), Value::Object(more)) = (&mut report, of_scheme) {
        report.extend(more);
    }
    report
}

fn flags_as_json(flags: &ByFlags, tally: &Tally) -> Value {
    let latencies = &tally.latencies;
    json!({
        "story": "2016",
        "carried_by_use": tally.moved.by_use,
        "ended_by_expiry": tally.moved.by_expiry,
        "ended_by_logout": tally.moved.by_logout,
        "nameless_rows": flags.nameless_rows,
        "swaps": flags.swaps,
        "flag_changes": flags.flag_changes,
        "policies_refused": flags.policies_refused,
        "p50_us_during_swaps": latencies.swaps.value_at_quantile(0.5),
        "p99_us_during_swaps": latencies.swaps.value_at_quantile(0.99),
        "p99_us_during_flag_changes": latencies.flags.value_at_quantile(0.99),
        "calls_during_swaps": latencies.swaps.len(),
    })
}

fn phases_as_json(phases: &ByPhases, tally: &Tally) -> Value {
    json!({
        "story": "fleet",
        "steps_made": phases.steps_made,
        "steps_back": phases.steps_back,
        "steps_forbidden": phases.steps_forbidden,
        "rows_copied": phases.rows_copied,
        "rows_verified": phases.rows_verified,
        "hosts_joined": phases.hosts_joined,
        "hosts_given_up": phases.hosts_given_up,
        "writes_refused": phases.writes_refused,
        "p99_us_during_steps": tally.latencies.flags.value_at_quantile(0.99),
    })
}

impl ByPhases {
    fn figures(&self) -> [(&'static str, u64); 8] {
        [
            ("steps from phase to phase", self.steps_made),
            ("steps back", self.steps_back),
            ("steps that a red guard forbade", self.steps_forbidden),
            ("rows that the last backfill walked", self.rows_copied),
            ("rows that the last verification compared", self.rows_verified),
            ("hosts that joined", self.hosts_joined),
            ("hosts that were given up", self.hosts_given_up),
            ("writes of a forgotten program refused", self.writes_refused),
        ]
    }
}

/// The layouts of the two tables, in words.
fn layouts(options: &Options) -> String {
    let [old, new] = [options.old_layout, options.new_layout].map(|layout| layout.name());
    if old == new {
        format!("both of the layout `{old}`")
    } else {
        format!("the old one of the layout `{old}` and the new one of `{new}`")
    }
}

fn calls_per_second(told: &Told) -> f64 {
    told.site.meter.calls() as f64 / told.traffic_seconds
}

fn table() -> Table {
    let mut table = Table::new();
    table.load_style(STYLE);
    table
}

fn align_right(table: &mut Table, columns: impl IntoIterator<Item = usize>) {
    for column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// `1234567` as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let mut text = digits[..first].to_owned();
    for group in digits.as_bytes()[first..].chunks(3) {
        if !text.is_empty() {
            text.push(',');
        }
        text.extend(group.iter().map(|digit| char::from(*digit)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn digits_are_grouped_by_three() {
        let numbers = [0, 12, 123, 1_234, 123_456, 1_234_567].map(grouped);
        assert_eq!(numbers, ["0", "12", "123", "1,234", "123,456", "1,234,567"]);
    }
}
