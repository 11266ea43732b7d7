//! The table: what is done for a phase, a profile and an operation. It is plain data and one pure function. The model
//! reads the same table.

use switchover_contract::{Guarantee, MirrorAction};

use crate::{Phase, Profile, Side};

/// What a caller asks of the session store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Find a session.
    Load,
    /// Save a new session.
    Create,
    /// Save an existing session.
    Update,
    /// Move the end of a session.
    Touch,
    /// End a session.
    Delete,
    /// Ask whether a key is taken.
    Exists,
    /// Delete sessions that have ended.
    ClearExpired,
}

impl Operation {
    /// All operations.
    pub const ALL: [Self; 7] =
        [Self::Load, Self::Create, Self::Update, Self::Touch, Self::Delete, Self::Exists, Self::ClearExpired];
}

/// Another database that a write is carried to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mirror {
    /// The database.
    pub side: Side,
    /// What is promised of it when the write is acknowledged.
    pub guarantee: Guarantee,
    /// What is written to it.
    pub action: MirrorAction,
}

/// How an operation uses the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cache {
    /// The cache is not used.
    Unused,
    /// The cache is asked first. After a miss it is filled, under the lease of the miss.
    Fill,
    /// The entry is removed before the operation is acknowledged. The host does this; the guest need not.
    Invalidate,
}

/// What is done for one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    /// The databases that are read, in this order, until one has a row. For `clear-expired`: those that are swept, in
    /// this order.
    pub reads: &'static [Side],
    /// The database that decides the outcome of a write.
    pub home: Side,
    /// The database whose row lock orders the writes of one key.
    pub lock: Side,
    /// The other databases that a write is carried to.
    pub mirrors: &'static [Mirror],
    /// How the cache is used.
    pub cache: Cache,
}

use Guarantee::{Marked, Strict as Together};
use MirrorAction::{Copy, Remove};

const MARKED_NEW: &[Mirror] = &[Mirror { side: Side::New, guarantee: Marked, action: Copy }];
const MARKED_OLD: &[Mirror] = &[Mirror { side: Side::Old, guarantee: Marked, action: Copy }];
const STRICT_NEW: &[Mirror] = &[Mirror { side: Side::New, guarantee: Together, action: Copy }];
const STRICT_OLD: &[Mirror] = &[Mirror { side: Side::Old, guarantee: Together, action: Copy }];
const REMOVED_NEW: &[Mirror] = &[Mirror { side: Side::New, guarantee: Together, action: Remove }];

/// The plan of an operation; `None` if the profile has no such phase.
///
/// A strict write, which goes to both databases or to neither, is locked at the old database in every phase. This
/// includes the phase in which the new one decides: hosts of two neighbouring phases then exclude each other.
pub fn plan(phase: Phase, profile: Profile, operation: Operation) -> Option<Plan> {
    use Operation::{ClearExpired, Create, Delete, Exists, Load, Touch, Update};
    use Phase::{Complete, Cutover, Invalidate, Mirror, Off, Reverse, Strict};
    use Profile::{Backfill, Lazy};
    use Side::{New, Old};
    Some(match (phase, profile, operation) {
        (Off, Backfill | Lazy, Load) => load(&[Old]),
        (Off, Backfill | Lazy, Create | Update | Touch | Delete) => write(Old, &[]),
        (Off, Backfill | Lazy, Exists) => exists(&[Old]),
        (Off, Backfill | Lazy, ClearExpired) => sweep(&[Old]),

        (Invalidate, Lazy, Load) => load(&[Old]),
        (Invalidate, Lazy, Create | Update | Touch | Delete) => write(Old, REMOVED_NEW),
        (Invalidate, Lazy, Exists) => exists(&[Old]),
        (Invalidate, Lazy, ClearExpired) => sweep(&[Old]),

        (Mirror, Backfill, Load) => load(&[Old]),
        (Mirror, Backfill, Create | Update | Touch | Delete) => write(Old, MARKED_NEW),
        (Mirror, Backfill, Exists) => exists(&[Old]),
        (Mirror, Backfill, ClearExpired) => sweep(&[Old, New]),

        (Strict, Backfill, Load) => load(&[Old]),
        (Strict, Lazy, Load) => load(&[New, Old]),
        (Strict, Backfill | Lazy, Create | Update | Touch | Delete) => write(Old, STRICT_NEW),
        (Strict, Backfill | Lazy, Exists) => exists(&[Old]),
        (Strict, Backfill | Lazy, ClearExpired) => sweep(&[Old, New]),

        (Cutover, Backfill | Lazy, Load) => load(&[New]),
        (Cutover, Backfill | Lazy, Create | Update | Touch | Delete) => write(New, STRICT_OLD),
        (Cutover, Backfill | Lazy, Exists) => exists(&[New]),
        (Cutover, Backfill | Lazy, ClearExpired) => sweep(&[New, Old]),

        (Reverse, Backfill | Lazy, Load) => load(&[New]),
        (Reverse, Backfill | Lazy, Create | Update | Touch | Delete) => write(New, MARKED_OLD),
        (Reverse, Backfill | Lazy, Exists) => exists(&[New]),
        (Reverse, Backfill | Lazy, ClearExpired) => sweep(&[New, Old]),

        (Complete, Backfill | Lazy, Load) => load(&[New]),
        (Complete, Backfill | Lazy, Create | Update | Touch | Delete) => write(New, &[]),
        (Complete, Backfill | Lazy, Exists) => exists(&[New]),
        (Complete, Backfill | Lazy, ClearExpired) => sweep(&[New]),

        (Invalidate, Backfill, Load | Create | Update | Touch | Delete | Exists | ClearExpired)
        | (Mirror, Lazy, Load | Create | Update | Touch | Delete | Exists | ClearExpired) => return None,
    })
}

/// Where the router sends the application: to the database that decides. `None` if the profile has no such phase.
pub fn route(phase: Phase, profile: Profile) -> Option<Side> {
    profile.path().contains(&phase).then(|| phase.home())
}

fn load(reads: &'static [Side]) -> Plan {
    Plan { cache: Cache::Fill, ..exists(reads) }
}

fn exists(reads: &'static [Side]) -> Plan {
    // A plan that only reads has a home too: the database that is asked last, because its "no" counts.
    let home = reads.last().copied().unwrap_or(Side::Old);
    Plan { reads, home, lock: home, mirrors: &[], cache: Cache::Unused }
}

fn sweep(reads: &'static [Side]) -> Plan {
    exists(reads)
}

fn write(home: Side, mirrors: &'static [Mirror]) -> Plan {
    let is_strict = mirrors.iter().any(|mirror| mirror.guarantee == Guarantee::Strict);
    let lock = if is_strict { Side::Old } else { home };
    Plan { reads: &[], home, lock, mirrors, cache: Cache::Invalidate }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profile_has_plans_for_the_phases_of_its_path_and_for_no_others() {
        for profile in Profile::ALL {
            for phase in Phase::ALL {
                for operation in Operation::ALL {
                    assert_eq!(plan(phase, profile, operation).is_some(), profile.path().contains(&phase));
                }
            }
        }
    }

    #[test]
    fn router_and_writes_agree_on_who_decides() {
        for profile in Profile::ALL {
            for phase in Phase::ALL {
                let home = plan(phase, profile, Operation::Update).map(|plan| plan.home);
                assert_eq!(home, route(phase, profile));
            }
        }
    }
}
