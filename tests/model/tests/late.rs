//! What it helps that a statement has an end after which its database does not begin it: which rules it replaces, and
//! which stay.

use switchover_model::check::{Search, search};
use switchover_model::migration::Migration;
use switchover_model::rules::{Ends, Fence, Rules, Size};
use switchover_model::table::Table;
use switchover_protocol::Profile;

const LATE: Size = Size { lates: 1, ..Size::CALM };
const RULES: fn() -> Rules = || Rules::of(Profile::Backfill);

fn holds(rules: Rules, size: Size) -> bool {
    let outcome = search(&Migration { table: Table::shipped(), rules, size }, Search::WHOLE, |_, _, _| {});
    assert!(outcome.is_whole || !outcome.broken.is_empty());
    outcome.broken.is_empty()
}

#[test]
fn end_that_nobody_waits_for_replaces_neither_number_nor_fence() {
    let rules = Rules { ends: Ends::Alone, ..RULES() };
    assert!(!holds(Rules { number: false, ..rules }, LATE));
    assert!(!holds(Rules { fence: Fence::AtEviction, ..rules }, LATE));
}

#[test]
fn end_that_its_sender_waits_for_replaces_number_and_fence_while_no_lock_is_lost() {
    let rules = Rules { ends: Ends::AwaitedBySender, ..RULES() };
    assert!(holds(Rules { number: false, ..rules }, LATE));
    assert!(holds(Rules { fence: Fence::AtEviction, ..rules }, LATE));
    assert!(holds(Rules { number: false, fence: Fence::AtEviction, ..rules }, LATE));
}

#[test]
fn number_stays_for_lost_locks_and_for_hosts_that_crash_while_they_wait() {
    let rules = Rules { ends: Ends::AwaitedBySender, number: false, ..RULES() };
    assert!(!holds(rules, Size { lost_locks: 1, ..Size::CALM }));
    assert!(!holds(rules, Size { crashes: 1, ..LATE }));
}

#[test]
fn fence_stays_for_hosts_that_crash_and_are_given_up() {
    let rules = Rules { ends: Ends::AwaitedBySender, ..RULES() };
    assert!(!holds(Rules { fence: Fence::AtEviction, ..rules }, Size { crashes: 1, ..LATE }));
    assert!(!holds(Rules { fence: Fence::Never, ..rules }, Size { evictions: 1, ..Size::CALM }));
}

#[test]
fn all_rules_together_with_an_end_keep_the_promises() {
    for ends in [Ends::Alone, Ends::AwaitedBySender] {
        assert!(holds(Rules { ends, ..RULES() }, Size { crashes: 1, lost_locks: 1, ..LATE }));
    }
}
