//! Who is logged in: the sessions that traffic may pick, and those that have ended.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use switchover::SessionKey;

use crate::demo::history::KeyId;

/// So many sessions are picked much more often than others, so that calls on one key overlap.
const HOT: usize = 8;
/// So many ended sessions are remembered, to ask again whether they stay ended.
const ENDED_MAX: usize = 2_000;

/// How a session is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    /// Read and written until it is logged out: carried to the new database by a write.
    Uses,
    /// Read, never written: stays where it is until it expires.
    Looks,
    /// Not used at all.
    Away,
}

/// A session that the demo knows.
pub(crate) struct Member {
    /// Its number in the history.
    pub(crate) id: KeyId,
    /// Its key.
    pub(crate) key: SessionKey,
    /// Whose it is.
    pub(crate) user: u32,
    /// How it is used.
    pub(crate) habit: Habit,
}

/// Every session of the run.
#[derive(Default)]
pub(crate) struct Population {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By number.
    keys: Vec<SessionKey>,
    living: Vec<Arc<Member>>,
    ended: VecDeque<Arc<Member>>,
    /// Where the next turn takes its session from.
    turn: usize,
}

impl Population {
    /// A new session.
    pub(crate) fn join(&self, key: SessionKey, user: u32, habit: Habit) -> Arc<Member> {
        let mut state = self.lock();
        let id = KeyId(u32::try_from(state.keys.len()).expect("a run has fewer than four billion sessions"));
        state.keys.push(key.clone());
        let member = Arc::new(Member { id, key, user, habit });
        if habit != Habit::Away {
            state.living.push(Arc::clone(&member));
        }
        member
    }

    /// A session is over.
    pub(crate) fn leave(&self, member: &Arc<Member>) {
        let mut state = self.lock();
        let Some(at) = state.living.iter().position(|other| Arc::ptr_eq(other, member)) else { return };
        state.living.swap_remove(at);
        if state.ended.len() == ENDED_MAX {
            state.ended.pop_front();
        }
        state.ended.push_back(Arc::clone(member));
    }

    /// One that is not over: a hot one, the next in turn, or any.
    pub(crate) fn pick(&self, rng: &mut fastrand::Rng) -> Option<Arc<Member>> {
        let mut state = self.lock();
        let count = state.living.len();
        if count == 0 {
            return None;
        }
        let at = match rng.u8(..6) {
            0 => rng.usize(..count.min(HOT)),
            1..4 => {
                state.turn = (state.turn + 1) % count;
                state.turn
            }
            _ => rng.usize(..count),
        };
        Some(Arc::clone(&state.living[at]))
    }

    /// One that is over.
    pub(crate) fn pick_ended(&self, rng: &mut fastrand::Rng) -> Option<Arc<Member>> {
        let state = self.lock();
        let count = state.ended.len();
        (count > 0).then(|| Arc::clone(&state.ended[rng.usize(..count)]))
    }

    /// All that are not over.
    pub(crate) fn living(&self) -> Vec<Arc<Member>> {
        self.lock().living.clone()
    }

    /// How many are not over.
    pub(crate) fn living_count(&self) -> usize {
        self.lock().living.len()
    }

    /// Every key there ever was, by number.
    pub(crate) fn keys(&self) -> Vec<SessionKey> {
        self.lock().keys.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
