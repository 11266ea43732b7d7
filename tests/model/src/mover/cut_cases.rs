//! The cases of the cut, of the way back, of a second move, and of the handover to a fleet.

use crate::case::Case;
use crate::mover::case::of;
use crate::mover::kept::{Kept, Move, Sealed, Size, WayBack};
use crate::mover::rules::{Form, Guard, Stage};
use crate::mover::state::Broken::{self, Back, Lost, Stale};

const ALL: &[Broken] = &[Lost, Back, Stale];
const CALM: Size = Size::CALM;

/// The cases that must fail.
pub(crate) fn all() -> Vec<Case<Move>> {
    let mut cases = cuts();
    cases.extend(ways_back());
    cases.extend(second_moves());
    cases.extend(fleets());
    cases
}

const fn without(without: &'static [(Stage, Guard)]) -> Kept {
    Kept { without, ..Kept::ALL }
}

/// Rules of the cut.
fn cuts() -> Vec<Case<Move>> {
    vec![
        of(
            "not-scanned",
            "the cut comes before the scan has been everywhere",
            &[Lost],
            Form::Rename,
            without(&[(Stage::Copying, Guard::Scanned)]),
            CALM,
        ),
        of(
            "not-drained",
            "the new table counts while the old one has changes",
            ALL,
            Form::Rename,
            without(&[(Stage::Verified, Guard::Drained)]),
            CALM,
        ),
        of(
            "drained-before-lock",
            "the last changes are looked for without a lock",
            ALL,
            Form::Rename,
            without(&[(Stage::Verified, Guard::Excluded)]),
            CALM,
        ),
        of(
            "cut-without-fence",
            "the cut raises no fence",
            ALL,
            Form::Rename,
            without(&[(Stage::Verified, Guard::Fenced)]),
            Size { takes: 2, ..CALM },
        ),
        of(
            "cut-under-an-old-snapshot",
            "the names are swapped while a transaction is open whose snapshot is older than the last put",
            ALL,
            Form::Rename,
            without(&[(Stage::Verified, Guard::Unseen)]),
            Size { snapshots: 1, ..CALM },
        ),
        of(
            "opened-to-an-old-snapshot",
            "the new table is opened while a transaction is open at its server whose snapshot is older than the last put",
            ALL,
            Form::Seal,
            without(&[(Stage::Verified, Guard::Unseen)]),
            Size { snapshots: 1, ..CALM },
        ),
        of(
            "seal-not-awaited",
            "the seal does not wait for transactions that have written",
            ALL,
            Form::Seal,
            Kept { cut_waits: false, ..Kept::ALL },
            CALM,
        ),
        of(
            "old-readable-after-cut",
            "the sealed table answers reads",
            ALL,
            Form::Seal,
            Kept { sealed: Sealed::Reads, ..Kept::ALL },
            CALM,
        ),
        of(
            "old-writable-after-cut",
            "the sealed table takes reads and writes",
            ALL,
            Form::Seal,
            Kept { sealed: Sealed::Everything, ..Kept::ALL },
            CALM,
        ),
        of(
            "unsealed-after-cut",
            "the sealed table is opened again after the new one was",
            ALL,
            Form::Seal,
            Kept { seal_is_final: false, ..Kept::ALL },
            CALM,
        ),
        of(
            "opened-before-cut",
            "applications reach the new table before the cut",
            ALL,
            Form::Bridge,
            Kept { opened_by_cut: false, ..Kept::ALL },
            CALM,
        ),
    ]
}

/// Rules of the way back.
fn ways_back() -> Vec<Case<Move>> {
    let back = Size { reverse: true, takes: 2, ..CALM };
    vec![
        of(
            "back-without-capture",
            "the old table counts again, and the new one was never captured",
            ALL,
            Form::Rename,
            Kept { way_back: WayBack::Never, ..Kept::ALL },
            back,
        ),
        of(
            "captured-after-cut",
            "the new table is captured some time after the cut",
            ALL,
            Form::Seal,
            Kept { way_back: WayBack::AfterTheCut, ..Kept::ALL },
            back,
        ),
        of(
            "back-not-drained",
            "the old table counts again while the new one has changes",
            ALL,
            Form::Rename,
            without(&[(Stage::Reversible, Guard::Drained)]),
            back,
        ),
        of(
            "back-before-lock",
            "the way back looks for the last changes without a lock",
            ALL,
            Form::Rename,
            without(&[(Stage::Reversible, Guard::Excluded)]),
            back,
        ),
        of(
            "back-without-fence",
            "the way back raises no fence at the old table",
            ALL,
            Form::Rename,
            without(&[(Stage::Reversible, Guard::Fenced)]),
            Size { takes: 3, ..back },
        ),
        of(
            "back-under-an-old-snapshot",
            "the old table counts again while a transaction is open at its server whose snapshot is older than the last put",
            &[Stale],
            Form::Bridge,
            without(&[(Stage::Reversible, Guard::Unseen)]),
            Size { snapshots: 1, writes: 1, ..back },
        ),
    ]
}

/// Rules of a move that follows one that was aborted.
fn second_moves() -> Vec<Case<Move>> {
    let again = Size { again: 1, takes: 2, ..CALM };
    vec![
        of(
            "begun-again-with-rows",
            "another move begins with the rows of the last one",
            &[Back],
            Form::Rename,
            without(&[(Stage::Prepared, Guard::NewEmpty)]),
            again,
        ),
        of(
            "position-of-another-move",
            "a copier notes how far its scan is, also after the move was aborted and another one has begun",
            &[Lost],
            Form::Rename,
            Kept { position_by_lease: false, ..Kept::ALL },
            again,
        ),
        of(
            "begun-again-without-fence",
            "another move begins under the fence of the last one",
            &[Back],
            Form::Rename,
            without(&[(Stage::Prepared, Guard::Fenced)]),
            again,
        ),
    ]
}

/// Rules of the handover to a fleet.
fn fleets() -> Vec<Case<Move>> {
    vec![
        of(
            "others-not-sealed-out",
            "a migration takes over while others than its hosts write",
            ALL,
            Form::Fleet,
            without(&[(Stage::Verified, Guard::Excluded)]),
            CALM,
        ),
        of(
            "handed-over-without-fence",
            "a migration takes over, and the move has raised no fence",
            ALL,
            Form::Fleet,
            without(&[(Stage::Verified, Guard::Fenced)]),
            CALM,
        ),
    ]
}

/// Cases that break nothing.
pub(crate) fn redundant() -> Vec<Case<Move>> {
    vec![of(
        "fleet-not-drained",
        "a migration takes over while the old table has changes, which its own comparison makes up for",
        &[],
        Form::Fleet,
        Kept::ALL,
        Size { takes: 2, ..CALM },
    )]
}
