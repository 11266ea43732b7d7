//! What a question lets the policy reach, and what its writes are measured by.

use switchover_contract::{Hints, SaveMode};
use switchover_core::{Session, SessionKey, Timestamp};

/// What a question lets the policy reach, and what its writes are measured by.
#[derive(Debug, Default)]
pub struct Asked {
    /// The only key that the call may name.
    pub(crate) key: Option<SessionKey>,
    /// The write that the policy was asked for.
    pub(crate) write: Option<AskedWrite>,
    /// Whether rows that have ended may be deleted.
    pub(crate) cleans: bool,
    /// A key among a router's hints, which must not be shown.
    pub(crate) hint: Option<String>,
}

/// The write that a policy was asked for, as far as one of its own is compared with it.
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

    /// Whether a save of the policy is the save that it was asked for.
    pub(crate) fn is_save(&self, value: &Session, mode: SaveMode) -> bool {
        matches!(&self.write, Some(AskedWrite::Save(asked, asked_mode)) if asked == value && *asked_mode == mode)
    }

    /// Whether a touch of the policy is the touch that it was asked for.
    pub(crate) fn is_touch(&self, expires_at: Timestamp) -> bool {
        matches!(&self.write, Some(AskedWrite::Touch(asked)) if expires_at >= *asked)
    }
}
