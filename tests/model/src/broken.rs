//! The promises that a run can break.

use crate::searched::Promise;

/// A promise that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Broken {
    /// A living session was not found.
    Lost,
    /// A session was found after its delete was acknowledged.
    Back,
    /// A read found a version that an acknowledged write had replaced.
    Stale,
    /// An update of a living session got the answer that the session is gone.
    Gone,
}

impl Promise for Broken {
    const ALL: &'static [Self] = &[Self::Lost, Self::Back, Self::Stale, Self::Gone];

    fn promise(self) -> &'static str {
        match self {
            Self::Lost => "no acknowledged write is lost",
            Self::Back => "nothing comes back after an acknowledged delete",
            Self::Stale => "nothing stale is read",
            Self::Gone => "no living session is reported gone",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Back => "back",
            Self::Stale => "stale",
            Self::Gone => "gone",
        }
    }
}
