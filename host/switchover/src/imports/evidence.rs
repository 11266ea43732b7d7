//! What was asked of a policy, and what the databases told it in the same call: what it may tell in turn.

use std::sync::{MutexGuard, PoisonError};

use switchover_contract::{Error, ErrorCode, Result, SaveMode, SaveOutcome};

use super::call::CallContext;
use crate::session::{Session, Timestamp};

/// What the host asked of the policy, as far as its answer is measured by it.
pub(crate) enum Asked {
    /// To find a session, or whether its key is taken.
    Find,
    Save(Session, SaveMode),
    Touch(Timestamp),
    Delete,
    ClearExpired,
    /// A question to the router, which may carry a key in its hints; or for the description.
    Other {
        hint: Option<String>,
    },
}

impl Asked {
    /// Whether a save of the policy is the save that it was asked for.
    pub(super) fn is_save(&self, value: &Session, mode: SaveMode) -> bool {
        matches!(self, Self::Save(asked, asked_mode) if asked == value && *asked_mode == mode)
    }

    /// Whether a touch of the policy is the touch that it was asked for.
    pub(super) fn is_touch(&self, expires_at: Timestamp) -> bool {
        matches!(self, Self::Touch(asked) if expires_at >= *asked)
    }
}

/// What the databases told a call: what it may tell in turn.
#[derive(Default)]
pub(super) struct Evidence {
    /// One bit for each [`SaveOutcome`] that the write which was asked for had.
    outcomes: u8,
    /// What the deletes answered, `true` if one of them had the session; `None` before the first, and after one that failed.
    deleted: Option<bool>,
    /// The database that was asked last answered that there is no such session; of several at once, every one of them.
    absent: bool,
    /// One bit each for a database that had the row and one that had not.
    rows: u8,
    /// How many rows the cleaner has deleted.
    cleared: u32,
    /// A write was sent that was done, or may have been.
    written: bool,
    /// A write has an outcome that is not known.
    unknown: bool,
    /// The cache gave the session, and no database has since.
    only_cached: bool,
    /// Something was asked for that was not granted.
    pub(super) denied: Option<String>,
}

impl CallContext {
    /// Answers that were asked for at the same time.
    pub(super) fn saw_loads(&self, answers: &[Result<Option<Session>>]) {
        let mut evidence = self.evidence();
        evidence.absent = !answers.is_empty() && answers.iter().all(|answer| matches!(answer, Ok(None)));
        for found in answers.iter().flatten() {
            evidence.rows |= row_bit(found.is_some());
            evidence.only_cached = false;
        }
    }

    /// The cache gave the session.
    pub(super) fn saw_hit(&self) {
        self.evidence().only_cached = true;
    }

    /// Whether what the policy has in its hands is an entry of the cache, which other hosts may have replaced.
    pub(super) fn has_only_cached(&self) -> bool {
        self.evidence().only_cached
    }

    pub(super) fn saw_exists(&self, answer: &Result<bool>) {
        let mut evidence = self.evidence();
        evidence.absent = matches!(answer, Ok(false));
        if let Ok(exists) = answer {
            evidence.rows |= row_bit(*exists);
        }
    }

    /// Before a write is sent. From here on a call that does not end has an unknown outcome.
    pub(super) fn sends_write(&self) -> bool {
        std::mem::replace(&mut self.evidence().written, true)
    }

    pub(super) fn saw_outcome(&self, written_before: bool, as_asked: bool, answer: &Result<SaveOutcome>) {
        let mut evidence = self.evidence();
        match answer {
            Ok(outcome) => {
                if *outcome == SaveOutcome::Saved {
                    evidence.deleted = None;
                }
                if as_asked {
                    evidence.outcomes |= bit(*outcome);
                }
                evidence.written = written_before || *outcome == SaveOutcome::Saved;
            }
            Err(error) => evidence.saw_write_error(written_before, error),
        }
    }

    pub(super) fn saw_delete(&self, written_before: bool, answer: &Result<bool>) {
        let mut evidence = self.evidence();
        // Whatever was saved before is gone.
        evidence.outcomes &= !bit(SaveOutcome::Saved);
        evidence.deleted = answer.as_ref().ok().map(|had| *had || evidence.deleted == Some(true));
        match answer {
            Ok(had) => evidence.written = written_before || *had,
            Err(error) => evidence.saw_write_error(written_before, error),
        }
    }

    pub(super) fn saw_cleaning(&self, written_before: bool, answer: &Result<u32>) {
        let mut evidence = self.evidence();
        match answer {
            Ok(cleared) => {
                evidence.cleared = evidence.cleared.saturating_add(*cleared);
                evidence.written = written_before || *cleared > 0;
            }
            Err(error) => evidence.saw_write_error(written_before, error),
        }
    }

    pub(super) fn saw_other_write<T>(&self, written_before: bool, answer: &Result<T>) {
        if let Err(error) = answer {
            self.evidence().saw_write_error(written_before, error);
        }
    }

    /// Whether a write was sent that was done, or may have been.
    pub(crate) fn has_written(&self) -> bool {
        self.evidence().written
    }

    /// Whether a write of this call has an outcome that is not known.
    pub(crate) fn is_unknown(&self) -> bool {
        self.evidence().unknown
    }

    /// The first thing that was asked for and not granted.
    pub(crate) fn denied(&self) -> Option<String> {
        self.evidence().denied.clone()
    }

    /// Whether the policy may tell that there is no session.
    pub(crate) fn may_tell_absence(&self) -> bool {
        self.evidence().absent
    }

    /// Whether the policy may tell that the key is taken, or that it is not.
    pub(crate) fn may_tell_exists(&self, exists: bool) -> bool {
        let evidence = self.evidence();
        evidence.rows & row_bit(exists) != 0 && (exists || evidence.absent)
    }

    /// Whether the policy may tell this outcome: a database told it before.
    pub(crate) fn may_tell_outcome(&self, outcome: SaveOutcome) -> bool {
        self.evidence().outcomes & bit(outcome) != 0
    }

    /// Whether the policy may tell that so many were cleared away.
    pub(crate) fn may_tell_cleared(&self, count: u32) -> bool {
        count <= self.evidence().cleared
    }

    /// Whether the policy may tell that the session was deleted, and that it was there, or was not.
    pub(crate) fn may_tell_deleted(&self, had: bool) -> bool {
        self.evidence().deleted == Some(had)
    }

    pub(super) fn evidence(&self) -> MutexGuard<'_, Evidence> {
        self.evidence.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Evidence {
    fn saw_write_error(&mut self, written_before: bool, error: &Error) {
        let unknown = error.code == ErrorCode::UnknownOutcome;
        self.unknown |= unknown;
        self.written = written_before || unknown;
    }
}

fn bit(outcome: SaveOutcome) -> u8 {
    match outcome {
        SaveOutcome::Saved => 1,
        SaveOutcome::Exists => 2,
        SaveOutcome::Missing => 4,
        SaveOutcome::Conflict => 8,
    }
}

fn row_bit(there: bool) -> u8 {
    if there { 1 } else { 2 }
}
