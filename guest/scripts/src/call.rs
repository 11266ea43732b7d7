//! One call of a policy: the contract's exports as values.

use switchover_guest::{Hints, Instant, Model, Object, SaveMode};

use super::function::Scope;
use super::session::FakeSession;

/// One call of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// `session-store.load`
    Load {
        /// The session's key.
        key: String,
    },
    /// `session-store.save`
    Save {
        /// The session's key.
        key: String,
        /// What to save.
        value: FakeSession,
        /// Create or update.
        mode: SaveMode,
    },
    /// `session-store.touch`
    Touch {
        /// The session's key.
        key: String,
        /// When it shall end.
        expires_at: Instant,
    },
    /// `session-store.delete`
    Delete {
        /// The session's key.
        key: String,
    },
    /// `session-store.exists`
    Exists {
        /// The session's key.
        key: String,
    },
    /// `session-store.clear-expired`
    ClearExpired {
        /// How many at most.
        limit: u32,
    },
    /// `router.db-for-read`
    DbForRead {
        /// Of what.
        model: Model,
        /// What else the caller knows.
        hints: Hints,
    },
    /// `router.db-for-write`
    DbForWrite {
        /// Of what.
        model: Model,
        /// What else the caller knows.
        hints: Hints,
    },
    /// `router.allow-relation`
    AllowRelation {
        /// One instance.
        a: Object,
        /// The other.
        b: Object,
        /// What else the caller knows.
        hints: Hints,
    },
    /// `router.allow-migrate`
    AllowMigrate {
        /// Where.
        database: String,
        /// The application.
        app_label: String,
        /// One model of it.
        model_name: Option<String>,
        /// What else the caller knows.
        hints: Hints,
    },
    /// `about.describe`
    Describe,
}

impl Call {
    /// The key that the policy may name during this call.
    pub fn scope(&self) -> Scope {
        match self {
            Self::Load { key }
            | Self::Save { key, .. }
            | Self::Touch { key, .. }
            | Self::Delete { key }
            | Self::Exists { key } => Scope::Key(key.clone()),
            Self::ClearExpired { .. }
            | Self::DbForRead { .. }
            | Self::DbForWrite { .. }
            | Self::AllowRelation { .. }
            | Self::AllowMigrate { .. }
            | Self::Describe => Scope::None,
        }
    }
}
