//! What a question allows the policy to reach, and the write that it asks for.

use switchover_contract::{Hints, SaveMode};
use switchover_core::{Session, SessionKey, Timestamp};

/// What a question allows the policy to reach, and the write that it asks for.
#[derive(Debug, Default)]
pub struct Asked {
    /// The only key that the call may name.
    pub(crate) key: Option<SessionKey>,
    /// The write that the policy was asked for.
    pub(crate) write: Option<AskedWrite>,
    /// Whether rows that have ended may be deleted.
    pub(crate) cleans: bool,
    /// The key in a router's hints, which must not be shown.
    pub(crate) hint: Option<String>,
}

/// The parts of the write that a policy was asked for, with which its own writes are compared.
#[derive(Debug)]
pub(crate) enum AskedWrite {
    Save(Session, SaveMode),
    Touch(Timestamp),
}

impl Asked {
    pub(super) fn of_key(key: &SessionKey) -> Self {
        Self { key: Some(key.clone()), ..Self::default() }
    }

    pub(super) fn of_router(hints: &Hints) -> Self {
        Self { hint: hints.key.clone(), ..Self::default() }
    }

    /// Whether a save by the policy is the save that it was asked for.
    pub(crate) fn is_save(&self, value: &Session, mode: SaveMode) -> bool {
        matches!(&self.write, Some(AskedWrite::Save(asked, asked_mode)) if asked == value && *asked_mode == mode)
    }

    /// Whether a touch by the policy is the touch that it was asked for, or moves the end to a later time.
    pub(crate) fn is_touch(&self, expires_at: Timestamp) -> bool {
        matches!(&self.write, Some(AskedWrite::Touch(asked)) if expires_at >= *asked)
    }
}
