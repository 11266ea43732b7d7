//! One call of a policy: the contract's exports as values.

use std::fmt;

use switchover_guest::{Hints, Instant, Model, Object, SaveMode};

use super::function::Scope;
use super::session::FakeSession;
use super::text::{self, short_key};

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

/// As a script has it.
impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load { key } => write!(f, "load {}", short_key(key)),
            Self::Save { key, value, mode } => write!(f, "{} {} {value}", text::mode(*mode), short_key(key)),
            Self::Touch { key, expires_at } => {
                write!(f, "touch {} expires={}", short_key(key), text::instant(*expires_at))
            }
            Self::Delete { key } => write!(f, "delete {}", short_key(key)),
            Self::Exists { key } => write!(f, "exists {}", short_key(key)),
            Self::ClearExpired { limit } => write!(f, "clear-expired {limit}"),
            Self::DbForRead { model, hints } => write!(f, "db-for-read {}{}", ModelText(model), HintsText(hints)),
            Self::DbForWrite { model, hints } => write!(f, "db-for-write {}{}", ModelText(model), HintsText(hints)),
            Self::AllowRelation { a, b, hints } => {
                write!(f, "allow-relation {} {}{}", ObjectText(a), ObjectText(b), HintsText(hints))
            }
            Self::AllowMigrate { database, app_label, model_name, hints } => {
                write!(f, "allow-migrate {database} {app_label}")?;
                model_name.iter().try_for_each(|name| write!(f, " {name}"))?;
                write!(f, "{}", HintsText(hints))
            }
            Self::Describe => f.write_str("describe"),
        }
    }
}

struct ModelText<'a>(&'a Model);

impl fmt::Display for ModelText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0.app_label, self.0.model_name)
    }
}

struct ObjectText<'a>(&'a Object);

impl fmt::Display for ObjectText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", ModelText(&self.0.model))?;
        self.0.database.iter().try_for_each(|database| write!(f, "@{database}"))
    }
}

struct HintsText<'a>(&'a Hints);

impl fmt::Display for HintsText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.instance_database.iter().try_for_each(|database| write!(f, " instance={database}"))?;
        self.0.key.iter().try_for_each(|key| write!(f, " key={key}"))
    }
}
