//! The terms of an operation: its deadline, and the epoch of its caller.

use std::sync::Arc;
use std::time::Instant;

use super::DatabaseError;

/// A number that grows with each change of phase, flags or policy. A database with a higher fence refuses the
/// operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u64);

/// The migration that a caller takes part in, and the epoch of the caller. A database with a higher fence refuses the
/// operation, and so does one without a fence of this migration. A database that cannot have
/// [side tables](super::Database::side_tables) refuses every operation with a fence.
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
    /// When the operation must have returned, even if the server does not answer.
    pub deadline: Instant,
    /// The fence of the caller's migration; `None` if the caller takes part in none.
    pub fence: Option<Fence>,
}

impl Terms {
    /// The terms of a caller that takes part in no migration, with this deadline.
    pub fn by(deadline: Instant) -> Self {
        Self { deadline, fence: None }
    }

    /// Checks that there is no fence. For a database that has nothing to compare it with.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Invalid`] if there is one.
    pub fn ensure_no_fence(&self) -> Result<(), DatabaseError> {
        match &self.fence {
            None => Ok(()),
            Some(_) => Err(DatabaseError::Invalid {
                message: "this database has no side tables, so it cannot take part in a migration by epochs".to_owned(),
            }),
        }
    }
}
