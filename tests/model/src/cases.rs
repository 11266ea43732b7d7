//! The cases that must fail: each leaves out one rule or models a published scheme, and lists the promises that it
//! breaks.

use switchover_protocol::{Effect, Guard, Phase, Profile, Side};

use crate::case::Case;
use crate::migration::Migration;
use crate::outage_cases;
use crate::rules::{CacheScheme, Fence, Rules, Size, Upsert};
use crate::schemes;
use crate::state::Broken::{self, Back, Gone, Lost, Stale};
use crate::table::Table;

const ALL: &[Broken] = &[Lost, Back, Stale];

fn of(name: &'static str, about: &'static str, breaks: &'static [Broken], rules: Rules, size: Size) -> Case<Migration> {
    Case { name, about, model: Migration { table: Table::shipped(), rules, size }, breaks }
}

/// All cases: the schemes first, then the rules in the order of the protocol.
pub fn all() -> Vec<Case<Migration>> {
    let mut cases = schemes::all();
    cases.extend(phases());
    cases.extend(epochs());
    cases.extend(copies());
    cases.extend(statements());
    cases.extend(caches());
    cases.extend(outage_cases::all());
    cases
}

/// Rules between phases.
fn phases() -> Vec<Case<Migration>> {
    let rules = Rules::of(Profile::Backfill);
    let lazy = Rules::of(Profile::Lazy);
    let calm = Size::CALM;
    let back = Size { transitions: 9, rollbacks: 3, ..calm };
    vec![
        of(
            "strict-skipped",
            "`mirror` is followed by `cutover`",
            ALL,
            Rules { path: &[Phase::Off, Phase::Mirror, Phase::Cutover, Phase::Reverse, Phase::Complete], ..rules },
            calm,
        ),
        of(
            "no-verification",
            "`mirror` is left without a verification",
            &[Lost, Back, Stale, Gone],
            Rules { without: &[Guard::Verified], ..rules },
            calm,
        ),
        of(
            "no-guard-on-old-marks",
            "reads move to the new database while the old one has marks",
            ALL,
            Rules { without: &[Guard::NoMarks(Side::Old)], ..rules },
            calm,
        ),
        of(
            "no-guard-on-new-marks",
            "reads move back to the old database while the new one has marks",
            ALL,
            Rules { without: &[Guard::NoMarks(Side::New)], ..rules },
            Size { transitions: 7, rollbacks: 2, ..calm },
        ),
        of(
            "verification-kept",
            "a verification is believed after `off` was entered again",
            ALL,
            Rules { without_effects: &[Effect::Forgets], ..rules },
            back,
        ),
        of(
            "upsert-in-cutover",
            "an update inserts in `cutover`",
            &[Back],
            Rules { upsert: Upsert::In(Phase::Cutover), ..rules },
            calm,
        ),
        of(
            "lazy-without-invalidate",
            "the profile `lazy` goes from `off` to `strict`",
            &[Back, Stale],
            Rules { path: &[Phase::Off, Phase::Strict, Phase::Cutover, Phase::Reverse, Phase::Complete], ..lazy },
            calm,
        ),
        of(
            "lazy-without-truncation",
            "the profile `lazy` begins again with the rows of the last time",
            &[Back, Stale],
            Rules { without_effects: &[Effect::EmptiesNew], ..lazy },
            Size { transitions: 7, rollbacks: 2, ..calm },
        ),
    ]
}

/// Rules between hosts.
fn epochs() -> Vec<Case<Migration>> {
    let rules = Rules::of(Profile::Backfill);
    let lone = Rules { fence: Fence::AtEviction, ..rules };
    let calm = Size::CALM;
    vec![
        of(
            "no-barrier",
            "nobody waits for acknowledgements, and no fence is raised",
            ALL,
            Rules { barrier: false, ..lone },
            calm,
        ),
        of(
            "no-draining",
            "hosts acknowledge with calls on their way, and no fence is raised",
            &[Back, Stale],
            Rules { drain: false, ..lone },
            calm,
        ),
        of(
            "no-settling",
            "verification begins in the first epoch of `mirror`",
            &[Back, Stale],
            Rules { without: &[Guard::Settled], ..rules },
            calm,
        ),
        of(
            "eviction-without-fence",
            "a host is given up, and its statements are still taken",
            ALL,
            Rules { fence: Fence::Never, ..rules },
            Size { evictions: 1, ..calm },
        ),
        of(
            "guards-before-fence",
            "guards are looked at before the fence is raised",
            &[Lost],
            Rules { fence_first: false, ..rules },
            Size { evictions: 1, ..calm },
        ),
        of(
            "verification-before-fence",
            "verification begins before the fence is raised",
            &[Back],
            Rules { fence_first: false, ..rules },
            Size { lates: 1, ..calm },
        ),
    ]
}

/// Rules for copies.
fn copies() -> Vec<Case<Migration>> {
    let rules = Rules::of(Profile::Backfill);
    let calm = Size::CALM;
    vec![
        of("copy-without-lock", "a copy does not hold the key lock", ALL, Rules { copy_locked: false, ..rules }, calm),
        of(
            "mark-cleared-blindly",
            "a copy clears the new database's mark, whoever has set it again",
            &[Back, Stale],
            Rules { mark_token: false, ..rules },
            Size { transitions: 7, rollbacks: 2, ..calm },
        ),
    ]
}

/// Rules for statements to the database without the lock.
fn statements() -> Vec<Case<Migration>> {
    let rules = Rules::of(Profile::Backfill);
    let calm = Size::CALM;
    vec![
        of(
            "late-statement",
            "a statement that executes after its sender gave up is taken",
            &[Back, Stale],
            Rules { number: false, ..rules },
            Size { lates: 1, ..calm },
        ),
        of(
            "lost-lock",
            "a statement of a holder that lost the key lock is taken",
            &[Back, Stale],
            Rules { number: false, ..rules },
            Size { lost_locks: 1, ..calm },
        ),
        of(
            "number-after-lock",
            "a number is learned after the lock was taken",
            &[Back, Stale],
            Rules { number_before_lock: false, ..rules },
            Size { lost_locks: 1, ..calm },
        ),
        of(
            "number-not-counted-when-equal",
            "a copy that finds both rows equal leaves the number as it is",
            &[Back],
            Rules { number_on_equal: false, ..rules },
            Size { lates: 1, ..calm },
        ),
    ]
}

/// Rules for the cache, in the phase `off`: no migration is needed to break these.
fn caches() -> Vec<Case<Migration>> {
    let rules = Rules::of(Profile::Backfill);
    let size = Size { cache: true, loads: 1, transitions: 0, ..Size::CALM };
    let of = |name, about, breaks, cache| of(name, about, breaks, Rules { cache, ..rules }, size);
    vec![
        of(
            "cache-set-and-fill",
            "the entry is set after a write, a fill is plain: Django's `cached_db`",
            &[Back, Stale],
            CacheScheme::SetAndFill,
        ),
        of(
            "cache-set-and-lease",
            "the entry is set after a write, a fill needs its lease",
            &[Back],
            CacheScheme::SetAndLease,
        ),
        of(
            "cache-remove-and-fill",
            "the entry is removed after a write, a fill is plain",
            &[Back, Stale],
            CacheScheme::RemoveAndFill,
        ),
    ]
}

/// Cases that break nothing: each leaves out one rule that another one covers in the model.
pub fn redundant() -> Vec<Case<Migration>> {
    let rules = Rules::of(Profile::Backfill);
    let busy = Size { failures: 1, transitions: 5, ..Size::CALM };
    let late = Size { lates: 1, ..Size::CALM };
    let mut cases = outage_cases::redundant();
    cases.extend([
        of(
            "barrier-by-fence-alone",
            "nobody waits for acknowledgements, but the fence is raised",
            &[],
            Rules { barrier: false, ..rules },
            busy,
        ),
        of(
            "draining-by-fence-alone",
            "hosts acknowledge with calls on their way, but the fence is raised",
            &[],
            Rules { drain: false, ..rules },
            busy,
        ),
        of(
            "number-not-counted-at-home",
            "a marked write leaves the number as it is",
            &[],
            Rules { number_at_home: false, ..rules },
            late,
        ),
        of(
            "cache-remove-and-lease",
            "no guard before a write",
            &[],
            Rules { cache: CacheScheme::RemoveAndLease, ..rules },
            Size { cache: true, loads: 1, failures: 1, ..Size::CALM },
        ),
    ]);
    cases
}
