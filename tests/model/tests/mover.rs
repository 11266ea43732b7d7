//! A move keeps its promises in every state of a bounded size, and breaks some if any one of its rules is left out.

mod pinned;

use std::fs;
use std::path::Path;

use switchover_model::case::Case;
use switchover_model::check::{Outcome, Search, search, shortest_of};
use switchover_model::mover::kept::{Kept, Move, Size};
use switchover_model::mover::rules::{Edge, Form, Guard, Stage, edges};
use switchover_model::mover::{cases, diagram};
use switchover_model::searched::Promise as _;

/// A way back takes the lease twice.
const BACK: Size = Size { reverse: true, takes: 2, ..Size::CALM };
const TABLES: [Form; 3] = [Form::Rename, Form::Bridge, Form::Seal];

fn explore(form: Form, size: Size, how: Search) -> Outcome<Move> {
    search(&Move { form, kept: Kept::ALL, size }, how, |_, _, _| {})
}

#[track_caller]
fn assert_holds(forms: &[Form], size: Size, how: Search) {
    for form in forms {
        let outcome = explore(*form, size, how);
        let broken: Vec<_> = outcome.broken.iter().map(|(promise, _)| promise.promise()).collect();
        assert!(broken.is_empty() && outcome.is_whole, "{form:?} in {size:?} breaks {broken:?}");
        assert_eq!(outcome.missed, Vec::<&str>::new(), "a model in which nothing happens proves nothing");
    }
}

#[test]
fn forwards_with_two_copiers_a_crash_and_a_put_without_an_answer() {
    let size = Size { takes: 2, crashes: 1, silences: 1, ..Size::CALM };
    assert_holds(&Form::ALL, size, Search::WHOLE);
}

#[test]
fn forwards_with_a_cut_that_steps_back() {
    assert_holds(&TABLES, Size { writes: 3, takes: 2, backs: 1, ..Size::CALM }, Search::WHOLE);
}

#[test]
fn two_keys() {
    assert_holds(&TABLES, Size { keys: 2, writes: 2, takes: 2, ..Size::CALM }, Search::WHOLE);
}

#[test]
fn keys_that_change_in_place() {
    let how = Search { symmetry: true, ..Search::WHOLE };
    assert_holds(&TABLES, Size { keys: 2, writes: 2, rekeys: 1, takes: 2, ..Size::CALM }, how);
}

#[test]
fn there_and_back_with_a_put_without_an_answer() {
    assert_holds(&TABLES, Size { takes: 3, silences: 1, ..BACK }, Search { symmetry: true, ..Search::WHOLE });
}

#[test]
fn there_and_back_with_a_transaction_of_one_snapshot() {
    assert_holds(&TABLES, Size { snapshots: 1, ..BACK }, Search::WHOLE);
}

#[test]
fn aborted_and_begun_again() {
    assert_holds(&TABLES, Size { again: 1, takes: 2, silences: 1, ..Size::CALM }, Search::WHOLE);
}

#[test]
fn fleet_takes_over_with_two_copiers() {
    assert_holds(&[Form::Fleet], Size { keys: 2, takes: 2, ..Size::CALM }, Search { symmetry: true, ..Search::WHOLE });
}

#[test]
fn every_rule_left_out_breaks_its_promises() {
    pinned::assert_traces("traces-move", &cases::all());
}

#[test]
fn every_case_holds_in_its_size_with_all_rules() {
    for case in cases::all() {
        let model = Move { kept: Kept::ALL, ..case.model };
        let outcome = search(&model, Search { symmetry: true, ..Search::WHOLE }, |_, _, _| {});
        assert!(outcome.broken.is_empty() && outcome.is_whole, "{} breaks with all rules", case.name);
    }
}

#[test]
fn page_shows_what_happens_without_each_rule() {
    let all = cases::all();
    let diagrams = all.iter().map(|case| (case.name, diagram_of(case))).collect();
    pinned::assert_page("protocol-move-counterexamples.md", diagrams);
}

fn diagram_of(case: &Case<Move>) -> String {
    let promise = case.breaks[0];
    let steps = shortest_of(&case.model, promise).expect("every case breaks its promises");
    diagram::render(&case.model, &steps, promise)
}

#[test]
fn no_trace_is_pinned_that_no_case_has() {
    pinned::assert_no_other_trace("traces-move", &cases::all());
}

#[test]
fn rules_that_another_one_covers_break_nothing_alone() {
    for case in cases::redundant() {
        let outcome = search(&case.model, Search::WHOLE, |_, _, _| {});
        assert!(outcome.broken.is_empty() && outcome.is_whole, "{} is needed after all", case.name);
    }
}

#[test]
fn symmetry_of_applications_and_copiers_hides_no_violation() {
    let how = Search { symmetry: true, goes_on: true, ..Search::WHOLE };
    for case in cases::all() {
        let outcome = search(&case.model, how, |_, _, _| {});
        let found: Vec<_> = outcome.broken.iter().map(|(promise, _)| *promise).collect();
        let finds_all = case.breaks.iter().all(|promise| found.contains(promise));
        assert!(finds_all, "{}: {found:?} with symmetry", case.name);
    }
}

/// The rules of the triggers are left out by cases of their own, and the comparison is green in every state.
#[test]
fn every_guard_is_left_out_by_a_case_or_known_as_not_needed() {
    let is_left_out = |stage, guard| cases::all().iter().any(|case| case.model.kept.without.contains(&(stage, guard)));
    for edge in Form::ALL.into_iter().flat_map(edges) {
        for guard in edge.guards {
            let is_known = match (edge.from, guard) {
                (_, Guard::CapturedAtOld | Guard::CapturedAtNew | Guard::Compared) => true,
                (Stage::Prepared | Stage::Copying | Stage::Verified | Stage::Reversible, _) => false,
                (Stage::Capturing | Stage::Cut | Stage::Done | Stage::Aborted, _) => false,
            };
            assert!(is_known || is_left_out(edge.from, *guard), "{:?} at {:?}", guard, edge.from);
        }
    }
}

/// The rows of the page's table of edges: the edges, the guards.
fn rows() -> Vec<(String, Vec<String>)> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/protocol-move.md");
    let page = fs::read_to_string(page).expect("the page is there");
    let (_, table) = page.split_once("| edge | guards |\n| --- | --- |\n").expect("the page has the table");
    let row = |line: &str| {
        let [edges, guards] = line.trim_matches('|').split('|').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let guards = guards.split(',').map(|guard| guard.trim().trim_matches('`').to_owned());
        (edges.trim().to_owned(), guards.filter(|guard| !guard.is_empty()).collect())
    };
    table.lines().take_while(|line| line.starts_with('|')).map(row).collect()
}

fn is_of(edges: &str, form: Form, edge: &Edge) -> bool {
    let is_of_form = match edges.split_once("form `") {
        Some((_, rest)) => rest.starts_with(form.as_str()),
        None => form != Form::Fleet || (edge.from, edge.to) != (Stage::Verified, Stage::Cut),
    };
    is_of_form && edges.contains(&format!("`{} → {}`", edge.from.as_str(), edge.to.as_str()))
}

#[test]
fn every_edge_stands_in_the_specification_with_its_guards() {
    let rows = rows();
    for form in Form::ALL {
        for edge in edges(form) {
            let of_edge: Vec<_> = rows.iter().filter(|(edges, _)| is_of(edges, form, edge)).collect();
            let [(_, written)] = of_edge[..] else { panic!("{} rows for {edge:?} of {form:?}", of_edge.len()) };
            let guards: Vec<_> = edge.guards.iter().map(|guard| guard.as_str()).collect();
            assert_eq!(*written, guards, "{edge:?} of {form:?}");
        }
    }
}

#[test]
fn specification_has_no_other_edge() {
    for (written, _) in rows() {
        for text in written.split('`').filter(|text| text.contains('→')) {
            let is_edge = |edge: &Edge| format!("{} → {}", edge.from.as_str(), edge.to.as_str()) == text;
            assert!(Form::ALL.into_iter().flat_map(edges).any(is_edge), "{text}");
        }
    }
}
