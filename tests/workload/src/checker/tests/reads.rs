//! Reads that go back, and reads of values that were never written.

use super::*;

fn found(at: Micros, row: Row) -> Operation {
    call(at, at + 5, Action::Load, Outcome::Found(row))
}

fn absent(at: Micros, action: Action) -> Operation {
    call(at, at + 5, action, Outcome::Absent)
}

fn until(version: u32, expires_at: Micros) -> Row {
    Row { expires_at, ..row(version) }
}

fn allowing_undone(from: Micros, to: Micros) -> Promises {
    let undone = Some(Allowance { from, to, reason: "a mirror is read before home" });
    Promises { undone, ..Promises::default() }
}

#[test]
fn read_never_goes_back_behind_another_read() {
    let save = call(30, 100, Action::Save(row(2)), Outcome::Done);
    let seen = |versions: [u32; 3]| {
        let loads = versions.into_iter().zip([40, 50, 60]).map(|(version, at)| found(at, row(version)));
        kinds(&[created(), save].into_iter().chain(loads).collect::<Vec<_>>())
    };
    for forward in [[1, 1, 1], [1, 1, 2], [1, 2, 2], [2, 2, 2]] {
        assert_eq!(seen(forward), [], "{forward:?}");
    }
    assert_eq!(seen([2, 1, 1]), [Kind::WentBack; 2]);
    assert_eq!(seen([1, 2, 1]), [Kind::WentBack]);
    // A read that went back does not limit other reads.
    assert_eq!(seen([2, 1, 2]), [Kind::WentBack]);
}

#[test]
fn reads_that_overlap_may_see_either() {
    let save = call(30, 100, Action::Save(row(2)), Outcome::Done);
    let long = call(40, 60, Action::Load, Outcome::Found(row(2)));
    for at in [42, 55, 60] {
        assert_eq!(kinds(&[created(), save, long, found(at, row(1))]), [], "{at}");
    }
    assert_eq!(kinds(&[created(), save, long, found(61, row(1))]), [Kind::WentBack]);
}

#[test]
fn of_two_writes_at_once_the_one_that_was_replaced_does_not_come_back() {
    let saves = [2, 3].map(|version| call(30, 40, Action::Save(row(version)), Outcome::Done));
    let seen = |versions: &[u32]| {
        let loads = versions.iter().zip(0..).map(|(version, at)| found(50 + at * 10, row(*version)));
        kinds(&[created(), saves[0], saves[1]].into_iter().chain(loads).collect::<Vec<_>>())
    };
    assert_eq!(seen(&[2, 2]), []);
    assert_eq!(seen(&[3, 3]), []);
    assert_eq!(seen(&[2, 3]), [Kind::WentBack]);
    assert_eq!(seen(&[3, 2]), [Kind::WentBack]);
}

#[test]
fn end_never_goes_back_behind_another_read() {
    let touch = call(30, 100, Action::Touch(FAR + 9), Outcome::Done);
    let (short, long) = (until(1, FAR), until(1, FAR + 9));
    assert_eq!(kinds(&[created(), touch, found(40, short), found(50, long)]), []);
    assert_eq!(kinds(&[created(), touch, found(40, long), found(50, short)]), [Kind::WentBack]);
    let unknown = call(30, 35, Action::Touch(FAR + 9), Outcome::Unknown);
    let undone = [created(), unknown, found(40, long), found(50, short)];
    assert_eq!(kinds(&undone), [Kind::Undone]);
    assert_eq!(kinds_by(&undone, &allowing_undone(30, 30)), []);
}

#[test]
fn unknown_outcome_that_was_read_is_not_undone() {
    let unknown = call(30, 35, Action::Save(row(2)), Outcome::Unknown);
    let undone = [created(), unknown, found(40, row(1)), found(50, row(2)), found(60, row(1)), found(70, row(1))];
    assert_eq!(kinds(&undone), [Kind::Undone; 2]);
    let findings = History::new(undone.to_vec()).check(&allowing_undone(30, 40), &[]);
    assert_eq!((findings.faults, findings.undone_as_allowed), (vec![], 2), "allowed, and counted");
    assert_eq!(kinds_by(&undone, &allowing_undone(31, 40)), [Kind::Undone; 2], "outside the allowed time");
    assert_eq!(end_kind(&[created(), unknown, found(50, row(2))], Some(row(1)), 100), Some(Kind::Undone));
    assert_eq!(end_kind(&[created(), unknown, found(50, row(1))], Some(row(2)), 100), None);
    // The allowance does not excuse an acknowledged write.
    let acknowledged = call(30, 100, Action::Save(row(2)), Outcome::Done);
    let back = [created(), acknowledged, found(50, row(2)), found(60, row(1))];
    assert_eq!(kinds_by(&back, &allowing_undone(0, FAR)), [Kind::WentBack]);
}

#[test]
fn write_in_progress_may_be_seen_in_either_order_where_that_is_allowed() {
    let allowing =
        |from, to| Promises { either_order: vec![Allowance { from, to, reason: "a test" }], ..Promises::default() };
    let save = call(30, 100, Action::Save(row(2)), Outcome::Done);
    let delete = call(30, 100, Action::Delete, Outcome::Done);
    for (kind, first) in
        [(Kind::WentBack, [save, found(50, row(2))]), (Kind::CameBack, [delete, absent(50, Action::Load)])]
    {
        let back = |at| [created(), first[0], first[1], found(at, row(1))];
        assert_eq!(kinds(&back(60)), [kind]);
        assert_eq!(kinds_by(&back(60), &allowing(30, 30)), []);
        assert_eq!(kinds_by(&back(60), &allowing(31, FAR)), [kind], "the write began at another time");
        // What was acknowledged must be seen.
        let late = kinds_by(&back(110), &allowing(0, FAR));
        assert!(late == [Kind::StaleRead] || late == [Kind::BackAfterLogout], "{late:?}");
    }
}

#[test]
fn value_from_before_a_write_in_progress_is_no_limit_where_either_order_is_allowed() {
    let allowing =
        |from, to| Promises { either_order: vec![Allowance { from, to, reason: "a test" }], ..Promises::default() };
    let first = call(30, 60, Action::Save(row(2)), Outcome::Done);
    let second = call(35, 100, Action::Save(row(3)), Outcome::Done);
    // One host sees the second save; another one still sees the first, while the second is in progress.
    let seen = [created(), first, second, found(40, row(3)), found(55, row(2)), found(110, row(3))];
    assert_eq!(kinds(&seen), [Kind::WentBack]);
    assert_eq!(kinds_by(&seen, &allowing(30, 40)), []);
    assert_eq!(kinds_by(&seen, &allowing(36, 40)), [Kind::WentBack], "the write began at another time");
    // Afterwards there is one order again.
    let late = [&seen[..], &[found(120, row(2))]].concat();
    assert_eq!(kinds_by(&late, &allowing(30, 40)), [Kind::WentBack]);
}

#[test]
fn what_was_gone_is_not_found_again() {
    let delete = call(30, 100, Action::Delete, Outcome::Done);
    for gone in [Action::Load, Action::Save(row(2)), Action::Touch(FAR), Action::Exists, Action::CycleAway] {
        let gone = absent(40, gone);
        assert_eq!(kinds(&[created(), delete, found(35, row(1)), gone]), []);
        assert_eq!(kinds(&[created(), delete, gone, found(44, row(1))]), [], "they overlap");
        assert_eq!(kinds(&[created(), delete, gone, found(50, row(1))]), [Kind::CameBack], "{gone:?}");
        let exists = call(50, 55, Action::Exists, Outcome::Done);
        assert_eq!(kinds(&[created(), delete, gone, exists]), [Kind::CameBack], "{gone:?}");
    }
    let unknown = call(30, 35, Action::Delete, Outcome::Unknown);
    let undone = [created(), unknown, absent(40, Action::Load), found(50, row(1))];
    assert_eq!(kinds(&undone), [Kind::Undone]);
    assert_eq!(kinds_by(&undone, &allowing_undone(30, 30)), []);
    assert_eq!(end_kind(&undone[..3], Some(row(1)), 100), Some(Kind::Undone));
    assert_eq!(end_kind(&[created(), delete, absent(40, Action::Load)], Some(row(1)), 50), Some(Kind::CameBack));
}

#[test]
fn what_ended_by_itself_may_be_saved_again() {
    let create = call(10, 20, Action::Create(until(1, SECOND)), Outcome::Done);
    let save = call(3 * SECOND, 4 * SECOND, Action::Save(row(2)), Outcome::Done);
    let gone = absent(2 * SECOND, Action::Load);
    assert_eq!(kinds(&[create, gone, save, found(5 * SECOND, row(2))]), []);
}

#[test]
fn payload_of_another_key_is_called_so() {
    let other = Operation { key: KeyId(1), ..call(10, 20, Action::Create(row(7)), Outcome::Done) };
    assert_eq!(kinds(&[created(), other, found(30, row(7))]), [Kind::ForeignPayload]);
    assert_eq!(kinds(&[created(), other, found(30, Row { digest: 8, ..row(7) })]), [Kind::Phantom]);
    assert_eq!(end_kind(&[created(), other], Some(row(7)), 100), Some(Kind::ForeignPayload));
}

#[test]
fn payload_of_a_failed_call_is_called_so() {
    for outcome in [Outcome::Failed, Outcome::Absent] {
        let failed = call(15, 25, Action::Save(row(2)), outcome);
        assert_eq!(kinds(&[created(), failed, found(30, row(2))]), [Kind::FailedWrite], "{outcome:?}");
        assert_eq!(end_kind(&[created(), failed], Some(row(2)), 100), Some(Kind::FailedWrite), "{outcome:?}");
    }
}

#[test]
fn end_that_nobody_asked_for_is_called_so() {
    let touch = |outcome| call(22, 25, Action::Touch(FAR + 9), outcome);
    let found = |end| found(30, until(1, end));
    assert_eq!(kinds(&[created(), touch(Outcome::Done), found(FAR + 9)]), []);
    assert_eq!(kinds(&[created(), touch(Outcome::Unknown), found(FAR + 9)]), []);
    assert_eq!(kinds(&[created(), touch(Outcome::Failed), found(FAR + 9)]), [Kind::UnaskedEnd]);
    assert_eq!(
        kinds(&[created(), found(FAR + 9), call(50, 60, Action::Touch(FAR + 9), Outcome::Done)]),
        [Kind::UnaskedEnd]
    );
    assert_eq!(end_kind(&[created()], Some(until(1, FAR + 1)), 100), Some(Kind::UnaskedEnd));
    // The end of one write and the payload of another: nobody asked for both.
    let save = call(22, 25, Action::Save(until(2, FAR + 5)), Outcome::Done);
    assert_eq!(kinds(&[created(), save, super::reads::found(30, until(2, FAR))]), [Kind::UnaskedEnd]);
}
