//! The phases of a migration, the paths through them, and which of the two databases decides in each.

use core::fmt;

/// One of the two databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Where sessions live before the migration.
    Old,
    /// Where sessions live after it.
    New,
}

impl Side {
    /// The other database.
    pub const fn other(self) -> Self {
        match self {
            Self::Old => Self::New,
            Self::New => Self::Old,
        }
    }

    /// The word for it in the specification. Operators use their own names for the databases.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Old => "old",
            Self::New => "new",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The phase of a migration, as operators name it. Later phases are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Only the old database is used.
    Off,
    /// Profile `lazy` only. Each write removes the key's row from the new database.
    Invalidate,
    /// Profile `backfill` only. The old database decides; a durable mark remembers what the new one lacks.
    Mirror,
    /// A write goes to both databases or to neither. The old one decides.
    Strict,
    /// A write goes to both databases or to neither. The new one decides and is read.
    Cutover,
    /// The new database decides; a durable mark remembers what the old one lacks.
    Reverse,
    /// Only the new database is used.
    Complete,
}

impl Phase {
    /// All phases.
    pub const ALL: [Self; 7] =
        [Self::Off, Self::Invalidate, Self::Mirror, Self::Strict, Self::Cutover, Self::Reverse, Self::Complete];

    /// The operator's word for it.
    pub const fn as_str(self) -> &'static str {
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

    /// The phase with this word; `None` if there is none.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.as_str() == word)
    }

    /// The database that decides writes.
    pub const fn home(self) -> Side {
        match self {
            Self::Off | Self::Invalidate | Self::Mirror | Self::Strict => Side::Old,
            Self::Cutover | Self::Reverse | Self::Complete => Side::New,
        }
    }

    /// The database that copies are read from. It is home, where marks are set and cleared. `None` in a phase that
    /// copies nothing.
    pub const fn source(self) -> Option<Side> {
        match self {
            Self::Mirror | Self::Strict | Self::Cutover | Self::Reverse => Some(self.home()),
            Self::Off | Self::Invalidate | Self::Complete => None,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How idle sessions get into the new database, as operators name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Profile {
    /// Idle sessions are copied in `mirror`.
    Backfill,
    /// Idle sessions are not copied: they are carried over when they are used, or they end.
    Lazy,
}

impl Profile {
    /// Both profiles.
    pub const ALL: [Self; 2] = [Self::Backfill, Self::Lazy];

    /// The operator's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Backfill => "backfill",
            Self::Lazy => "lazy",
        }
    }

    /// The profile with this word; `None` if there is none.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.as_str() == word)
    }

    /// The phases that a migration of this profile goes through, each a neighbour of the next.
    pub const fn path(self) -> &'static [Phase] {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back() {
        for phase in Phase::ALL {
            assert_eq!(Phase::parse(phase.as_str()), Some(phase));
        }
        for profile in Profile::ALL {
            assert_eq!(Profile::parse(profile.as_str()), Some(profile));
        }
        assert_eq!((Phase::parse("Off"), Profile::parse("")), (None, None));
    }

    #[test]
    fn path_goes_from_lesser_to_greater_phases() {
        for profile in Profile::ALL {
            assert!(profile.path().is_sorted());
        }
    }
}
