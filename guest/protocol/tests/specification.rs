//! The table of edges in `docs/protocol.md` is the one of this crate.

use std::fs;
use std::path::Path;

use switchover_protocol::{Edge, Effect, Profile, edges};

/// A row of the page: the edges, the guards, and what entering does.
struct Row {
    edges: String,
    guards: Vec<String>,
    entering: String,
}

fn rows() -> Vec<Row> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/protocol.md");
    let page = fs::read_to_string(page).expect("the page is there");
    let (_, table) =
        page.split_once("| edge | guards | entering |\n| --- | --- | --- |\n").expect("the page has the table");
    let lines = table.lines().take_while(|line| line.starts_with('|'));
    lines.map(row).collect()
}

fn row(line: &str) -> Row {
    let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
    let [edges, guards, entering] = cells[..] else { panic!("three cells: {line}") };
    let guards = guards.split(", ").filter(|guard| !guard.is_empty()).map(|guard| guard.trim_matches('`').to_owned());
    Row { edges: edges.to_owned(), guards: guards.collect(), entering: entering.to_owned() }
}

impl Row {
    fn is_of(&self, profile: Profile, edge: &Edge) -> bool {
        let is_of_profile = !self.edges.contains("profile") || self.edges.ends_with(&format!("profile `{profile}`"));
        is_of_profile && self.edges.contains(&format!("`{} → {}`", edge.from, edge.to))
    }
}

fn entering(effect: Effect) -> &'static str {
    match effect {
        Effect::Nothing => "",
        Effect::Settles => "`settled` becomes *e + 1*",
        Effect::Forgets => "`settled` and `verified` become `NULL`",
        Effect::EmptiesNew => "new is emptied before",
    }
}

#[test]
fn every_edge_stands_in_the_specification_with_its_guards_and_its_effect() {
    let rows = rows();
    for profile in Profile::ALL {
        for edge in edges(profile) {
            let of_edge: Vec<_> = rows.iter().filter(|row| row.is_of(profile, edge)).collect();
            let [row] = of_edge[..] else { panic!("{} rows for {edge:?}", of_edge.len()) };
            let guards: Vec<_> = edge.guards.iter().map(|guard| guard.as_str()).collect();
            assert_eq!(row.guards, guards, "{edge:?}");
            assert_eq!(row.entering, entering(edge.effect), "{edge:?}");
        }
    }
}

#[test]
fn specification_has_no_other_edge() {
    for row in rows() {
        for text in row.edges.split('`').filter(|text| text.contains('→')) {
            let is_edge = |edge: &Edge| format!("{} → {}", edge.from, edge.to) == text;
            assert!(Profile::ALL.into_iter().flat_map(edges).any(is_edge), "{text}");
        }
    }
}
