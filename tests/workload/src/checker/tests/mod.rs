//! Tests the checker with histories whose truth is known: written by hand, and from a simulated store with seeded bugs.

mod fleet;
mod reads;
mod simulation;

use super::*;
use crate::history::{Action, HostId, Outcome};

const SECOND: Micros = 1_000_000;
const FAR: Micros = 1_000 * SECOND;
const KEY: KeyId = KeyId(0);

fn row(version: u32) -> Row {
    Row { version, digest: version, expires_at: FAR }
}

fn call(invoked: Micros, returned: Micros, action: Action, outcome: Outcome) -> Operation {
    Operation { key: KEY, host: HostId(0), invoked, returned, action, outcome }
}

fn created() -> Operation {
    call(10, 20, Action::Create(row(1)), Outcome::Done)
}

fn kinds(operations: &[Operation]) -> Vec<Kind> {
    kinds_by(operations, &Promises::default())
}

fn kinds_by(operations: &[Operation], promises: &Promises) -> Vec<Kind> {
    let findings = History::new(operations.to_vec()).check(promises, &[]);
    findings.faults.iter().map(|fault| fault.kind).collect()
}

fn end_kind(operations: &[Operation], row: Option<Row>, at: Micros) -> Option<Kind> {
    let window = Window { from: at, to: at, expired_by: at };
    let rows = row.into_iter().map(|row| (KEY, row)).collect();
    let findings = History::new(operations.to_vec()).check(&Promises::default(), &[Left { rows: &rows, window }]);
    findings.faults.first().map(|fault| fault.kind)
}

#[test]
fn quiet_history_is_accepted() {
    let history = [
        created(),
        call(30, 40, Action::Load, Outcome::Found(row(1))),
        call(50, 60, Action::Save(row(2)), Outcome::Done),
        call(70, 80, Action::Load, Outcome::Found(row(2))),
        call(90, 95, Action::Exists, Outcome::Done),
        call(100, 110, Action::Delete, Outcome::Done),
        call(120, 130, Action::Load, Outcome::Absent),
        call(140, 150, Action::Save(row(3)), Outcome::Absent),
        call(160, 170, Action::Delete, Outcome::Absent),
    ];
    assert_eq!(kinds(&history), []);
    assert_eq!(end_kind(&history, None, 200), None);
}

#[test]
fn overlapping_calls_count_both_ways() {
    let history = |first, second, third| {
        [
            created(),
            call(30, 100, Action::Save(row(2)), Outcome::Done),
            call(40, 50, Action::Load, Outcome::Found(row(first))),
            call(60, 70, Action::Load, Outcome::Found(row(second))),
            call(100, 120, Action::Load, Outcome::Found(row(third))),
        ]
    };
    for (first, second, third) in [(1, 1, 1), (1, 1, 2), (1, 2, 2), (2, 2, 2)] {
        assert_eq!(kinds(&history(first, second, third)), [], "{first} {second} {third}");
    }
    let deleting = [
        created(),
        call(30, 100, Action::Delete, Outcome::Done),
        call(40, 50, Action::Load, Outcome::Found(row(1))),
        call(60, 70, Action::Load, Outcome::Absent),
        call(60, 110, Action::Save(row(2)), Outcome::Done),
    ];
    assert_eq!(kinds(&deleting), []);
}

#[test]
fn read_of_what_was_replaced_is_stale() {
    let save = call(30, 40, Action::Save(row(2)), Outcome::Done);
    assert_eq!(kinds(&[created(), save, call(41, 50, Action::Load, Outcome::Found(row(1)))]), [Kind::StaleRead]);
}

#[test]
fn read_of_what_was_deleted_is_back_after_logout() {
    let delete = call(30, 40, Action::Delete, Outcome::Done);
    for back in [
        call(41, 50, Action::Load, Outcome::Found(row(1))),
        call(41, 50, Action::Exists, Outcome::Done),
        call(41, 50, Action::Save(row(2)), Outcome::Done),
        call(41, 50, Action::Touch(FAR), Outcome::Done),
        call(41, 50, Action::Delete, Outcome::Done),
        call(41, 50, Action::CycleAway, Outcome::Done),
    ] {
        assert_eq!(kinds(&[created(), delete, back]), [Kind::BackAfterLogout], "{back:?}");
    }
    let nothing_there = call(30, 40, Action::Delete, Outcome::Absent);
    let found = call(41, 50, Action::Load, Outcome::Found(row(1)));
    assert_eq!(kinds(&[created(), nothing_there, found]), [Kind::ToldGone, Kind::BackAfterLogout]);
}

#[test]
fn living_session_is_never_reported_gone() {
    for action in
        [Action::Load, Action::Save(row(2)), Action::Touch(FAR), Action::Delete, Action::Exists, Action::CycleAway]
    {
        assert_eq!(kinds(&[created(), call(30, 40, action, Outcome::Absent)]), [Kind::ToldGone], "{action:?}");
        assert_eq!(kinds(&[created(), call(15, 40, action, Outcome::Absent)]), [], "{action:?}");
    }
}

#[test]
fn what_nobody_wrote_is_a_phantom() {
    let other_digest = Row { digest: 9, ..row(1) };
    for phantom in [row(7), row(Row::UNREADABLE), other_digest] {
        assert_eq!(kinds(&[created(), call(30, 40, Action::Load, Outcome::Found(phantom))]), [Kind::Phantom]);
    }
    let later = call(70, 80, Action::Save(row(2)), Outcome::Done);
    assert_eq!(kinds(&[created(), call(50, 60, Action::Load, Outcome::Found(row(2))), later]), [Kind::Phantom]);
}

#[test]
fn unknown_write_takes_effect_at_any_later_time_but_once() {
    let unknown = call(30, 40, Action::Save(row(2)), Outcome::Unknown);
    let found = |at, version| call(at, at + 5, Action::Load, Outcome::Found(row(version)));
    let save = call(60, 70, Action::Save(row(3)), Outcome::Done);
    assert_eq!(kinds(&[created(), unknown, found(50, 1), found(80, 1)]), []);
    assert_eq!(kinds(&[created(), unknown, found(50, 1), found(80, 2)]), []);
    assert_eq!(kinds(&[created(), unknown, found(50, 1), save, found(80, 3), found(90, 2)]), []);
    assert_eq!(kinds(&[created(), unknown, found(50, 2), save, found(80, 3), found(90, 2)]), [Kind::StaleRead]);
}

#[test]
fn unknown_delete_counts_both_ways() {
    let unknown = call(30, 40, Action::Delete, Outcome::Unknown);
    for outcome in [Outcome::Absent, Outcome::Found(row(1))] {
        assert_eq!(kinds(&[created(), unknown, call(50, 60, Action::Load, outcome)]), []);
    }
    assert_eq!(end_kind(&[created(), unknown], None, 100), None);
    assert_eq!(end_kind(&[created(), unknown], Some(row(1)), 100), None);
}

#[test]
fn expiry_is_known_with_a_margin() {
    let short = Row { expires_at: 5 * SECOND, ..row(1) };
    let create = call(10, 20, Action::Create(short), Outcome::Done);
    let load = |at, outcome| kinds(&[create, call(at, at, Action::Load, outcome)]);
    assert_eq!(load(3 * SECOND, Outcome::Absent), [Kind::ToldGone]);
    assert_eq!(load(4 * SECOND + 1, Outcome::Absent), []);
    assert_eq!(load(6 * SECOND, Outcome::Found(short)), []);
    assert_eq!(load(6 * SECOND + 1, Outcome::Found(short)), [Kind::ServedExpired]);
    assert_eq!(end_kind(&[create], None, 9 * SECOND), None);
    assert_eq!(end_kind(&[create], Some(short), 9 * SECOND), None, "an expired row may wait for the cleaner");
}

#[test]
fn touch_moves_the_expiry_and_never_shortens_it() {
    let early = Row { expires_at: 5 * SECOND, ..row(1) };
    let late = Row { expires_at: 50 * SECOND, ..row(1) };
    let create = call(10, 20, Action::Create(early), Outcome::Done);
    let touch = call(30, 40, Action::Touch(50 * SECOND), Outcome::Done);
    let shorter = call(50, 60, Action::Touch(2 * SECOND), Outcome::Done);
    let found = |row| call(70, 80, Action::Load, Outcome::Found(row));
    assert_eq!(kinds(&[create, touch, shorter, found(late)]), []);
    assert_eq!(kinds(&[create, touch, shorter, found(early)]), [Kind::StaleRead]);
    let shortened = Row { expires_at: 2 * SECOND, ..row(1) };
    assert_eq!(kinds(&[create, touch, shorter, found(shortened)]), [Kind::StaleRead]);
    assert_eq!(end_kind(&[create, touch], Some(early), 100), Some(Kind::LostWrite));
    assert_eq!(
        kinds(&[create, touch, call(20 * SECOND, 20 * SECOND, Action::Load, Outcome::Absent)]),
        [Kind::ToldGone]
    );
    let save = call(62, 64, Action::Save(Row { expires_at: 3 * SECOND, ..row(2) }), Outcome::Done);
    assert_eq!(kinds(&[create, touch, save, found(Row { expires_at: 3 * SECOND, ..row(2) })]), []);
    assert_eq!(kinds(&[create, touch, save, found(Row { expires_at: 50 * SECOND, ..row(2) })]), [Kind::UnaskedEnd]);
}

#[test]
fn cycled_key_holds_what_the_old_one_held() {
    let new = KeyId(1);
    let cycled = [
        created(),
        call(30, 40, Action::Save(row(2)), Outcome::Done),
        call(45, 70, Action::Save(row(3)), Outcome::Done),
        call(50, 60, Action::CycleAway, Outcome::Done),
        Operation { key: new, ..call(50, 60, Action::CycleFrom(KEY), Outcome::Done) },
    ];
    let with = |loads: &[(KeyId, Outcome)]| {
        let loads = loads
            .iter()
            .zip(80..)
            .map(|((key, outcome), at)| Operation { key: *key, ..call(at, at, Action::Load, *outcome) });
        kinds(&cycled.into_iter().chain(loads).collect::<Vec<_>>())
    };
    assert_eq!(with(&[(KEY, Outcome::Absent), (new, Outcome::Found(row(2)))]), []);
    assert_eq!(with(&[(new, Outcome::Found(row(3))), (new, Outcome::Found(row(3)))]), []);
    assert_eq!(with(&[(new, Outcome::Found(row(3))), (new, Outcome::Found(row(2)))]), [Kind::WentBack]);
    assert_eq!(with(&[(new, Outcome::Found(row(1)))]), [Kind::StaleCycle]);
    assert_eq!(with(&[(new, Outcome::Absent)]), [Kind::ToldGone]);
    assert_eq!(with(&[(KEY, Outcome::Found(row(2)))]), [Kind::OldKeyFound]);
    let mut incomplete = cycled;
    incomplete[3].outcome = Outcome::Unknown;
    let load = |outcome| call(80, 81, Action::Load, outcome);
    for outcome in [Outcome::Absent, Outcome::Found(row(3))] {
        assert_eq!(kinds(&incomplete.into_iter().chain([load(outcome)]).collect::<Vec<_>>()), []);
    }
}

#[test]
fn databases_at_the_end_are_compared_with_the_history() {
    let saved = [created(), call(30, 40, Action::Save(row(2)), Outcome::Done)];
    assert_eq!(end_kind(&saved, Some(row(2)), 100), None);
    assert_eq!(end_kind(&saved, Some(row(1)), 100), Some(Kind::LostWrite));
    assert_eq!(end_kind(&saved, None, 100), Some(Kind::LostWrite));
    assert_eq!(end_kind(&saved, Some(row(9)), 100), Some(Kind::Phantom));
    assert_eq!(end_kind(&saved, Some(row(1)), 35), None, "a database that was left while the save was under way");
    let deleted = [created(), call(30, 40, Action::Delete, Outcome::Done)];
    assert_eq!(end_kind(&deleted, Some(row(1)), 100), Some(Kind::BackAfterLogout));
    assert_eq!(end_kind(&deleted, None, 100), None);
}
