//! Who is logged in: the sessions that traffic may pick, and the sessions that have ended.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use switchover::SessionKey;

use crate::history::KeyId;

/// How many sessions are picked much more often than others, so that calls on one key overlap.
const HOT: usize = 8;
/// How many ended sessions are remembered. Traffic asks again whether they stay ended.
const ENDED_MAX: usize = 2_000;

/// How a session is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// Read and written until its logout. A write carries it to the new database.
    Uses,
    /// Read but never written. It stays where it is until it expires.
    Looks,
    /// Never used.
    Away,
}

/// A session that the demo knows.
pub struct Member {
    /// Its number in the history.
    pub id: KeyId,
    /// Its key.
    pub key: SessionKey,
    /// Its user.
    pub user: u32,
    /// How it is used.
    pub habit: Habit,
}

/// Every session of the run.
#[derive(Default)]
pub struct Population {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Indexed by number.
    keys: Vec<SessionKey>,
    living: Vec<Arc<Member>>,
    ended: VecDeque<Arc<Member>>,
    /// The sessions up to here have not had their turn yet.
    turn: usize,
}

impl Population {
    /// Adds a session.
    pub fn join(&self, key: SessionKey, user: u32, habit: Habit) -> Arc<Member> {
        let mut state = self.lock();
        let id = KeyId(u32::try_from(state.keys.len()).expect("a run has fewer than four billion sessions"));
        state.keys.push(key.clone());
        let member = Arc::new(Member { id, key, user, habit });
        if habit != Habit::Away {
            state.living.push(Arc::clone(&member));
        }
        member
    }

    /// Marks a session as over.
    pub fn leave(&self, member: &Arc<Member>) {
        let mut state = self.lock();
        let Some(at) = state.living.iter().position(|other| Arc::ptr_eq(other, member)) else { return };
        state.living.swap_remove(at);
        if state.ended.len() == ENDED_MAX {
            state.ended.pop_front();
        }
        state.ended.push_back(Arc::clone(member));
    }

    /// Picks a session that is not over: a hot one, or any.
    pub fn pick(&self, rng: &mut fastrand::Rng) -> Option<Arc<Member>> {
        let state = self.lock();
        let count = state.living.len();
        let at = if rng.u8(..5) == 0 { HOT } else { count }.min(count);
        (count > 0).then(|| Arc::clone(&state.living[rng.usize(..at)]))
    }

    /// The next session in turn. So every session is used now and then, however many there are.
    pub fn next(&self) -> Option<Arc<Member>> {
        let mut state = self.lock();
        let to_come = state.turn.min(state.living.len());
        // Turns go from the end to the start: when a session leaves, the last one takes its place, and the last one has
        // had its turn.
        state.turn = if to_come == 0 { state.living.len() } else { to_come }.checked_sub(1)?;
        Some(Arc::clone(&state.living[state.turn]))
    }

    /// Picks a session that is over.
    pub fn pick_ended(&self, rng: &mut fastrand::Rng) -> Option<Arc<Member>> {
        let state = self.lock();
        let count = state.ended.len();
        (count > 0).then(|| Arc::clone(&state.ended[rng.usize(..count)]))
    }

    /// All sessions that are not over.
    pub fn living(&self) -> Vec<Arc<Member>> {
        self.lock().living.clone()
    }

    /// The number of sessions that are not over.
    pub fn living_count(&self) -> usize {
        self.lock().living.len()
    }

    /// Every key of the run, by number.
    pub fn keys(&self) -> Vec<SessionKey> {
        self.lock().keys.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_a_turn_though_some_leave() {
        let population = Population::default();
        assert!(population.next().is_none());
        let members: Vec<_> = (0..10).map(|user| population.join(SessionKey::random(), user, Habit::Uses)).collect();
        let mut seen = Vec::new();
        let leaves = |user: u32| user.is_multiple_of(3);
        for member in &members {
            seen.push(population.next().expect("somebody is there").user);
            if leaves(member.user) {
                population.leave(member);
            }
        }
        assert!((0..10).all(|user| leaves(user) || seen.contains(&user)), "{seen:?}");
        assert_eq!(population.living_count(), 6);
    }
}
