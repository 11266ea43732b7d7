//! What this process knows of each id. `DatabasePool::store` cannot tell a create from an update: this can.

use std::collections::HashMap;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use switchover::SessionKey;

/// As many ids as are kept before the older half is forgotten: far more than one host has requests under way. An id
/// that was forgotten in its request cannot be written; the request gets an error.
const MARKS_MAX: usize = 100_000;

/// What is known of an id. An id without a mark was never read here: it is not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Nobody has it. It may be created, once.
    New,
    /// Its session was just loaded, by a request that has not looked yet.
    Loaded,
    /// Its session was loaded or created here. It may be updated.
    Known,
    /// It has no session any more, and will have none.
    Gone,
    /// A load failed: axum_session may have an empty session for it in its memory.
    Unread,
}

/// The marks of ids, and how many requests have each in axum_session's memory.
#[derive(Default)]
pub(crate) struct Marks {
    state: Mutex<State>,
}

/// The marks are in two halves, of which the older one is dropped when the younger is full.
#[derive(Default)]
struct State {
    young: HashMap<SessionKey, Mark>,
    old: HashMap<SessionKey, Mark>,
    requests: HashMap<SessionKey, usize>,
}

impl Marks {
    pub(crate) fn of(&self, key: &SessionKey) -> Option<Mark> {
        self.locked().of(key)
    }

    pub(crate) fn set(&self, key: &SessionKey, mark: Mark) {
        self.locked().set(key, mark);
    }

    /// A load found the session. Another load of the same moment may have failed; what that one left in axum_session's
    /// memory must not be written, so its mark stays.
    pub(crate) fn loaded(&self, key: &SessionKey) {
        let mut state = self.locked();
        if state.of(key) != Some(Mark::Unread) {
            state.set(key, Mark::Loaded);
        }
    }

    pub(crate) fn forget(&self, key: &SessionKey) {
        self.locked().forget(key);
    }

    pub(crate) fn entered(&self, key: &SessionKey) {
        *self.locked().requests.entry(key.clone()).or_default() += 1;
    }

    /// Calls `clear_memory` if no other request has the session, so that none can enter meanwhile.
    pub(crate) fn left(&self, key: &SessionKey, clear_memory: impl FnOnce()) {
        let mut state = self.locked();
        if let Some(requests) = state.requests.get_mut(key).filter(|requests| **requests > 1) {
            *requests -= 1;
            return;
        }
        state.requests.remove(key);
        clear_memory();
        if state.of(key) == Some(Mark::Unread) {
            state.forget(key);
        }
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn of(&self, key: &SessionKey) -> Option<Mark> {
        self.young.get(key).or_else(|| self.old.get(key)).copied()
    }

    fn set(&mut self, key: &SessionKey, mark: Mark) {
        if self.young.len() >= MARKS_MAX / 2 {
            self.old = mem::take(&mut self.young);
        }
        self.old.remove(key);
        self.young.insert(key.clone(), mark);
    }

    fn forget(&mut self, key: &SessionKey) {
        self.young.remove(key);
        self.old.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> SessionKey {
        SessionKey::parse(&number.to_string()).unwrap()
    }

    #[test]
    fn older_half_is_forgotten_and_what_was_marked_again_stays() {
        let marks = Marks::default();
        marks.set(&key(0), Mark::Known);
        marks.set(&key(1), Mark::Known);
        for number in 2..MARKS_MAX {
            marks.set(&key(number), Mark::New);
            marks.set(&key(0), Mark::Known);
        }
        assert_eq!((marks.of(&key(0)), marks.of(&key(1))), (Some(Mark::Known), None));
        let state = marks.locked();
        assert!(state.young.len() + state.old.len() <= MARKS_MAX);
    }

    #[test]
    fn failed_load_is_not_forgotten_because_another_one_found_the_session() {
        let marks = Marks::default();
        marks.set(&key(0), Mark::Unread);
        marks.loaded(&key(0));
        assert_eq!(marks.of(&key(0)), Some(Mark::Unread));
        marks.entered(&key(0));
        marks.left(&key(0), || {});
        marks.loaded(&key(0));
        assert_eq!(marks.of(&key(0)), Some(Mark::Loaded));
    }

    #[test]
    fn memory_is_cleared_by_the_last_request_alone() {
        let (marks, cleared) = (Marks::default(), std::cell::Cell::new(0));
        let leave = || marks.left(&key(0), || cleared.set(cleared.get() + 1));
        for _ in 0..3 {
            marks.entered(&key(0));
        }
        leave();
        leave();
        assert_eq!(cleared.get(), 0);
        leave();
        assert_eq!(cleared.get(), 1);
        assert!(marks.locked().requests.is_empty());
    }
}
