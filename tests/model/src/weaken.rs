//! Every single weakening of every arm of the table, and the harmless ones with their reasons.

use switchover_contract::{Guarantee, MirrorAction};
use switchover_protocol::{Cache, Mirror, Operation, Phase, Plan, Profile, Side};

use crate::migration::Migration;
use crate::rules::{Rules, Size};
use crate::schemes::mirrored;
use crate::table::Table;

/// One arm of the table, changed.
#[derive(Clone, Debug)]
pub struct Weakening {
    /// The profile.
    pub profile: Profile,
    /// The phase.
    pub phase: Phase,
    /// The operation. `None` means the router's answer.
    pub operation: Option<Operation>,
    /// What was changed.
    pub change: Change,
}

/// What was changed in an arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The mirror is dropped.
    DropMirror,
    /// The guarantee is lowered.
    Lower(Guarantee),
    /// The mirror's row is removed instead of copied, or copied instead of removed.
    Action,
    /// The other database decides, and this one is the mirror.
    Home,
    /// The lock is taken at the other database.
    Lock,
    /// The other database is read, or both in the other order.
    Reads,
    /// The first of two reads is left out.
    DropFirst,
    /// The last of two reads is left out.
    DropLast,
    /// The cache is not used.
    Cache,
    /// The router sends to the other database.
    Route,
}

impl Weakening {
    /// The name of the weakening: profile, phase, operation, change.
    pub fn name(&self) -> String {
        let operation = self.operation.map_or("route".to_owned(), |operation| format!("{operation:?}").to_lowercase());
        let change = match self.change {
            Change::DropMirror => "mirror dropped",
            Change::Lower(Guarantee::Marked) => "lowered to marked",
            Change::Lower(_) => "lowered to best-effort",
            Change::Action => "mirror's action swapped",
            Change::Home => "another home",
            Change::Lock => "another lock",
            Change::Reads => "reads swapped",
            Change::DropFirst => "first read dropped",
            Change::DropLast => "last read dropped",
            Change::Cache => "cache not used",
            Change::Route => "routed elsewhere",
        };
        format!("{} {} {operation}: {change}", self.profile, self.phase)
    }

    /// The model with this arm changed, in the smallest size that shows what it breaks.
    pub fn model(&self) -> Migration {
        let mut table = Table::shipped();
        match self.operation {
            Some(operation) => {
                let plan = *table.plan(self.phase, self.profile, operation).expect("only arms that there are");
                table.set_plan(self.phase, self.profile, operation, changed(&plan, self.change));
            }
            None => {
                let side = table.route(self.phase, self.profile).expect("only arms that there are");
                table.set_route(self.phase, self.profile, side.other());
            }
        }
        Migration { table, rules: Rules::of(self.profile), size: self.size() }
    }

    /// Two hosts and two writes show every weakening that breaks something; the cache needs no way back and no failure.
    fn size(&self) -> Size {
        let is_cached = self.change == Change::Cache;
        let loads = u8::from(is_cached || self.profile == Profile::Lazy);
        let touch = self.operation == Some(Operation::Touch);
        let small = Size { cache: is_cached, loads, touch, ..Size::CALM };
        if is_cached { small } else { Size { rollbacks: 2, transitions: 8, failures: 1, ..small } }
    }

    /// The same model with three writes, a late statement and a lost lock.
    pub fn large(&self) -> Migration {
        let model = self.model();
        Migration { size: Size { operations: 3, lates: 1, lost_locks: 1, ..model.size }, ..model }
    }

    /// Why the weakening breaks nothing. `None` if it must break a promise.
    pub fn harmless(&self) -> Option<&'static str> {
        HARMLESS.iter().find(|(matches, _)| matches(self)).map(|(_, reason)| *reason)
    }
}

/// Changes that break no promise, with the reason.
type Harmless = (fn(&Weakening) -> bool, &'static str);
const HARMLESS: &[Harmless] = &[
    (
        |w| w.operation == Some(Operation::ClearExpired),
        "an ended row is a session on neither side, so reads do not depend on where and in which order rows are swept",
    ),
    (
        |w| w.operation == Some(Operation::Load) && w.change == Change::Cache,
        "a load that does not use the cache asks the database, which is never older",
    ),
    (
        |w| w.operation == Some(Operation::Create) && w.change == Change::Cache,
        "a new key has no entry, since absence is not cached",
    ),
    (
        |w| w.operation == Some(Operation::Delete) && w.change == Change::Action,
        "after a delete there is no row to copy: both actions remove",
    ),
    (
        |w| matches!(w.phase, Phase::Mirror | Phase::Reverse) && w.change == Change::Action,
        "a mark leads to a copy of the deciding row under any action",
    ),
    (
        |w| is_strict(w) && w.operation == Some(Operation::Delete) && w.change == Change::Home,
        "a strict delete has nothing to decide: both rows are deleted under the same lock",
    ),
    (
        |w| {
            matches!(w.phase, Phase::Strict | Phase::Cutover)
                && w.operation == Some(Operation::Create)
                && w.change == Change::Home
        },
        "a new key has a row on neither side, so either may say that it is free",
    ),
    (
        |w| {
            let copies_marked_alone = w.phase == Phase::Cutover || w.profile == Profile::Lazy;
            copies_marked_alone && w.operation == Some(Operation::Create) && w.change == Change::Lock
        },
        "no client knows the key yet, so nobody else writes it, and either lock is enough",
    ),
    (
        |w| {
            let leaves_new = matches!(w.change, Change::DropMirror | Change::Lower(_));
            w.phase == Phase::Invalidate && w.operation == Some(Operation::Create) && leaves_new
        },
        "a new key has no row at the new database that could be removed",
    ),
    (
        |w| {
            let saves = matches!(w.operation, Some(Operation::Update | Operation::Touch));
            w.phase == Phase::Invalidate && saves && w.change == Change::Lock
        },
        "the old row changes in one statement, and without a new row the old one is read: the removal needs no order",
    ),
    (
        |w| {
            let asks_old = matches!(w.change, Change::Reads | Change::DropFirst);
            w.profile == Profile::Lazy && w.phase == Phase::Strict && w.operation == Some(Operation::Load) && asks_old
        },
        "the old database decides: reading it first, or reading only it, never returns an older row",
    ),
];

fn is_strict(weakening: &Weakening) -> bool {
    matches!(weakening.phase, Phase::Invalidate | Phase::Strict | Phase::Cutover)
}

/// Every weakening of every arm.
pub fn all() -> Vec<Weakening> {
    let table = Table::shipped();
    let mut all = Vec::new();
    for profile in Profile::ALL {
        for phase in profile.path().iter().copied() {
            for operation in Operation::ALL {
                let Some(plan) = table.plan(phase, profile, operation) else { continue };
                let changes = changes(plan, operation);
                let weakening = |change| Weakening { profile, phase, operation: Some(operation), change };
                all.extend(changes.into_iter().map(weakening));
            }
            all.push(Weakening { profile, phase, operation: None, change: Change::Route });
        }
    }
    all
}

fn changes(plan: &Plan, operation: Operation) -> Vec<Change> {
    let mut changes = Vec::new();
    match operation {
        Operation::Load | Operation::Exists | Operation::ClearExpired => {
            changes.push(Change::Reads);
            if plan.reads.len() > 1 {
                changes.extend([Change::DropFirst, Change::DropLast]);
            }
        }
        Operation::Create | Operation::Update | Operation::Touch | Operation::Delete => {
            changes.push(Change::Home);
            if let Some(mirror) = plan.mirrors.first() {
                changes.extend([Change::DropMirror, Change::Action]);
                match mirror.guarantee {
                    Guarantee::Strict => {
                        changes.extend([
                            Change::Lower(Guarantee::Marked),
                            Change::Lower(Guarantee::BestEffort),
                            Change::Lock,
                        ]);
                    }
                    Guarantee::Marked => changes.push(Change::Lower(Guarantee::BestEffort)),
                    Guarantee::BestEffort => {}
                }
            }
        }
    }
    if plan.cache != Cache::Unused {
        changes.push(Change::Cache);
    }
    changes
}

fn changed(plan: &Plan, change: Change) -> Plan {
    let mirror = plan.mirrors.first();
    let lowered = |mirror: &Mirror, guarantee| match mirror.action {
        MirrorAction::Copy => mirrored(mirror.side, guarantee),
        MirrorAction::Remove => removed(mirror.side, guarantee),
    };
    let mut plan = *plan;
    match (change, mirror) {
        (Change::DropMirror, _) => plan.mirrors = &[],
        (Change::Lower(guarantee), Some(mirror)) => {
            plan.mirrors = lowered(mirror, guarantee);
            plan.lock = plan.home;
        }
        (Change::Action, Some(mirror)) => {
            plan.mirrors = match mirror.action {
                MirrorAction::Copy => removed(mirror.side, mirror.guarantee),
                MirrorAction::Remove => mirrored(mirror.side, mirror.guarantee),
            };
        }
        (Change::Home, mirror) => {
            plan.home = plan.home.other();
            if let Some(mirror) = mirror {
                plan.mirrors = match mirror.action {
                    MirrorAction::Copy => mirrored(plan.home.other(), mirror.guarantee),
                    MirrorAction::Remove => removed(plan.home.other(), mirror.guarantee),
                };
            }
            if mirror.is_none_or(|mirror| mirror.guarantee != Guarantee::Strict) {
                plan.lock = plan.home;
            }
        }
        (Change::Lock, _) => plan.lock = plan.lock.other(),
        (Change::Reads, _) => plan.reads = swapped(plan.reads),
        (Change::DropFirst, _) => plan.reads = &plan.reads[1..],
        (Change::DropLast, _) => plan.reads = &plan.reads[..plan.reads.len() - 1],
        (Change::Cache, _) => plan.cache = Cache::Unused,
        (Change::Lower(_) | Change::Action, None) | (Change::Route, _) => {}
    }
    plan
}

fn swapped(reads: &'static [Side]) -> &'static [Side] {
    match reads {
        [Side::Old] => &[Side::New],
        [Side::New] => &[Side::Old],
        [Side::Old, ..] => &[Side::New, Side::Old],
        [Side::New, ..] => &[Side::Old, Side::New],
        [] => &[],
    }
}

fn removed(side: Side, guarantee: Guarantee) -> &'static [Mirror] {
    const fn one(side: Side, guarantee: Guarantee) -> Mirror {
        Mirror { side, guarantee, action: MirrorAction::Remove }
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
