//! The protocol keeps its promises in every state of a bounded size, and breaks some if any one of its rules is left
//! out.

mod pinned;

use switchover_model::case::Case;
use switchover_model::cases;
use switchover_model::check::{Outcome, Search, search, shortest_of};
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
    pinned::assert_traces("traces", &cases::all());
}

#[test]
fn page_shows_what_happens_without_each_rule() {
    let all = cases::all();
    let diagrams = all.iter().map(|case| (case.name, diagram_of(case))).collect();
    pinned::assert_page("protocol-counterexamples.md", diagrams);
}

fn diagram_of(case: &Case<Migration>) -> String {
    let promise = case.breaks[0];
    let steps = shortest_of(&case.model, promise).expect("every case breaks its promises");
    diagram::render(&case.model, &steps, promise)
}

#[test]
fn no_trace_is_pinned_that_no_case_has() {
    pinned::assert_no_other_trace("traces", &cases::all());
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
