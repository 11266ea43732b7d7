//! What the databases answered in one call, which is what the policy may answer in turn.

use std::sync::MutexGuard;

use switchover_contract::{Error, ErrorCode, Result, SaveOutcome};
use switchover_core::Session;
use switchover_core::sync::Mutex;

/// What was seen in one call. The imports of the call write it; the judgement of its answer reads it.
#[derive(Debug, Default)]
pub struct Evidence(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// Which outcomes the write that was asked for had.
    outcomes: Outcomes,
    /// What the deletes answered: `true` if one of them found the session. `None` before the first delete, after one
    /// that failed, and after a save.
    deleted: Option<bool>,
    /// Whether the database that was asked last answered that there is no such session. If several were asked at once:
    /// whether every one of them did.
    absent: bool,
    /// Whether some database had the row.
    row: bool,
    /// Whether some database had no row.
    no_row: bool,
    /// How many rows `delete-expired` has deleted.
    cleared: u32,
    /// Whether a write was made, or may have been made.
    written: bool,
    /// Whether a write has an unknown outcome.
    unknown: bool,
    /// Whether the cache returned the session, and no database has answered since.
    only_cached: bool,
    /// The first request that was denied.
    denied: Option<String>,
}

impl Evidence {
    /// Records the answers of databases that were asked at the same time.
    pub(crate) fn saw_loads(&self, answers: &[Result<Option<Session>>]) {
        let mut seen = self.seen();
        seen.absent = !answers.is_empty() && answers.iter().all(|answer| matches!(answer, Ok(None)));
        for found in answers.iter().flatten() {
            seen.saw_row(found.is_some());
            seen.only_cached = false;
        }
    }

    /// Records that the cache returned the session.
    pub(crate) fn saw_hit(&self) {
        self.seen().only_cached = true;
    }

    /// Whether the policy has only an entry of the cache, which other hosts may have replaced.
    pub(crate) fn has_only_cached(&self) -> bool {
        self.seen().only_cached
    }

    pub(crate) fn saw_exists(&self, answer: &Result<bool>) {
        let mut seen = self.seen();
        seen.absent = matches!(answer, Ok(false));
        if let Ok(exists) = answer {
            seen.saw_row(*exists);
        }
    }

    /// Records that a write is about to be sent. From here on, a call that does not end has an unknown outcome. Returns
    /// whether an earlier write was made or may have been made.
    pub(crate) fn sends_write(&self) -> bool {
        std::mem::replace(&mut self.seen().written, true)
    }

    pub(crate) fn saw_outcome(&self, written_before: bool, as_asked: bool, answer: &Result<SaveOutcome>) {
        let mut seen = self.seen();
        match answer {
            Ok(outcome) => {
                if *outcome == SaveOutcome::Saved {
                    seen.deleted = None;
                }
                if as_asked {
                    *seen.outcomes.of(*outcome) = true;
                }
                seen.written = written_before || *outcome == SaveOutcome::Saved;
            }
            Err(error) => seen.saw_write_error(written_before, error),
        }
    }

    pub(crate) fn saw_delete(&self, written_before: bool, answer: &Result<bool>) {
        let mut seen = self.seen();
        // What was saved before is gone.
        seen.outcomes.saved = false;
        seen.deleted = answer.as_ref().ok().map(|had| *had || seen.deleted == Some(true));
        match answer {
            Ok(had) => seen.written = written_before || *had,
            Err(error) => seen.saw_write_error(written_before, error),
        }
    }

    pub(crate) fn saw_cleaning(&self, written_before: bool, answer: &Result<u32>) {
        let mut seen = self.seen();
        match answer {
            Ok(cleared) => {
                seen.cleared = seen.cleared.saturating_add(*cleared);
                seen.written = written_before || *cleared > 0;
            }
            Err(error) => seen.saw_write_error(written_before, error),
        }
    }

    pub(crate) fn saw_other_write<T>(&self, written_before: bool, answer: &Result<T>) {
        if let Err(error) = answer {
            self.seen().saw_write_error(written_before, error);
        }
    }

    /// Whether a write was made, or may have been made.
    pub(crate) fn has_written(&self) -> bool {
        self.seen().written
    }

    /// Whether a write of this call has an unknown outcome.
    pub(crate) fn is_unknown(&self) -> bool {
        self.seen().unknown
    }

    /// The first request that was denied.
    pub(crate) fn denied(&self) -> Option<String> {
        self.seen().denied.clone()
    }

    /// Whether the answers show that there is no session.
    pub(crate) fn shows_absence(&self) -> bool {
        self.seen().absent
    }

    /// Whether the answers show that the key is taken, or that it is not.
    pub(crate) fn shows_exists(&self, exists: bool) -> bool {
        let seen = self.seen();
        if exists { seen.row } else { seen.no_row && seen.absent }
    }

    /// Whether the write that was asked for had this outcome.
    pub(crate) fn shows_outcome(&self, outcome: SaveOutcome) -> bool {
        *self.seen().outcomes.of(outcome)
    }

    /// Whether at least this many rows were cleared.
    pub(crate) fn shows_cleared(&self, count: u32) -> bool {
        count <= self.seen().cleared
    }

    /// Whether the session was deleted, and the deletes found it (`had`) or did not.
    pub(crate) fn shows_deleted(&self, had: bool) -> bool {
        self.seen().deleted == Some(had)
    }

    /// Remembers a denied request, if it is the first.
    pub(crate) fn saw_denied(&self, message: &str) {
        self.seen().denied.get_or_insert_with(|| message.to_owned());
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock()
    }
}

/// One field for each case of [`SaveOutcome`].
#[derive(Debug, Default)]
struct Outcomes {
    saved: bool,
    exists: bool,
    missing: bool,
    conflict: bool,
}

impl Outcomes {
    fn of(&mut self, outcome: SaveOutcome) -> &mut bool {
        match outcome {
            SaveOutcome::Saved => &mut self.saved,
            SaveOutcome::Exists => &mut self.exists,
            SaveOutcome::Missing => &mut self.missing,
            SaveOutcome::Conflict => &mut self.conflict,
        }
    }
}

impl Seen {
    fn saw_row(&mut self, there: bool) {
        *(if there { &mut self.row } else { &mut self.no_row }) = true;
    }

    fn saw_write_error(&mut self, written_before: bool, error: &Error) {
        let unknown = error.code == ErrorCode::UnknownOutcome;
        self.unknown |= unknown;
        self.written = written_before || unknown;
    }
}
