//! The table: what is done for a phase, a profile and an operation. Plain data and one pure function; the model reads the same.

use std::fmt;

use switchover_guest::{Guarantee, MirrorAction};

/// One of the two databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Where sessions live before.
    Old,
    /// Where they live after.
    New,
}

impl Side {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Old => Self::New,
            Self::New => Self::Old,
        }
    }
}

/// The step of a migration, as operators name it in the flag `migration_phase`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The old database alone.
    Off,
    /// Profile `lazy` alone: the new database has no row of a key that was written since.
    Invalidate,
    /// Profile `backfill` alone: the old database decides, a durable mark remembers what the new one lacks.
    Mirror,
    /// Both databases or neither; the old one decides.
    Strict,
    /// Both databases or neither; the new one decides and is read.
    Cutover,
    /// The new database decides, a durable mark remembers what the old one lacks.
    Reverse,
    /// The new database alone.
    Complete,
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Off, Self::Invalidate, Self::Mirror, Self::Strict, Self::Cutover, Self::Reverse, Self::Complete];

    /// The operator's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Invalidate => "invalidate",
            Self::Mirror => "mirror",
            Self::Strict => "strict",
            Self::Cutover => "cutover",
            Self::Reverse => "reverse",
            Self::Complete => "complete",
        }
    }

    /// The phase of a word; `None`: there is none.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.as_str() == word)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How idle sessions come into the new database, as operators name it in the flag `migration_profile`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Profile {
    /// They are copied in `mirror`.
    Backfill,
    /// They are not: use carries them over, or they end.
    Lazy,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Backfill, Self::Lazy];

    /// The operator's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Backfill => "backfill",
            Self::Lazy => "lazy",
        }
    }

    /// The profile of a word; `None`: there is none.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.as_str() == word)
    }

    /// The phases that a migration of this profile goes through, each a neighbour of the next.
    pub fn path(self) -> &'static [Phase] {
        use Phase::{Complete, Cutover, Invalidate, Mirror, Off, Reverse, Strict};
        match self {
            Self::Backfill => &[Off, Mirror, Strict, Cutover, Reverse, Complete],
            Self::Lazy => &[Off, Invalidate, Strict, Cutover, Reverse, Complete],
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a caller asks of the session store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Find a session.
    Load,
    /// Save a new one.
    Create,
    /// Save one that is there.
    Update,
    /// Move its end.
    Touch,
    /// End it.
    Delete,
    /// Whether the key is taken.
    Exists,
    /// Delete what has ended.
    ClearExpired,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Load, Self::Create, Self::Update, Self::Touch, Self::Delete, Self::Exists, Self::ClearExpired];
}

/// Another database that a write is carried to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mirror {
    /// Where to.
    pub side: Side,
    /// With which promise.
    pub guarantee: Guarantee,
    /// What it is brought to.
    pub action: MirrorAction,
}

/// What the cache has to do with an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cache {
    /// Nothing.
    Unused,
    /// Asked first; filled after a miss, under the lease of the miss.
    Fill,
    /// The entry is gone before the operation is acknowledged. The host does it by itself, the guest need not.
    Invalidate,
}

/// What is done for one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    /// Read in this order until one has a row; of `clear-expired`, swept in this order.
    pub reads: &'static [Side],
    /// Decides the outcome of a write.
    pub home: Side,
    /// Whose row lock orders the writes of one key.
    pub lock: Side,
    /// Where a write is carried to.
    pub mirrors: &'static [Mirror],
    /// What becomes of the cache.
    pub cache: Cache,
}

use Guarantee::{Marked, Strict as Together};
use MirrorAction::{Copy, Remove};

const MARKED_NEW: &[Mirror] = &[Mirror { side: Side::New, guarantee: Marked, action: Copy }];
const MARKED_OLD: &[Mirror] = &[Mirror { side: Side::Old, guarantee: Marked, action: Copy }];
const STRICT_NEW: &[Mirror] = &[Mirror { side: Side::New, guarantee: Together, action: Copy }];
const STRICT_OLD: &[Mirror] = &[Mirror { side: Side::Old, guarantee: Together, action: Copy }];
const REMOVED_NEW: &[Mirror] = &[Mirror { side: Side::New, guarantee: Together, action: Remove }];

/// The plan of an operation; `None`: the profile has no such phase.
///
/// A write that is carried over in one transaction (`strict`) is locked at the old database in every phase, also where the new
/// one decides: hosts of two neighbouring phases then exclude each other.
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

/// Where the router sends the application: to the database that decides.
pub fn route(phase: Phase, profile: Profile) -> Option<Side> {
    use Phase::{Complete, Cutover, Invalidate, Mirror, Off, Reverse, Strict};
    use Profile::{Backfill, Lazy};
    Some(match (phase, profile) {
        (Off | Strict, Backfill | Lazy) | (Mirror, Backfill) | (Invalidate, Lazy) => Side::Old,
        (Cutover | Reverse | Complete, Backfill | Lazy) => Side::New,
        (Mirror, Lazy) | (Invalidate, Backfill) => return None,
    })
}

fn load(reads: &'static [Side]) -> Plan {
    Plan { cache: Cache::Fill, ..exists(reads) }
}

fn exists(reads: &'static [Side]) -> Plan {
    // What only reads has a home too: the last that is asked is the one whose "no" counts.
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
