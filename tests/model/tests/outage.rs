//! A cache that not every host reaches: each remedy keeps the promises, and the published bound is all that is left
//! where none is chosen.

use switchover_model::check::{Outcome, Search, search};
use switchover_model::migration::Migration;
use switchover_model::outage::{Covers, Outage, Remedy};
use switchover_model::outage_cases::SIZE;
use switchover_model::rules::{Rules, Size};
use switchover_model::searched::Promise as _;
use switchover_model::state::Broken;
use switchover_model::table::Table;
use switchover_protocol::Profile;

const IN_THE_DARK: &str = "a delete is acknowledged although no host reaches the cache";
const REMEDIES: [Remedy; 4] = [Remedy::Raise, Remedy::RaiseAndSuspend, Remedy::Suspend, Remedy::Relay];

fn explore(outage: Outage, size: Size, how: Search) -> Outcome<Migration> {
    let rules = Rules { outage, ..Rules::of(Profile::Backfill) };
    search(&Migration { table: Table::shipped(), rules, size }, how, |_, _, _| {})
}

#[track_caller]
fn assert_holds(outage: Outage, size: Size) {
    let outcome = explore(outage, size, Search::WHOLE);
    let broken: Vec<_> = outcome.broken.iter().map(|(promise, _)| promise.promise()).collect();
    assert!(broken.is_empty() && outcome.is_whole, "{outage:?} breaks {broken:?}");
}

#[test]
fn published_bound_is_all_that_is_broken_without_a_remedy() {
    assert_holds(Outage::BOUND, Size { cuts: 2, crashes: 1, failures: 1, lates: 1, flushes: 1, ..SIZE });
}

#[test]
fn every_remedy_keeps_the_promises_for_every_write() {
    for remedy in [Remedy::Raise, Remedy::Relay] {
        assert_holds(Outage::by(remedy, Covers::Writes), SIZE);
    }
}

#[test]
fn every_remedy_keeps_the_promises_for_deletes() {
    for remedy in REMEDIES {
        assert_holds(Outage::by(remedy, Covers::Deletes), SIZE);
    }
}

#[test]
fn remedies_keep_the_promises_with_a_crash_and_a_flush() {
    let size = Size { crashes: 1, flushes: 1, operations: 1, ..SIZE };
    for remedy in REMEDIES {
        assert_holds(Outage::by(remedy, Covers::Writes), size);
    }
}

/// For deletes alone the bound is left to updates. Here every read that it allows counts as broken.
#[test]
fn remedy_for_deletes_alone_leaves_stale_updates_and_brings_no_session_back() {
    for remedy in REMEDIES {
        let outage = Outage { bound: false, ..Outage::by(remedy, Covers::Deletes) };
        let outcome = explore(outage, SIZE, Search { goes_on: true, ..Search::WHOLE });
        let broken: Vec<_> = outcome.broken.iter().map(|(promise, _)| *promise).collect();
        assert_eq!(broken, [Broken::Stale], "{remedy:?}");
    }
}

#[test]
fn every_remedy_but_the_relay_acknowledges_a_delete_although_no_host_reaches_the_cache() {
    let size = Size { cuts: 2, operations: 1, ..SIZE };
    for remedy in REMEDIES {
        let outcome = explore(Outage::by(remedy, Covers::Deletes), size, Search::WHOLE);
        assert!(outcome.broken.is_empty() && outcome.is_whole, "{remedy:?}");
        assert_eq!(outcome.reached.contains(&IN_THE_DARK), remedy != Remedy::Relay, "{remedy:?}");
    }
}
