//! The expressions of alerts and of the dashboard, against the metrics that hosts and servers publish.

use serde_json::Value;
use switchover::metrics::{ALL, Kind, Metric};
use switchover_server::METRICS;

/// Labels that Prometheus adds to every series, or to the buckets of a histogram.
const OF_PROMETHEUS: [&str; 3] = ["instance", "job", "le"];

/// A rule of `alerts.yml`.
#[derive(Debug, Default)]
pub(crate) struct Alert {
    pub(crate) expression: String,
    pub(crate) summary: String,
    pub(crate) runbook: String,
}

/// The rules of a file in which each field has a line of its own.
pub(crate) fn alerts(file: &str) -> Vec<Alert> {
    let mut alerts = Vec::new();
    for line in file.lines().map(str::trim) {
        let Some((field, value)) = line.split_once(": ") else { continue };
        let value = value.trim_matches('"').to_owned();
        match (field, alerts.last_mut()) {
            ("- alert", _) => alerts.push(Alert::default()),
            ("expr", Some(alert)) => alert.expression = value,
            ("summary", Some(alert)) => alert.summary = value,
            ("runbook", Some(alert)) => alert.runbook = value,
            _ => {}
        }
    }
    alerts
}

/// Every `expr` of a dashboard.
pub(crate) fn expressions(dashboard: &Value) -> Vec<String> {
    match dashboard {
        Value::Object(fields) => {
            let own = fields.get("expr").and_then(Value::as_str).map(str::to_owned);
            own.into_iter().chain(fields.values().flat_map(expressions)).collect()
        }
        Value::Array(values) => values.iter().flat_map(expressions).collect(),
        _ => Vec::new(),
    }
}

/// What a page shows as code in the last column of a table.
pub(crate) fn of_page(page: &str) -> Vec<String> {
    let (_, table) = page.split_once("| question | expression |").unwrap();
    let code = table.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    code.filter(|code| code.contains("switchover_")).map(str::to_owned).collect()
}

/// What is wrong with an expression: a metric, a label or a value that no host publishes.
pub(crate) fn problem(expression: &str) -> Option<String> {
    let mut asked = Vec::new();
    for (start, _) in expression.match_indices("switchover_") {
        let rest = &expression[start..];
        let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        let Some(metric) = metric(name) else { return Some(format!("no metric {name}")) };
        asked.push(metric);
        let Some((matchers, _)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) else { continue };
        for matcher in matchers.split(", ") {
            let end = matcher.find(['=', '!']).unwrap();
            let (label, value) = matcher.split_at(end);
            if OF_PROMETHEUS.contains(&label) {
                continue;
            }
            let Some((_, known)) = metric.labels.iter().find(|(name, _)| *name == label) else {
                return Some(format!("{name} has no label {label}"));
            };
            let values = value.trim_start_matches(['=', '!', '~']).trim_matches('"');
            if let Some(unknown) = values.split('|').find(|value| !known.contains(value)) {
                return Some(format!("{label} of {name} is never {unknown}"));
            }
        }
    }
    for grouped in expression.split(" by (").skip(1) {
        let (labels, _) = grouped.split_once(')').unwrap();
        let is_known = |label: &&str| {
            OF_PROMETHEUS.contains(label)
                || asked.iter().any(|metric| metric.labels.iter().any(|(name, _)| name == label))
        };
        if let Some(unknown) = labels.split(", ").find(|label| !is_known(label)) {
            return Some(format!("no metric of it has the label {unknown}"));
        }
    }
    if asked.is_empty() { Some("it asks for no metric".to_owned()) } else { None }
}

/// The metric of a series. Prometheus has a histogram as three series.
fn metric(series: &str) -> Option<&'static Metric> {
    ALL.iter().chain(METRICS).find(|metric| match metric.kind {
        Kind::Seconds => ["_bucket", "_count", "_sum"].iter().any(|end| series.strip_suffix(end) == Some(metric.name)),
        Kind::Counter | Kind::Gauge => metric.name == series,
    })
}
