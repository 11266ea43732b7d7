//! What several hosts with one cache may and may not do: old reads, new keys, and the rows at the end.

use super::*;

const NEW: KeyId = KeyId(1);
const NEWEST: KeyId = KeyId(2);

fn on(key: KeyId, operation: Operation) -> Operation {
    Operation { key, ..operation }
}

fn found(key: KeyId, at: Micros, version: u32) -> Operation {
    on(key, call(at, at + 5, Action::Load, Outcome::Found(row(version))))
}

/// Both halves of a call that gives a new key.
fn cycle(old: KeyId, new: KeyId, from: Micros, to: Micros) -> [Operation; 2] {
    [
        on(old, call(from, to, Action::CycleAway, Outcome::Done)),
        on(new, call(from, to, Action::CycleFrom(old), Outcome::Done)),
    ]
}

fn all(parts: &[&[Operation]]) -> Vec<Operation> {
    parts.concat()
}

/// The host that is cut off from the cache; the others read.
const CUT_OFF: HostId = HostId(9);

fn bounded(age: Micros) -> Promises {
    Promises { stale_bound: Some(StaleBound { age, cut_off: vec![CUT_OFF] }), ..Promises::default() }
}

/// The same call on the host that is cut off.
fn cut_off(operation: Operation) -> Operation {
    Operation { host: CUT_OFF, ..operation }
}

#[test]
fn old_read_within_the_bound_is_counted_and_a_staler_one_is_a_fault() {
    let save = cut_off(call(30, 40, Action::Save(row(2)), Outcome::Done));
    let old = |at| History::new(vec![created(), save, found(KEY, at, 1)]).check(&bounded(50), &[]);
    let findings = old(90);
    assert_eq!((findings.count(Kind::StaleRead), findings.stale_within_bound), (0, 1));
    let findings = old(91);
    assert_eq!((findings.count(Kind::StaleRead), findings.stale_within_bound), (1, 0));
}

#[test]
fn bound_applies_to_every_way_in_which_a_load_can_be_old() {
    let delete = call(30, 40, Action::Delete, Outcome::Done);
    let touch = call(30, 40, Action::Touch(FAR + 9), Outcome::Done);
    let slow_save = call(30, 200, Action::Save(row(2)), Outcome::Done);
    let slow_delete = call(30, 200, Action::Delete, Outcome::Done);
    let gone = call(50, 55, Action::Load, Outcome::Absent);
    let cycled = cycle(KEY, NEW, 30, 40);
    for (kind, history) in [
        (Kind::BackAfterLogout, vec![created(), delete]),
        (Kind::StaleRead, vec![created(), touch]),
        (Kind::WentBack, vec![created(), slow_save, found(KEY, 50, 2)]),
        (Kind::CameBack, vec![created(), slow_delete, gone]),
        (Kind::OldKeyFound, all(&[&[created()], &cycled])),
    ] {
        let history: Vec<_> = history.into_iter().map(cut_off).collect();
        let history = all(&[&history, &[found(KEY, 80, 1)]]);
        assert_eq!(kinds(&history), [kind]);
        assert_eq!(kinds_by(&history, &bounded(60)), []);
        assert_eq!(kinds_by(&history, &bounded(10)), [kind]);
    }
}

#[test]
fn bound_applies_to_what_other_hosts_wrote_while_cut_off() {
    let touch = call(30, 40, Action::Touch(FAR + 9), Outcome::Done);
    let delete = call(30, 40, Action::Delete, Outcome::Done);
    let save = call(30, 40, Action::Save(row(2)), Outcome::Done);
    for (kind, write) in [(Kind::StaleRead, save), (Kind::StaleRead, touch), (Kind::BackAfterLogout, delete)] {
        let old = found(KEY, 50, 1);
        assert_eq!(kinds_by(&[created(), cut_off(write), old], &bounded(60)), []);
        assert_eq!(kinds_by(&[created(), write, old], &bounded(60)), [kind], "the writer reached the cache");
        assert_eq!(
            kinds_by(&[created(), cut_off(write), cut_off(old)], &bounded(60)),
            [kind],
            "the writer itself reads"
        );
    }
    // Of two writes, a load must see the write of the host that reached the cache.
    let later = call(42, 44, Action::Save(row(3)), Outcome::Done);
    let history = |version| [created(), cut_off(save), later, found(KEY, 50, version)];
    assert_eq!(kinds_by(&history(3), &bounded(60)), []);
    assert_eq!(kinds_by(&history(2), &bounded(60)), [Kind::StaleRead]);
    assert_eq!(kinds_by(&history(1), &bounded(60)), [Kind::StaleRead]);
}

#[test]
fn bound_applies_to_loads_alone() {
    let delete = cut_off(call(30, 40, Action::Delete, Outcome::Done));
    for action in [Action::Save(row(2)), Action::Touch(FAR), Action::Exists, Action::Delete, Action::CycleAway] {
        let back = call(50, 60, action, Outcome::Done);
        assert_eq!(kinds_by(&[created(), delete, back], &bounded(FAR)), [Kind::BackAfterLogout], "{action:?}");
    }
    let lost = call(50, 60, Action::Load, Outcome::Absent);
    assert_eq!(kinds_by(&[created(), lost], &bounded(FAR)), [Kind::ToldGone]);
    let phantom = found(KEY, 50, 9);
    assert_eq!(kinds_by(&[created(), phantom], &bounded(FAR)), [Kind::Phantom]);
}

#[test]
fn old_read_accuses_no_other_call() {
    // One host has seen the later of two saves at once. Another host reads the earlier save from a cache. Then the
    // first host reads again.
    let saves = [2, 3].map(|version| call(30, 40, Action::Save(row(version)), Outcome::Done));
    let reads = [(50, 2), (60, 3), (70, 2)].map(|(at, version)| found(KEY, at, version));
    let history = all(&[&[created()], &saves, &reads]);
    assert_eq!(kinds(&history), [Kind::WentBack]);
    let findings = History::new(history).check(&bounded(100), &[]);
    assert_eq!((findings.faults, findings.stale_within_bound), (vec![], 1));
}

#[test]
fn new_key_holds_what_was_the_latest_when_the_call_began() {
    let save = call(30, 40, Action::Save(row(2)), Outcome::Done);
    let history = |version| all(&[&[created(), save], &cycle(KEY, NEW, 50, 60), &[found(NEW, 70, version)]]);
    assert_eq!(kinds(&history(2)), []);
    assert_eq!(kinds(&history(1)), [Kind::StaleCycle]);
    // A read may be old, but a write from it may not.
    assert_eq!(kinds_by(&history(1), &bounded(FAR)), [Kind::StaleCycle]);
    let overlapping = call(30, 55, Action::Save(row(2)), Outcome::Done);
    for version in [1, 2] {
        let history = all(&[&[created(), overlapping], &cycle(KEY, NEW, 50, 60), &[found(NEW, 70, version)]]);
        assert_eq!(kinds(&history), [], "{version}");
    }
}

#[test]
fn new_key_ends_when_the_old_one_would_have() {
    let touch = call(30, 40, Action::Touch(FAR + 9), Outcome::Done);
    let history = |end| {
        let found = call(70, 75, Action::Load, Outcome::Found(Row { expires_at: end, ..row(1) }));
        all(&[&[created(), touch], &cycle(KEY, NEW, 50, 60), &[on(NEW, found)]])
    };
    assert_eq!(kinds(&history(FAR + 9)), []);
    assert_eq!(kinds(&history(FAR)), [Kind::StaleCycle]);
    assert_eq!(kinds(&history(FAR + 1)), [Kind::UnaskedEnd]);
}

#[test]
fn chain_of_new_keys_is_followed() {
    let save = call(30, 40, Action::Save(row(2)), Outcome::Done);
    let chain = all(&[&[created(), save], &cycle(KEY, NEW, 50, 60), &cycle(NEW, NEWEST, 70, 80)]);
    let then = |last| kinds(&all(&[&chain, &[last]]));
    assert_eq!(then(found(NEWEST, 90, 2)), []);
    assert_eq!(then(found(NEWEST, 90, 1)), [Kind::StaleCycle]);
    assert_eq!(then(found(NEW, 90, 2)), [Kind::OldKeyFound]);
    assert_eq!(then(found(KEY, 90, 2)), [Kind::OldKeyFound]);
    // What a read showed of a key in between also holds for the last key.
    let concurrent = call(30, 55, Action::Save(row(2)), Outcome::Done);
    let chain = [&[created(), concurrent][..], &cycle(KEY, NEW, 50, 60), &[found(NEW, 62, 2)]];
    let then = |version| kinds(&all(&[&all(&chain), &cycle(NEW, NEWEST, 70, 80), &[found(NEWEST, 90, version)]]));
    assert_eq!(then(2), []);
    assert_eq!(then(1), [Kind::StaleCycle]);
}

#[test]
fn row_of_a_new_key_is_compared_with_the_old_one() {
    let save = call(30, 40, Action::Save(row(2)), Outcome::Done);
    let history = History::new(all(&[&[created(), save], &cycle(KEY, NEW, 50, 60)]));
    let window = Window { from: 100, to: 100, expired_by: 100 };
    let left = |rows: &[(KeyId, u32)]| {
        let rows = rows.iter().map(|(key, version)| (*key, row(*version))).collect();
        let findings = history.check(&Promises::default(), &[Left { rows: &rows, window }]);
        findings.faults.iter().map(|fault| (fault.kind, fault.key)).collect::<Vec<_>>()
    };
    assert_eq!(left(&[(NEW, 2)]), []);
    assert_eq!(left(&[(NEW, 1)]), [(Kind::StaleCycle, NEW)]);
    assert_eq!(left(&[(NEW, 2), (KEY, 2)]), [(Kind::OldKeyFound, KEY)]);
    assert_eq!(left(&[]), [(Kind::LostWrite, NEW)]);
}

#[test]
fn two_databases_that_had_to_hold_the_same_do() {
    let saves = [2, 3].map(|version| call(30, 40, Action::Save(row(version)), Outcome::Done));
    let differ = |operations: &[Operation], old: Option<u32>, new: Option<u32>, alike_since| {
        let rows = [old, new].map(|version| version.map(|version| (KEY, row(version))).into_iter().collect());
        let window = Window { from: 100, to: 100, expired_by: 100 };
        let left = [&rows[0], &rows[1]].map(|rows| Left { rows, window });
        let findings = History::new(operations.to_vec()).check(&Promises { alike_since, ..Promises::default() }, &left);
        findings.faults.iter().map(|fault| fault.kind).collect::<Vec<_>>()
    };
    let history = [created(), saves[0], saves[1]];
    assert_eq!(differ(&history, Some(2), Some(2), Some(50)), []);
    assert_eq!(differ(&history, Some(3), Some(2), Some(50)), [Kind::RowsDiffer]);
    assert_eq!(differ(&history, Some(3), Some(2), Some(35)), [], "it was still written");
    assert_eq!(differ(&history, Some(3), Some(2), None), [], "they may differ");
    let unknown = call(30, 40, Action::Delete, Outcome::Unknown);
    assert_eq!(differ(&[created(), unknown], None, Some(1), Some(50)), [], "it may still be deleted");
}
