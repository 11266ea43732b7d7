//! What the databases answered in one call: what the policy may answer in turn.

use std::sync::{Mutex, MutexGuard, PoisonError};

use switchover_contract::{Error, ErrorCode, Result, SaveOutcome};
use switchover_core::Session;

/// What was seen in one call. It is written by the imports of the call, and read when its answer is judged.
#[derive(Debug, Default)]
pub struct Evidence(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// Which outcomes the write had that was asked for.
    outcomes: Outcomes,
    /// What the deletes answered, `true` if one of them had the session; `None` before the first, and after one that failed.
    deleted: Option<bool>,
    /// The database that was asked last answered that there is no such session; of several at once, every one of them.
    absent: bool,
    /// Some database had the row.
    row: bool,
    /// Some database had no row.
    no_row: bool,
    /// How many rows the cleaner has deleted.
    cleared: u32,
    /// A write was sent that was done, or may have been.
    written: bool,
    /// A write has an outcome that is not known.
    unknown: bool,
    /// The cache gave the session, and no database has since.
    only_cached: bool,
    /// Something was asked for that was not granted.
    denied: Option<String>,
}

impl Evidence {
    /// Answers that were asked for at the same time.
    pub(crate) fn saw_loads(&self, answers: &[Result<Option<Session>>]) {
        let mut seen = self.seen();
        seen.absent = !answers.is_empty() && answers.iter().all(|answer| matches!(answer, Ok(None)));
        for found in answers.iter().flatten() {
            seen.saw_row(found.is_some());
            seen.only_cached = false;
        }
    }

    /// The cache gave the session.
    pub(crate) fn saw_hit(&self) {
        self.seen().only_cached = true;
    }

    /// Whether what the policy has in its hands is an entry of the cache, which other hosts may have replaced.
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

    /// Before a write is sent. From here on a call that does not end has an unknown outcome.
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
        // Whatever was saved before is gone.
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

    /// Whether a write was sent that was done, or may have been.
    pub(crate) fn has_written(&self) -> bool {
        self.seen().written
    }

    /// Whether a write of this call has an outcome that is not known.
    pub(crate) fn is_unknown(&self) -> bool {
        self.seen().unknown
    }

    /// The first thing that was asked for and not granted.
    pub(crate) fn denied(&self) -> Option<String> {
        self.seen().denied.clone()
    }

    /// Whether it was seen that there is no session.
    pub(crate) fn shows_absence(&self) -> bool {
        self.seen().absent
    }

    /// Whether it was seen that the key is taken, or that it is not.
    pub(crate) fn shows_exists(&self, exists: bool) -> bool {
        let seen = self.seen();
        if exists { seen.row } else { seen.no_row && seen.absent }
    }

    /// Whether the write that was asked for had this outcome.
    pub(crate) fn shows_outcome(&self, outcome: SaveOutcome) -> bool {
        *self.seen().outcomes.of(outcome)
    }

    /// Whether so many were cleared away.
    pub(crate) fn shows_cleared(&self, count: u32) -> bool {
        count <= self.seen().cleared
    }

    /// Whether the session was deleted, and was there, or was not.
    pub(crate) fn shows_deleted(&self, had: bool) -> bool {
        self.seen().deleted == Some(had)
    }

    /// Remembers the first thing that was asked for and not granted.
    pub(crate) fn saw_denied(&self, message: &str) {
        self.seen().denied.get_or_insert_with(|| message.to_owned());
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One for each case of [`SaveOutcome`].
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
