//! The protocol keeps its promises in every state of a bounded size, and breaks some if any one of its rules is left
//! out.

use std::collections::BTreeMap;
use std::path::Path;
use std::{env, fs};

use switchover_model::case::Case;
use switchover_model::cases;
use switchover_model::check::{Outcome, Search, pinned, search, shortest};
use switchover_model::diagram;
use switchover_model::migration::Migration;
use switchover_model::rules::{Rules, Size};
use switchover_model::searched::Promise as _;
use switchover_model::table::Table;
use switchover_model::weaken;
use switchover_protocol::{Guard, Operation, Phase, Profile, Side, edges, plan, route};

fn explore(profile: Profile, size: Size) -> Outcome<Migration> {
    let model = Migration { table: Table::shipped(), rules: Rules::of(profile), size };
    search(&model, Search::WHOLE, |_, _, _| {})
}

#[track_caller]
fn assert_holds(outcome: &Outcome<Migration>) {
    let broken: Vec<_> = outcome.broken.iter().map(|(promise, _)| promise.promise()).collect();
    assert!(
        broken.is_empty(),
        "broken: {broken:?}; `cargo run --release -p switchover-model` with this size shows the trace"
    );
    assert!(outcome.is_whole);
    assert_eq!(outcome.missed, Vec::<&str>::new(), "a model in which nothing happens proves nothing");
}

#[test]
fn table_of_the_model_is_the_protocols_own() {
    let table = Table::shipped();
    for phase in Phase::ALL {
        for profile in Profile::ALL {
            for operation in Operation::ALL {
                assert_eq!(table.plan(phase, profile, operation).copied(), plan(phase, profile, operation));
            }
            assert_eq!(table.route(phase, profile), route(phase, profile));
        }
    }
}

#[test]
fn forwards_with_a_failure_and_a_crash() {
    assert_holds(&explore(Profile::Backfill, Size { crashes: 1, failures: 1, ..Size::CALM }));
}

#[test]
fn forwards_and_back_again() {
    assert_holds(&explore(Profile::Backfill, Size { transitions: 9, rollbacks: 4, touch: true, ..Size::CALM }));
}

#[test]
fn late_statements_lost_locks_and_evictions() {
    assert_holds(&explore(Profile::Backfill, Size { lates: 1, lost_locks: 1, evictions: 1, ..Size::CALM }));
}

#[test]
fn back_again_with_a_late_statement_and_a_lost_lock() {
    let size = Size { lates: 1, lost_locks: 1, transitions: 8, rollbacks: 2, ..Size::CALM };
    assert_holds(&explore(Profile::Backfill, size));
}

#[test]
fn three_hosts() {
    assert_holds(&explore(Profile::Backfill, Size { hosts: 3, failures: 1, ..Size::CALM }));
}

#[test]
fn with_a_cache() {
    assert_holds(&explore(Profile::Backfill, Size { cache: true, loads: 1, failures: 1, ..Size::CALM }));
}

#[test]
fn lazy_forwards_and_back_again() {
    let size = Size { loads: 1, crashes: 1, failures: 1, transitions: 7, rollbacks: 1, ..Size::CALM };
    assert_holds(&explore(Profile::Lazy, size));
}

#[test]
fn lazy_with_late_statements_lost_locks_and_evictions() {
    assert_holds(&explore(Profile::Lazy, Size { loads: 1, lates: 1, lost_locks: 1, evictions: 1, ..Size::CALM }));
}

#[test]
fn every_rule_left_out_and_every_published_scheme_breaks_its_promises() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("traces");
    let updates = env::var_os("UPDATE_GOLDENFILES").is_some_and(|value| value == "1");
    let mut differing = Vec::new();
    for case in cases::all() {
        let text = match pinned(&case) {
            Ok(text) => text,
            Err(kept) => panic!("{} no longer breaks: {kept:?}", case.name),
        };
        let path = folder.join(format!("{}.trace", case.name));
        if updates {
            fs::write(&path, &text).unwrap();
        } else if fs::read_to_string(&path).ok().as_deref() != Some(&text) {
            differing.push(case.name);
        }
    }
    assert!(differing.is_empty(), "these traces differ, UPDATE_GOLDENFILES=1 pins them: {differing:?}");
}

/// The page has the shortest run of each case, for its first promise, after a marker that names the case. If two cases
/// have the same run, the marker names both: `<!-- a, b -->`.
#[test]
fn page_shows_what_happens_without_each_rule() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/protocol-counterexamples.md");
    let page = fs::read_to_string(&path).unwrap();
    let updated = with_diagrams(&page);
    if env::var_os("UPDATE_GOLDENFILES").is_some_and(|value| value == "1") {
        fs::write(&path, updated).unwrap();
    } else {
        assert!(page == updated, "the page shows other runs than the model finds: UPDATE_GOLDENFILES=1 rewrites them");
    }
}

/// The page with the diagrams that the model finds.
fn with_diagrams(page: &str) -> String {
    let mut left: BTreeMap<_, _> = cases::all().iter().map(|case| (case.name, diagram_of(case))).collect();
    let mut shown: Vec<String> = Vec::new();
    let mut parts = page.split("<!-- ");
    let mut updated = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (names, rest) = part.split_once(" -->\n").expect("a marker ends its line");
        if names == "end" {
            updated += &format!("<!-- end -->\n{rest}");
            continue;
        }
        let mut diagrams: Vec<_> = names
            .split(", ")
            .map(|name| left.remove(name).unwrap_or_else(|| panic!("no case, or twice: {name}")))
            .collect();
        diagrams.dedup();
        let [diagram] = &diagrams[..] else { panic!("they differ: give each of `{names}` a diagram of its own") };
        assert!(!shown.contains(diagram), "`{names}`: the same is shown above, name both there");
        updated += &format!("<!-- {names} -->\n```mermaid\n{diagram}```\n");
        shown.push(diagram.clone());
    }
    assert!(left.is_empty(), "the page has no marker for {:?}", left.keys());
    updated
}

fn diagram_of(case: &Case<Migration>) -> String {
    let runs = shortest(case).expect("every case breaks its promises");
    let (promise, steps) = &runs[0];
    diagram::render(&case.model, steps, *promise)
}

#[test]
fn no_trace_is_pinned_that_no_case_has() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("traces");
    let known: Vec<_> = cases::all().iter().map(|case| format!("{}.trace", case.name)).collect();
    for entry in fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(known.contains(&name), "{name} belongs to no case: remove it");
    }
}

#[test]
fn rules_that_another_one_covers_break_nothing_alone() {
    for case in cases::redundant() {
        let outcome = search(&case.model, Search::WHOLE, |_, _, _| {});
        assert!(outcome.broken.is_empty() && outcome.is_whole, "{} is needed after all", case.name);
    }
}

#[test]
fn every_hard_guard_that_the_model_can_see_breaks_something_when_it_is_left_out() {
    let sees = |profile, guard| match guard {
        // In the model a migration has already begun.
        Guard::SideTables | Guard::LosslessSchema | Guard::PredecessorClosed => false,
        // In `lazy` only suspect keys are marked at old, and these are not modelled.
        Guard::NoMarks(Side::Old) => profile == Profile::Backfill,
        Guard::NoMarks(Side::New) | Guard::Settled | Guard::Verified | Guard::LivingAtNew => true,
        Guard::Backfilled => unreachable!("it is advice"),
    };
    for profile in Profile::ALL {
        let hard = edges(profile).iter().flat_map(|edge| edge.guards).filter(|guard| guard.is_hard());
        for guard in hard.filter(|guard| sees(profile, **guard)) {
            let rules = Rules { without: std::slice::from_ref(guard), ..Rules::of(profile) };
            let size = Size { transitions: 8, rollbacks: 2, ..Size::CALM };
            let outcome = search(&Migration { table: Table::shipped(), rules, size }, Search::WHOLE, |_, _, _| {});
            assert!(!outcome.broken.is_empty(), "profile {profile} needs no guard {guard}");
        }
    }
}

#[test]
fn symmetry_of_hosts_hides_no_violation() {
    let how = Search { symmetry: true, goes_on: true, ..Search::WHOLE };
    for case in cases::all() {
        let outcome = search(&case.model, Search { generated_max: Some(20_000_000), ..how }, |_, _, _| {});
        assert!(finds_all(&case, &outcome), "{}: {:?} with symmetry", case.name, words(&outcome));
    }
}

#[test]
fn symmetry_of_hosts_makes_a_run_smaller() {
    let size = Size { hosts: 3, ..Size::CALM };
    let model = Migration { table: Table::shipped(), rules: Rules::of(Profile::Backfill), size };
    let all = search(&model, Search::WHOLE, |_, _, _| {});
    let fewer = search(&model, Search { symmetry: true, ..Search::WHOLE }, |_, _, _| {});
    assert_holds(&fewer);
    assert!(fewer.states * 2 < all.states, "{} of {}", fewer.states, all.states);
}

fn finds_all(case: &Case<Migration>, outcome: &Outcome<Migration>) -> bool {
    case.breaks.iter().all(|promise| outcome.broken.iter().any(|(found, _)| found == promise))
}

fn words(outcome: &Outcome<Migration>) -> Vec<&'static str> {
    outcome.broken.iter().map(|(promise, _)| promise.word()).collect()
}

/// `cargo run --release -p switchover-model -- mutate` tries all of them.
#[test]
fn sample_of_weakened_arms_breaks_a_promise_or_is_known_as_harmless() {
    const EVERY: usize = 11;
    for weakening in weaken::all().into_iter().step_by(EVERY) {
        let outcome = search(&weakening.model(), Search::WHOLE, |_, _, _| {});
        let is_harmless = weakening.harmless().is_some();
        assert_eq!(outcome.broken.is_empty(), is_harmless, "{}: {:?}", weakening.name(), words(&outcome));
    }
}
