//! Checks the pages: their links, the book's list of them, the code that they show, and what monitoring is told.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod docs {
    pub(crate) mod code;
    pub(crate) mod links;
    pub(crate) mod monitoring;
    pub(crate) mod pages;
}

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use docs::{code, links, monitoring, pages};

/// Pages whose first Rust block is the whole of an example, but for the head of its file.
const EXAMPLES: [(&str, &str); 2] = [
    ("docs/embed.md", "host/switchover/examples/embed.rs"),
    ("docs/tutorial-axum.md", "host/clients/tower-sessions/examples/visits.rs"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

#[test]
fn every_link_leads_somewhere() {
    let root = root();
    let mut wrong = Vec::new();
    for page in pages::all(&root) {
        let folder = page.parent().unwrap();
        for link in links::of(&fs::read_to_string(&page).unwrap()) {
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if path.is_empty() { page.clone() } else { folder.join(path) };
            let is_there = if anchor.is_empty() {
                target.exists()
            } else {
                fs::read_to_string(&target).is_ok_and(|text| links::anchors(&text).contains(anchor))
            };
            if !is_there {
                wrong.push(format!("{}: {link}", page.strip_prefix(&root).unwrap().display()));
            }
        }
    }
    assert!(wrong.is_empty(), "these links lead nowhere:\n{}", wrong.join("\n"));
}

#[test]
fn every_page_is_in_the_book_once() {
    let docs = root().join("docs");
    let listed = links::of(&fs::read_to_string(docs.join("SUMMARY.md")).unwrap());
    let once: BTreeSet<_> = listed.iter().map(|link| docs.join(link)).collect();
    assert_eq!(once.len(), listed.len(), "docs/SUMMARY.md lists a page twice");
    let there = pages::below(&docs).into_iter().filter(|page| !page.ends_with("SUMMARY.md")).collect();
    assert_eq!(once, there, "the pages of docs/SUMMARY.md, and those of docs/");
}

#[test]
fn code_of_the_pages_is_code_that_is_compiled() {
    let root = root();
    for (page, example) in EXAMPLES {
        let shown = code::blocks(&fs::read_to_string(root.join(page)).unwrap());
        let text = fs::read_to_string(root.join(example)).unwrap();
        assert_eq!(shown.first().unwrap(), code::without_head(&text), "the first block of {page} is {example}");
    }
    for readme in pages::of_crates(&root) {
        let library = readme.with_file_name("src").join("lib.rs");
        for block in code::blocks(&fs::read_to_string(&readme).unwrap()) {
            let tested = code::doctests(&fs::read_to_string(&library).unwrap());
            assert!(tested.contains(&block), "{}: no example of {} is\n{block}", readme.display(), library.display());
        }
    }
}

#[test]
fn alerts_and_dashboard_ask_for_metrics_that_exist() {
    let root = root();
    let alerts = monitoring::alerts(&fs::read_to_string(root.join("docs/monitoring/alerts.yml")).unwrap());
    assert!(alerts.len() > 10, "{alerts:?}");
    for alert in &alerts {
        assert_eq!(monitoring::problem(&alert.expression), None, "{alert:?}");
        assert!(!alert.summary.is_empty(), "{alert:?}");
        let (page, anchor) = alert.runbook.split_once('#').unwrap_or_else(|| panic!("no heading: {alert:?}"));
        let text = fs::read_to_string(root.join(page)).unwrap_or_else(|error| panic!("{error}: {alert:?}"));
        assert!(links::anchors(&text).contains(anchor), "no such heading: {alert:?}");
    }
    let dashboard = fs::read_to_string(root.join("docs/monitoring/dashboard.json")).unwrap();
    let expressions = monitoring::expressions(&serde_json::from_str(&dashboard).unwrap());
    assert!(expressions.len() > 20, "{expressions:?}");
    for expression in &expressions {
        assert_eq!(monitoring::problem(expression), None, "{expression}");
    }
    let metrics = fs::read_to_string(root.join("docs/metrics.md")).unwrap();
    for expression in monitoring::of_page(&metrics) {
        assert_eq!(monitoring::problem(&expression), None, "docs/metrics.md: {expression}");
    }
    let shown = expressions.join("\n");
    for metric in switchover::metrics::ALL {
        assert!(shown.contains(metric.name), "the dashboard does not show {}", metric.name);
    }
}

#[test]
fn what_does_not_exist_is_found() {
    for (expression, problem) in [
        ("rate(switchover_calls[5m])", "no metric switchover_calls"),
        ("switchover_ready{call=\"load\"}", "switchover_ready has no label call"),
        ("switchover_calls_total{outcome=\"lost\"}", "outcome of switchover_calls_total is never lost"),
        ("switchover_calls_total{outcome=~\"failed|lost\"}", "outcome of switchover_calls_total is never lost"),
        ("sum by (job, phase) (switchover_ready)", "no metric of it has the label phase"),
        ("switchover_call_duration_seconds > 1", "no metric switchover_call_duration_seconds"),
    ] {
        assert_eq!(monitoring::problem(expression).as_deref(), Some(problem), "{expression}");
    }
    assert_eq!(monitoring::problem("sum by (call, le) (rate(switchover_call_duration_seconds_bucket[5m]))"), None);
    assert_eq!(links::of("a [b](c.md#d) `[e](f)` [g](https://h) ![i](j.png)"), ["c.md#d", "j.png"]);
    assert!(links::anchors("# A `b`, and C: d!\n\n## A `b`, and C: d!\n").contains("a-b-and-c-d-1"));
}
