//! One call of a policy: the key it may name, what is left of its limits, and what the databases told it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use switchover_guest::{Error, ErrorCode, Result, SaveMode, SaveOutcome, Target};

use crate::capabilities::{Clock, FlagSnapshot};
use crate::counters::Counters;
use crate::error::PolicyFault;
use crate::gate::Ticket;
use crate::limits::{LOG_LINE_BYTES_MAX, LOG_LINES_MAX};
use crate::session::{Session, SessionKey, Timestamp};
use crate::store::Reach;

/// What an operator allows a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Grants {
    /// The databases that it may name; `None`: all that there are.
    pub(crate) databases: Option<BTreeSet<String>>,
    /// Whether it may read payloads.
    pub(crate) payload: bool,
}

/// What all calls of one policy version share.
pub(crate) struct PolicyScope {
    /// The name that the policy gave itself.
    pub(crate) name: String,
    pub(crate) settings: BTreeMap<String, String>,
    pub(crate) grants: Grants,
    pub(crate) host_calls_max: u32,
    /// Some call has read a payload: an instance may remember it, so nothing that the policy says is shown from then on.
    pub(crate) payload_read: AtomicBool,
}

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

/// One call. The imports of a component and those of a native policy go through the same methods.
pub(crate) struct CallContext {
    /// The only key that the call may name; none in a call of the router or of the cleaner.
    pub(super) key: Option<SessionKey>,
    pub(super) asked: Asked,
    pub(super) scope: Arc<PolicyScope>,
    pub(super) reach: Arc<dyn Reach>,
    pub(super) flags: Arc<FlagSnapshot>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ticket: Ticket,
    counters: Arc<Counters>,
    host_calls_left: AtomicU32,
    overspent: AtomicBool,
    log_lines_left: AtomicU32,
    evidence: Mutex<Evidence>,
}

/// What the databases told a call: what it may tell in turn.
#[derive(Default)]
struct Evidence {
    /// One bit for each [`SaveOutcome`] that the write which was asked for had.
    outcomes: u8,
    /// What the deletes answered, `true` if one of them had the session; `None` before the first, and after one that failed.
    deleted: Option<bool>,
    /// A database answered that there is no such session, after the last one that did not answer.
    absent: bool,
    /// One bit each for a database that had the row and one that had not.
    rows: u8,
    /// How many rows the cleaner has deleted.
    cleared: u32,
    /// A write was sent that was done, or may have been.
    written: bool,
    /// A write has an outcome that is not known.
    unknown: bool,
    /// Something was asked for that was not granted.
    denied: Option<String>,
}

impl CallContext {
    pub(crate) fn new(
        (key, asked): (Option<SessionKey>, Asked),
        scope: Arc<PolicyScope>,
        reach: Arc<dyn Reach>,
        flags: Arc<FlagSnapshot>,
        clock: Arc<dyn Clock>,
        ticket: Ticket,
        counters: Arc<Counters>,
    ) -> Self {
        let host_calls_left = AtomicU32::new(scope.host_calls_max);
        Self {
            key,
            asked,
            scope,
            reach,
            flags,
            clock,
            ticket,
            counters,
            host_calls_left,
            overspent: AtomicBool::new(false),
            log_lines_left: AtomicU32::new(LOG_LINES_MAX),
            evidence: Mutex::default(),
        }
    }

    /// One host call less; an error ends the guest.
    pub(crate) fn spend(&self) -> std::result::Result<(), PolicyFault> {
        let left = self.host_calls_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        left.map(|_| ()).map_err(|_| {
            self.overspent.store(true, Ordering::Relaxed);
            PolicyFault::HostCalls
        })
    }

    /// Whether more host calls were made than allowed.
    pub(crate) fn is_overspent(&self) -> bool {
        self.overspent.load(Ordering::Relaxed)
    }

    /// The call's key, if that is the one which the policy names.
    pub(super) fn granted_key(&self, key: &str) -> Result<&SessionKey> {
        match &self.key {
            Some(granted) if granted.expose() == key => Ok(granted),
            Some(_) => Err(self.deny("a call reaches only the key that it was called with".to_owned())),
            None => Err(self.deny("this call has no key, so it reaches no session".to_owned())),
        }
    }

    pub(super) fn granted_session(&self, session: &Session) -> Result<()> {
        self.granted_key(session.key.expose()).map(|_| ())
    }

    pub(super) fn granted_database(&self, database: &str) -> Result<()> {
        match &self.scope.grants.databases {
            Some(granted) if !granted.contains(database) => {
                let granted: Vec<_> = granted.iter().map(String::as_str).collect();
                let granted = granted.join(", ");
                Err(self.deny(format!("database `{database:.64}` was not given to this policy; it has {granted}")))
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn granted_target(&self, to: &Target) -> Result<()> {
        let mirrors = to.mirrors.iter().map(|mirror| &mirror.database);
        std::iter::once(&to.home).chain(&to.lock).chain(mirrors).try_for_each(|name| self.granted_database(name))
    }

    /// Whether this is the call of the cleaner: no other may delete what has ended.
    pub(super) fn granted_cleaning(&self) -> Result<()> {
        match self.asked {
            Asked::ClearExpired => Ok(()),
            _ => Err(self.deny("`delete-expired` is for `clear-expired` alone".to_owned())),
        }
    }

    pub(super) fn payload(&self, session: &Session) -> Result<Vec<u8>> {
        if !self.scope.grants.payload {
            return Err(self.deny("payloads were not given to this policy; grant `payload`".to_owned()));
        }
        self.granted_session(session)?;
        self.scope.payload_read.store(true, Ordering::Relaxed);
        Ok(session.payload.expose().as_bytes().to_vec())
    }

    fn deny(&self, message: String) -> Error {
        self.counters.denied();
        self.evidence().denied.get_or_insert_with(|| message.clone());
        Error::new(ErrorCode::Denied, message)
    }

    /// Answers that were asked for at the same time: absent only if every one of them came.
    pub(super) fn saw_loads(&self, answers: &[Result<Option<Session>>]) {
        let mut evidence = self.evidence();
        evidence.absent = !answers.is_empty() && answers.iter().all(Result::is_ok);
        for found in answers.iter().flatten() {
            evidence.rows |= row_bit(found.is_some());
        }
    }

    pub(super) fn saw_exists(&self, answer: &Result<bool>) {
        let mut evidence = self.evidence();
        evidence.absent = answer.is_ok();
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
        if let Ok(cleared) = answer {
            let mut evidence = self.evidence();
            evidence.cleared = evidence.cleared.saturating_add(*cleared);
        }
        self.saw_other_write(written_before, answer);
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

    /// A line of the policy for the service's log.
    pub(super) fn log(&self, level: switchover_guest::Level, message: &str) {
        let left = self.log_lines_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if left.is_err() {
            self.counters.log_line_dropped();
            return;
        }
        self.reach.log(&self.scope.name, level, &self.for_people(message));
    }

    /// A policy's text, with what must not be shown struck out: the key, anything else that looks like one, control characters
    /// that would forge lines, and everything once the policy has read a payload.
    pub(crate) fn for_people(&self, message: &str) -> String {
        if self.scope.payload_read.load(Ordering::Relaxed) {
            return "(withheld: the policy has read a payload)".to_owned();
        }
        let hint = match &self.asked {
            Asked::Other { hint } => hint.as_deref(),
            _ => None,
        };
        let secrets = self.key.as_ref().map(SessionKey::expose).into_iter().chain(hint.filter(|hint| !hint.is_empty()));
        // Struck out before the cut, so that no half of a key is left at the end.
        let clean = secrets.fold(message.to_owned(), |text, secret| text.replace(secret, "(key)"));
        let clean = without_keys(&clean).replace(char::is_control, " ");
        clean[..clean.floor_char_boundary(LOG_LINE_BYTES_MAX)].to_owned()
    }

    fn evidence(&self) -> MutexGuard<'_, Evidence> {
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

/// An instance may remember the key of an earlier call. A run of this many lower-case letters and digits is a key, not a word.
const KEY_LIKE_LENGTH_MIN: usize = 20;

fn without_keys(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let is_key = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let run = rest.find(|c| !is_key(c)).unwrap_or(rest.len());
        clean.push_str(if run < KEY_LIKE_LENGTH_MIN { &rest[..run] } else { "(key)" });
        rest = &rest[run..];
        let other = rest.find(is_key).unwrap_or(rest.len());
        clean.push_str(&rest[..other]);
        rest = &rest[other..];
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::without_keys;

    #[test]
    fn whatever_looks_like_a_key_is_struck_out() {
        let key = "0123456789abcdefghij0123456789ab";
        assert_eq!(without_keys(&format!("load of {key} and {key}.")), "load of (key) and (key).");
        assert_eq!(without_keys("database new_session_store is down"), "database new_session_store is down");
        assert_eq!(without_keys(""), "");
    }
}
