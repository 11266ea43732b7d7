//! The guards of edges: what each demands, its verdict, and the words for people.

use core::fmt;

use crate::{Side, Standing};

/// What must hold before an edge is taken.
///
/// A guard is checked in a sealed epoch only. It cannot become worse in that epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guard {
    /// Both databases have the side tables and a fence.
    SideTables,
    /// The new database can hold everything that the old one holds.
    LosslessSchema,
    /// The previous migration, if there was one, is closed.
    PredecessorClosed,
    /// The backfill has walked over every key of the old database. This guard is not hard: verification copies what the
    /// backfill missed, one key after the other.
    Backfilled,
    /// `mirror` was settled: it had an epoch of its own, in which everything that began in `off` has ended.
    Settled,
    /// A verification since settling was whole.
    Verified,
    /// No key of this database has a mark.
    NoMarks(Side),
    /// Every living session of the old database has a row at the new one.
    LivingAtNew,
}

impl Guard {
    /// All guards.
    pub const ALL: [Self; 9] = [
        Self::SideTables,
        Self::LosslessSchema,
        Self::PredecessorClosed,
        Self::Backfilled,
        Self::Settled,
        Self::Verified,
        Self::NoMarks(Side::Old),
        Self::NoMarks(Side::New),
        Self::LivingAtNew,
    ];

    /// The guard's word in the specification and in the log of decisions.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SideTables => "side-tables",
            Self::LosslessSchema => "lossless-schema",
            Self::PredecessorClosed => "predecessor-closed",
            Self::Backfilled => "backfilled",
            Self::Settled => "settled",
            Self::Verified => "verified",
            Self::NoMarks(Side::Old) => "no-marks-at-old",
            Self::NoMarks(Side::New) => "no-marks-at-new",
            Self::LivingAtNew => "living-at-new",
        }
    }

    /// What the guard demands, as a clause for messages.
    pub const fn demand(self) -> &'static str {
        match self {
            Self::SideTables => "both databases have the side tables and a fence",
            Self::LosslessSchema => "the new table can hold whatever the old one holds",
            Self::PredecessorClosed => "the migration before this one is closed",
            Self::Backfilled => "the backfill has copied every key of the old database",
            Self::Settled => "mirror is settled",
            Self::Verified => "a verification since settling found every key equal or marked",
            Self::NoMarks(Side::Old) => "no key of the old database has a mark",
            Self::NoMarks(Side::New) => "no key of the new database has a mark",
            Self::LivingAtNew => "every living session of the old database has a row at the new one",
        }
    }

    /// What to do when the guard is red.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::SideTables => "make the side tables in the database that lacks them",
            Self::LosslessSchema => "change the new table, or delete what it cannot hold",
            Self::PredecessorClosed => "close the migration before this one",
            Self::Backfilled => "wait for the backfill, or go on: verification copies what it missed, more slowly",
            Self::Settled => "settle mirror",
            Self::Verified => "verify, and look at the keys that it names",
            Self::NoMarks(Side::Old | Side::New) => "wait until the worker has copied what is marked",
            Self::LivingAtNew => "wait until idle sessions have been used or have ended",
        }
    }

    /// Whether the guard must be green. A guard that is not hard is advice: the step is safe without it.
    pub const fn is_hard(self) -> bool {
        match self {
            Self::Backfilled => false,
            Self::SideTables
            | Self::LosslessSchema
            | Self::PredecessorClosed
            | Self::Settled
            | Self::Verified
            | Self::NoMarks(Side::Old | Side::New)
            | Self::LivingAtNew => true,
        }
    }

    /// The verdict by the control document and the facts.
    pub fn look(self, standing: &Standing, facts: &Facts) -> Verdict {
        match self {
            Self::SideTables => Verdict::of(facts.side_tables),
            Self::LosslessSchema => Verdict::of(facts.lossless_schema),
            Self::PredecessorClosed => Verdict::of(facts.predecessor_closed),
            Self::Backfilled => Verdict::of(facts.backfilled),
            Self::Settled => Verdict::of(Some(standing.settled.is_some())),
            Self::Verified => Verdict::of(Some(standing.is_verified())),
            Self::NoMarks(Side::Old) => Verdict::of_keys(facts.marks_at_old),
            Self::NoMarks(Side::New) => Verdict::of_keys(facts.marks_at_new),
            Self::LivingAtNew => Verdict::of_keys(facts.living_not_at_new),
        }
    }
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What was seen in the databases, in the sealed epoch in force.
///
/// `None` means that nobody has looked yet; no guard is green by it. Some facts are expensive: `living_not_at_new`
/// needs a walk over all keys. So the controller checks one guard after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Facts {
    /// Both databases have the side tables of this version, and a fence row.
    pub side_tables: Option<bool>,
    /// The new table's schema can hold the old table's rows, and every old key fits into the new table.
    pub lossless_schema: Option<bool>,
    /// The fences of the previous migration stand at [`Epoch::CLOSED`](crate::Epoch::CLOSED), or there was none.
    pub predecessor_closed: Option<bool>,
    /// The backfill has reached the last key since `mirror` was entered from `off`.
    pub backfilled: Option<bool>,
    /// How many keys of this migration have a mark at the old database.
    pub marks_at_old: Option<u64>,
    /// How many keys of this migration have a mark at the new database.
    pub marks_at_new: Option<u64>,
    /// How many sessions of the old database live by its clock and have no row at the new one.
    pub living_not_at_new: Option<u64>,
}

/// Whether a guard holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The guard holds.
    Green,
    /// The guard does not hold.
    Red {
        /// How many keys violate it; `None` for a guard that does not count keys.
        keys: Option<u64>,
    },
    /// Nobody has looked yet.
    Unknown,
}

impl Verdict {
    fn of(fact: Option<bool>) -> Self {
        match fact {
            Some(true) => Self::Green,
            Some(false) => Self::Red { keys: None },
            None => Self::Unknown,
        }
    }

    fn of_keys(fact: Option<u64>) -> Self {
        match fact {
            Some(0) => Self::Green,
            Some(keys) => Self::Red { keys: Some(keys) },
            None => Self::Unknown,
        }
    }
}

/// A guard with its verdict. Displays as a line for people: `red (17 left): no key of the old database has a mark; …`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Finding {
    /// The guard.
    pub guard: Guard,
    /// Its verdict.
    pub verdict: Verdict,
}

impl Finding {
    /// Whether this finding forbids the step: the guard is hard and is not green.
    pub fn blocks(&self) -> bool {
        self.guard.is_hard() && self.verdict != Verdict::Green
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let demand = self.guard.demand();
        match self.verdict {
            Verdict::Green => write!(f, "green: {demand}"),
            Verdict::Red { keys: None } => write!(f, "red: {demand}; {}", self.guard.remedy()),
            Verdict::Red { keys: Some(keys) } => write!(f, "red ({keys} left): {demand}; {}", self.guard.remedy()),
            Verdict::Unknown => write!(f, "unknown: {demand}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString as _;

    use super::*;

    const GOOD: Facts = Facts {
        side_tables: Some(true),
        lossless_schema: Some(true),
        predecessor_closed: Some(true),
        backfilled: Some(true),
        marks_at_old: Some(0),
        marks_at_new: Some(0),
        living_not_at_new: Some(0),
    };

    #[test]
    fn guard_is_green_by_what_is_known_alone() {
        let settled = Standing { settled: Some(Standing::FIRST.epoch), ..Standing::FIRST };
        let verified = Standing { verified: settled.settled, ..settled };
        for guard in Guard::ALL {
            assert_eq!(guard.look(&verified, &GOOD), Verdict::Green, "{guard}");
            assert_ne!(guard.look(&Standing::FIRST, &Facts::default()), Verdict::Green, "{guard}");
        }
    }

    #[test]
    fn finding_says_what_is_demanded_how_much_is_left_and_what_to_do() {
        let facts = Facts { marks_at_old: Some(17), ..GOOD };
        let guard = Guard::NoMarks(Side::Old);
        let finding = Finding { guard, verdict: guard.look(&Standing::FIRST, &facts) };
        let text =
            "red (17 left): no key of the old database has a mark; wait until the worker has copied what is marked";
        assert_eq!(finding.to_string(), text);
    }

    #[test]
    fn only_a_hard_guard_blocks_and_not_knowing_blocks_too() {
        let finding = |guard, verdict| Finding { guard, verdict };
        assert!(!finding(Guard::Backfilled, Verdict::Red { keys: None }).blocks());
        assert!(finding(Guard::Verified, Verdict::Red { keys: None }).blocks());
        assert!(finding(Guard::LivingAtNew, Verdict::Unknown).blocks());
        assert!(!finding(Guard::LivingAtNew, Verdict::Green).blocks());
    }
}
