//! The published schemes as tables of the policy's type, without the parts of the mechanism that they lack.

use switchover_contract::{Guarantee, MirrorAction};
use switchover_protocol::{Cache, Mirror, Operation, Phase, Plan, Profile, Side};

use crate::case::Case;
use crate::migration::Migration;
use crate::rules::{Rules, Size, Upsert};
use crate::state::Broken::{Back, Lost, Stale};
use crate::table::Table;

/// The proxy of 2016 in its variants, then LaunchDarkly's order.
pub(crate) fn all() -> Vec<Case<Migration>> {
    let calm = Size { transitions: 2, ..Size::CALM };
    let of_2016 = Rules::bare(&[Phase::Off, Phase::Mirror, Phase::Complete]);
    let guarded = Rules { barrier: true, drain: true, ..of_2016 };
    let scheme = |name, about, breaks, table: fn() -> Table, rules, size| Case {
        name,
        about,
        model: Migration { table: table(), rules, size },
        breaks,
    };
    let order = |barrier| Rules { barrier, drain: barrier, ..Rules::bare(Profile::Backfill.path()) };
    let long = Size { transitions: 5, ..Size::CALM };
    vec![
        scheme(
            "scheme-2016",
            "the proxy of 2016 with saves that insert, flags seen by each host when it sees them",
            &[Back, Stale],
            || table_2016(Guarantee::BestEffort),
            Rules { upsert: Upsert::Always, ..of_2016 },
            calm,
        ),
        scheme(
            "scheme-2016-barrier",
            "the same, each flag seen by every host before the next one, and rows compared before the router's",
            &[Back, Stale],
            || table_2016(Guarantee::BestEffort),
            Rules { upsert: Upsert::Always, ..guarded },
            calm,
        ),
        scheme(
            "scheme-2016-update-only",
            "the same, with saves that never insert",
            &[Back, Stale],
            || table_2016(Guarantee::BestEffort),
            guarded,
            calm,
        ),
        scheme(
            "scheme-2016-strict",
            "the same, both databases written together or neither, as the policy `fallback` does",
            &[Back, Stale],
            || table_2016(Guarantee::Strict),
            guarded,
            calm,
        ),
        scheme(
            "scheme-launchdarkly",
            "the order of LaunchDarkly's migration flags, no barrier",
            &[Lost, Back, Stale],
            table_launchdarkly,
            order(false),
            long,
        ),
        scheme(
            "scheme-launchdarkly-barrier",
            "the same, each stage seen by every host before the next one, and rows compared before the read moves",
            &[Back],
            table_launchdarkly,
            order(true),
            long,
        ),
        scheme(
            "scheme-launchdarkly-failure",
            "the same, one write to the second database fails",
            &[Lost, Back, Stale],
            table_launchdarkly,
            order(true),
            Size { failures: 1, ..long },
        ),
    ]
}

/// The scheme's phases are: off, both databases, only the new one.
fn table_2016(guarantee: Guarantee) -> Table {
    let mut table = Table::shipped();
    table.set_phase(Phase::Mirror, Profile::Backfill, |operation| match operation {
        Operation::Load => foreign(&[Side::New, Side::Old], Side::Old, &[]),
        Operation::Create | Operation::Update | Operation::Touch | Operation::Delete => {
            foreign(&[], Side::Old, mirrored(Side::New, guarantee))
        }
        Operation::Exists | Operation::ClearExpired => foreign(&[Side::Old], Side::Old, &[]),
    });
    table
}

/// The scheme's phases are: off, dual write, shadow, live, ramp-down, complete.
fn table_launchdarkly() -> Table {
    let mut table = Table::shipped();
    for (phase, home) in [
        (Phase::Mirror, Side::Old),
        (Phase::Strict, Side::Old),
        (Phase::Cutover, Side::New),
        (Phase::Reverse, Side::New),
    ] {
        let reads: &[Side] = if home == Side::Old { &[Side::Old] } else { &[Side::New] };
        let mirrors = mirrored(home.other(), Guarantee::BestEffort);
        table.set_phase(phase, Profile::Backfill, |operation| match operation {
            Operation::Load | Operation::Exists | Operation::ClearExpired => foreign(reads, home, &[]),
            Operation::Create | Operation::Update | Operation::Touch | Operation::Delete => foreign(&[], home, mirrors),
        });
    }
    table
}

fn foreign(reads: &'static [Side], home: Side, mirrors: &'static [Mirror]) -> Plan {
    Plan { reads, home, lock: home, mirrors, cache: Cache::Unused }
}

/// The mirrors of a write that is carried to one side.
pub(crate) fn mirrored(side: Side, guarantee: Guarantee) -> &'static [Mirror] {
    const fn one(side: Side, guarantee: Guarantee) -> Mirror {
        Mirror { side, guarantee, action: MirrorAction::Copy }
    }
    match (side, guarantee) {
        (Side::Old, Guarantee::Strict) => const { &[one(Side::Old, Guarantee::Strict)] },
        (Side::Old, Guarantee::Marked) => const { &[one(Side::Old, Guarantee::Marked)] },
        (Side::Old, Guarantee::BestEffort) => const { &[one(Side::Old, Guarantee::BestEffort)] },
        (Side::New, Guarantee::Strict) => const { &[one(Side::New, Guarantee::Strict)] },
        (Side::New, Guarantee::Marked) => const { &[one(Side::New, Guarantee::Marked)] },
        (Side::New, Guarantee::BestEffort) => const { &[one(Side::New, Guarantee::BestEffort)] },
    }
}
