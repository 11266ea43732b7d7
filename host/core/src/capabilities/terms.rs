//! By when an operation must have ended, and under which epoch it is made.

use std::sync::Arc;
use std::time::Instant;

/// The number that grows with each change of phase, flags or policy. A database whose fence is higher refuses the operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u64);

/// Which epoch of which migration a caller takes part in. A database whose fence is higher refuses what carries a lower one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fence {
    /// The name of the migration.
    pub migration: Arc<str>,
    /// The epoch that the caller is in.
    pub epoch: Epoch,
}

/// The terms of an operation.
#[derive(Clone, Debug)]
pub struct Terms {
    /// When it must have ended, whatever the server does.
    pub deadline: Instant,
    /// `None`: the caller takes part in no migration.
    pub fence: Option<Fence>,
}

impl Terms {
    /// To have ended by `deadline`, for a caller who takes part in no migration.
    pub fn by(deadline: Instant) -> Self {
        Self { deadline, fence: None }
    }
}
