//! The cases for a cache that not every host reaches, in the phase `off`.

use switchover_protocol::Profile;

use crate::case::Case;
use crate::migration::Migration;
use crate::outage::{Covers, Look, Outage, Remedy, Stamp};
use crate::rules::{Rules, Size};
use crate::state::Broken::{self, Back, Stale};
use crate::table::Table;

/// One host does not reach the cache for a time.
pub const SIZE: Size = Size { cache: true, loads: 1, cuts: 1, transitions: 0, ..Size::CALM };

const RAISE: Outage = Outage { bound: false, ..Outage::by(Remedy::Raise, Covers::Writes) };
const SUSPEND: Outage = Outage { bound: false, ..Outage::by(Remedy::Suspend, Covers::Writes) };

fn of(
    name: &'static str,
    about: &'static str,
    breaks: &'static [Broken],
    outage: Outage,
    size: Size,
) -> Case<Migration> {
    let rules = Rules { outage, ..Rules::of(Profile::Backfill) };
    Case { name, about, model: Migration { table: Table::shipped(), rules, size }, breaks }
}

/// The cases that must fail.
pub(crate) fn all() -> Vec<Case<Migration>> {
    let mut cases = bounds();
    cases.extend(generations());
    cases.extend(suspensions());
    cases
}

/// What the published bound allows.
fn bounds() -> Vec<Case<Migration>> {
    let nothing = Outage { bound: false, ..Outage::BOUND };
    let deletes = Outage { covers: Covers::Deletes, ..SUSPEND };
    vec![
        of(
            "cache-cut",
            "a host that does not reach the cache acknowledges at once: the published bound",
            &[Back, Stale],
            nothing,
            SIZE,
        ),
        of(
            "cache-cut-deletes-alone",
            "only deletes wait: the published bound is left to updates",
            &[Stale],
            deletes,
            SIZE,
        ),
    ]
}

/// Rules of confirmations and generations.
fn generations() -> Vec<Case<Migration>> {
    let of = |name, about, outage| of(name, about, &[Back, Stale], outage, SIZE);
    vec![
        of(
            "cache-acknowledged-early",
            "a write is acknowledged before the other hosts have confirmed",
            Outage { waits: false, ..RAISE },
        ),
        of(
            "cache-hit-without-look",
            "a hit is served without a look at the confirmation",
            Outage { look: Look::Never, ..RAISE },
        ),
        of(
            "cache-confirmed-from-answer",
            "a confirmation runs out counted from the answer, not from the question",
            Outage { from_question: false, ..RAISE },
        ),
        of(
            "cache-generation-of-fill",
            "an entry has the generation of its fill, not of its lease",
            Outage { stamp: Stamp::Fill, ..RAISE },
        ),
        of(
            "cache-generation-before-write",
            "the generation is raised before the write",
            Outage { after_write: false, ..RAISE },
        ),
        of(
            "cache-generation-in-name",
            "the generation is a part of the entry's name, so a removal finds only its own",
            Outage { any_generation: false, ..RAISE },
        ),
        of(
            "cache-generation-raised-once",
            "the generation is raised once while a host does not reach the cache, and nothing is suspended",
            Outage { remedy: Remedy::RaiseOnce, ..RAISE },
        ),
    ]
}

/// Rules of suspensions.
fn suspensions() -> Vec<Case<Migration>> {
    vec![
        of(
            "cache-suspension-checked-early",
            "a host looks before the write whether its suspension is in force",
            &[Back],
            Outage { held_after_write: false, ..SUSPEND },
            SIZE,
        ),
        of(
            "cache-suspension-skipped",
            "a host whose guard stands suspends nothing",
            &[Back, Stale],
            Outage { despite_guard: false, ..SUSPEND },
            Size { flushes: 1, operations: 1, ..SIZE },
        ),
        of(
            "cache-suspension-unpaid",
            "a suspension ends before its host has removed what it owes",
            &[Back, Stale],
            Outage { pays_first: false, ..SUSPEND },
            Size { operations: 1, ..SIZE },
        ),
        of(
            "cache-suspension-ends-with-host",
            "a suspension whose host is gone ends before the entries of that time have ended",
            &[Back, Stale],
            Outage { outlives_entries: false, ..SUSPEND },
            Size { operations: 1, ..SIZE },
        ),
    ]
}

/// What breaks nothing.
pub(crate) fn redundant() -> Vec<Case<Migration>> {
    let before = |name, outage| {
        let about = "a host looks at its confirmation before it asks the cache, and not after the hit";
        of(name, about, &[], Outage { look: Look::Before, ..outage }, SIZE)
    };
    let one = Size { operations: 1, ..SIZE };
    vec![
        before("cache-look-before-with-generations", RAISE),
        before("cache-look-before-with-suspension", Outage { covers: Covers::Deletes, bound: true, ..SUSPEND }),
        of(
            "cache-suspension-skipped-without-flush",
            "a host whose guard stands suspends nothing, and the cache forgets nothing",
            &[],
            Outage { despite_guard: false, ..SUSPEND },
            one,
        ),
    ]
}
