//! The promises that a run of a move can break.

use crate::searched::Promise;

/// A promise that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Broken {
    /// No row is found where a committed write left one.
    Lost,
    /// A row is found where a committed delete left none.
    Back,
    /// A row is found that a committed write had replaced.
    Stale,
    /// Before the cut an application waits for a copier, or meets an error.
    Disturbed,
}

impl Promise for Broken {
    const ALL: &'static [Self] = &[Self::Lost, Self::Back, Self::Stale, Self::Disturbed];

    fn promise(self) -> &'static str {
        match self {
            Self::Lost => "no committed write is lost",
            Self::Back => "nothing that was deleted comes back",
            Self::Stale => "whoever reads finds the last committed row",
            Self::Disturbed => "before the cut no application waits for a copier or meets an error",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Back => "back",
            Self::Stale => "stale",
            Self::Disturbed => "disturbed",
        }
    }
}
