//! Epochs and numbers: what a statement carries, the next number of a key, and when a statement comes too late.
//!
//! Both are `BIGINT` columns, so both convert to and from an `i64`.

use core::fmt;
use core::num::TryFromIntError;

/// Counts the changes of a migration: changes of the phase, changes of the policy, and settling.
///
/// A fence is an epoch too: the lowest one whose statements a database still executes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(i64);

impl Epoch {
    /// Before the first epoch; the value of `sealed` while no epoch is sealed.
    pub const ZERO: Self = Self(0);

    /// The epoch of a migration that has just been made.
    pub const FIRST: Self = Self(1);

    /// The fence of a closed migration. No host reaches it.
    pub const CLOSED: Self = Self(i64::MAX);

    /// The next epoch.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Counts the statements that the new database, the one without the key lock, has executed for one key. A marked write
/// there counts as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number(i64);

impl Number {
    /// The number of a key that has no row of its own.
    pub const ZERO: Self = Self(0);

    /// The number of the next statement: one more than the higher of `kept` and `known`.
    ///
    /// `kept` is the number of the key's row, read under its lock. `known` is the number that the new database had when
    /// it refused the previous attempt, and zero at the first attempt. It must be read before the lock is taken. If it
    /// is read afterwards, it may be the number of another holder that took the lock in the meantime.
    pub fn next(kept: Self, known: Self) -> Self {
        Self(kept.max(known).0.saturating_add(1))
    }
}

/// What a statement carries, so that the database can decide whether it comes too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// The epoch with which its call began.
    pub epoch: Epoch,
    /// Its number, if it goes to the database without the key lock. `None` for a write at home alone, and for a
    /// statement at the database with the key lock.
    pub number: Option<Number>,
}

/// What a database holds at the moment in which it would execute a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Seen {
    /// Its fence. `None` if it has no fence row of this migration; then it refuses every statement.
    pub fence: Option<Epoch>,
    /// The number of the key's row; zero if there is no such row.
    pub number: Number,
}

/// Why a statement comes too late. Nothing was executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TooLate {
    /// Its epoch is below the fence, or there is no fence. The host has to read the control document; its caller may
    /// repeat the call.
    Fenced,
    /// A statement with this number or a higher one was executed before. The sender begins again and passes on `known`.
    Overtaken {
        /// The number of the last statement that was executed.
        known: Number,
    },
}

impl Stamp {
    /// Why a database that holds `seen` refuses this statement. `None` if the database executes it and keeps its
    /// number.
    pub fn too_late(self, seen: Seen) -> Option<TooLate> {
        if seen.fence.is_none_or(|fence| self.epoch < fence) {
            return Some(TooLate::Fenced);
        }
        let is_overtaken = self.number.is_some_and(|number| number <= seen.number);
        is_overtaken.then_some(TooLate::Overtaken { known: seen.number })
    }
}

impl From<u32> for Epoch {
    fn from(value: u32) -> Self {
        Self(value.into())
    }
}

impl TryFrom<i64> for Epoch {
    type Error = TryFromIntError;

    /// # Errors
    ///
    /// The value is negative.
    fn try_from(value: i64) -> Result<Self, Self::Error> {
        u64::try_from(value).map(|_| Self(value))
    }
}

impl From<Epoch> for i64 {
    fn from(epoch: Epoch) -> Self {
        epoch.0
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<u32> for Number {
    fn from(value: u32) -> Self {
        Self(value.into())
    }
}

impl TryFrom<i64> for Number {
    type Error = TryFromIntError;

    /// # Errors
    ///
    /// The value is negative.
    fn try_from(value: i64) -> Result<Self, Self::Error> {
        u64::try_from(value).map(|_| Self(value))
    }
}

impl From<Number> for i64 {
    fn from(number: Number) -> Self {
        number.0
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEN: Seen = Seen { fence: Some(Epoch(4)), number: Number(7) };

    fn stamp(epoch: i64, number: Option<i64>) -> Stamp {
        Stamp { epoch: Epoch(epoch), number: number.map(Number) }
    }

    #[test]
    fn next_number_is_above_what_either_side_knows() {
        assert_eq!(Number::next(Number::ZERO, Number::ZERO), Number(1));
        assert_eq!(Number::next(Number(3), Number(9)), Number(10));
        assert_eq!(Number::next(Number(9), Number(3)), Number(10));
    }

    #[test]
    fn next_number_after_a_refusal_is_not_refused_again() {
        let Some(TooLate::Overtaken { known }) = stamp(4, Some(2)).too_late(SEEN) else { panic!("7 was executed") };
        let next = Number::next(Number(1), known);
        assert_eq!(Stamp { number: Some(next), ..stamp(4, None) }.too_late(SEEN), None);
    }

    #[test]
    fn statement_is_refused_below_the_fence_and_without_one() {
        assert_eq!(stamp(3, Some(8)).too_late(SEEN), Some(TooLate::Fenced));
        assert_eq!(stamp(4, Some(8)).too_late(SEEN), None);
        assert_eq!(stamp(4, Some(8)).too_late(Seen { fence: None, ..SEEN }), Some(TooLate::Fenced));
    }

    #[test]
    fn statement_is_refused_by_its_own_number_and_by_later_ones() {
        let overtaken = Some(TooLate::Overtaken { known: Number(7) });
        assert_eq!(stamp(4, Some(6)).too_late(SEEN), overtaken);
        assert_eq!(stamp(4, Some(7)).too_late(SEEN), overtaken);
        assert_eq!(stamp(4, None).too_late(SEEN), None);
    }

    #[test]
    fn closed_migration_takes_nothing_of_any_epoch_that_a_host_reaches() {
        let closed = Seen { fence: Some(Epoch::CLOSED), ..SEEN };
        assert_eq!(stamp(i64::MAX - 1, None).too_late(closed), Some(TooLate::Fenced));
        assert_eq!(Epoch::CLOSED.next(), Epoch::CLOSED);
    }

    #[test]
    fn column_below_zero_is_neither_an_epoch_nor_a_number() {
        assert!(Epoch::try_from(-1_i64).is_err() && Number::try_from(-1_i64).is_err());
        assert_eq!(Epoch::try_from(i64::MAX), Ok(Epoch::CLOSED));
        assert_eq!(i64::from(Number::from(3)), 3);
    }
}
