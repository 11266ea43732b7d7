//! The cases of a move that must fail: each leaves out one rule, and lists the promises that it breaks.

use crate::case::Case;
use crate::mover::case::of;
use crate::mover::cut_cases;
use crate::mover::kept::{Capture, Clears, Holds, Kept, Looks, Move, Scan, Size};
use crate::mover::rules::Form;
use crate::mover::state::Broken::{self, Back, Disturbed, Lost, Stale};

const ALL: &[Broken] = &[Lost, Back, Stale];
const CALM: Size = Size::CALM;

/// All cases, in the order of the specification.
pub fn all() -> Vec<Case<Move>> {
    let mut cases = captures();
    cases.extend(copies());
    cases.extend(copiers());
    cases.extend(cut_cases::all());
    cases
}

/// Rules of the trigger and of the table of changes.
fn captures() -> Vec<Case<Move>> {
    let of = |name, about, breaks, kept, size| of(name, about, breaks, Form::Rename, kept, size);
    vec![
        of(
            "trigger-after-scan",
            "the scan begins before the trigger is in force",
            ALL,
            Kept { trigger_first: false, ..Kept::ALL },
            CALM,
        ),
        of(
            "trigger-not-awaited",
            "the trigger is taken as in force while a transaction is open that wrote before it",
            ALL,
            Kept { trigger_waits: false, ..Kept::ALL },
            CALM,
        ),
        of(
            "change-apart-from-row",
            "a change is committed by itself, before its row",
            ALL,
            Kept { change_with_row: false, ..Kept::ALL },
            CALM,
        ),
        of(
            "key-changed-in-place",
            "a key that is changed in place leaves a change for the new key alone",
            &[Back],
            Kept { both_keys: false, ..Kept::ALL },
            Size { keys: 2, writes: 1, rekeys: 1, ..CALM },
        ),
        of(
            "token-given-twice",
            "a token is given again after its change was cleared",
            ALL,
            Kept { tokens_once: false, ..Kept::ALL },
            Size { takes: 2, ..CALM },
        ),
        of(
            "copier-holds-the-change",
            "a change is one row for each key, which the copier has locked while it asks the other table",
            &[Disturbed],
            Kept { capture: Capture::PerKey, holds: Holds::Change, ..Kept::ALL },
            CALM,
        ),
        of(
            "copier-holds-the-row",
            "the copier has locked the row while it asks the other table",
            &[Disturbed],
            Kept { holds: Holds::Row, ..Kept::ALL },
            CALM,
        ),
    ]
}

/// Rules of one copy.
fn copies() -> Vec<Case<Move>> {
    let of = |name, about, breaks, kept, size| of(name, about, breaks, Form::Rename, kept, size);
    vec![
        of(
            "row-before-token",
            "a copy reads the row first, and the tokens afterwards",
            ALL,
            Kept { tokens_first: false, ..Kept::ALL },
            CALM,
        ),
        of(
            "cleared-by-key",
            "a copy clears all changes of its key",
            ALL,
            Kept { clears: Clears::Key, ..Kept::ALL },
            CALM,
        ),
        of(
            "cleared-up-to-a-token",
            "changes are copied in the order of their tokens, and all up to a token are cleared",
            ALL,
            Kept { clears: Clears::UpTo, ..Kept::ALL },
            Size { keys: 2, writes: 3, ..CALM },
        ),
        of(
            "cleared-before-put",
            "a copy clears the changes before it puts the row",
            ALL,
            Kept { clears_after_put: false, ..Kept::ALL },
            Size { crashes: 1, takes: 2, ..CALM },
        ),
        of(
            "scan-beside-changes",
            "the scan has a copy of a key under way beside one for a change",
            ALL,
            Kept { scan: Scan::Beside, ..Kept::ALL },
            CALM,
        ),
        of(
            "scan-that-only-inserts",
            "the same, and the scan inserts only rows that the new table lacks",
            &[Back],
            Kept { scan: Scan::InsertsOnly, ..Kept::ALL },
            CALM,
        ),
    ]
}

/// Rules of the lease and the fence.
fn copiers() -> Vec<Case<Move>> {
    let of = |name, about, breaks, kept, size| of(name, about, breaks, Form::Rename, kept, size);
    let two = Size { takes: 2, ..CALM };
    vec![
        of("no-fence", "the other table looks at no fence", ALL, Kept { looks: Looks::Never, ..Kept::ALL }, two),
        of(
            "fence-before-the-put",
            "a copier looks at the fence before it sends its put, and not in the put: a late put of a deposed copier",
            ALL,
            Kept { looks: Looks::BeforeThePut, ..Kept::ALL },
            Size { silences: 1, ..two },
        ),
        of("no-lease", "a second copier begins without the lease", ALL, Kept { lease: false, ..Kept::ALL }, two),
        of(
            "read-before-fence",
            "a copier raises the fence after its first read",
            ALL,
            Kept { raises_first: false, ..Kept::ALL },
            two,
        ),
        of(
            "silence-ignored",
            "a copier whose put has no answer goes on in its generation",
            ALL,
            Kept { stands_down: false, ..Kept::ALL },
            Size { silences: 1, ..CALM },
        ),
    ]
}

/// Cases that break nothing.
pub fn redundant() -> Vec<Case<Move>> {
    let busy = Size { takes: 2, crashes: 1, silences: 1, ..CALM };
    let mut cases = cut_cases::redundant();
    cases.push(of(
        "change-for-each-key",
        "a change is one row for each key, which no copier holds",
        &[],
        Form::Rename,
        Kept { capture: Capture::PerKey, ..Kept::ALL },
        busy,
    ));
    cases
}
