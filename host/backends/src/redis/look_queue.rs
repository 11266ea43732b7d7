//! The queue of look-ups that have not been sent.

use switchover_core::capabilities::{CacheError, CacheLookup};
use switchover_core::sync::Mutex;
use tokio::sync::oneshot;

use super::scripts::Look;

/// How many keys one command has. They share its cost. With more keys, server and callers would wait for each other in
/// turns: of 8 to 64, tried with 64 callers, 24 was the best by a small margin.
const KEYS_MAX: usize = 24;

/// Look-ups that have not been sent.
#[derive(Default)]
pub(super) struct Looks(Mutex<Vec<Waiting>>);

pub(super) struct Waiting {
    pub(super) look: Look,
    pub(super) answer: oneshot::Sender<Answer>,
}

pub(super) type Answer = Result<CacheLookup, CacheError>;

/// The position of a new look-up among the waiting ones.
pub(super) enum Added {
    /// It is the first, so the caller must arrange that the queue is taken.
    First,
    Between,
    /// It completes a command.
    Last(Vec<Waiting>),
}

impl Looks {
    pub(super) fn add(&self, look: Waiting) -> Added {
        let mut waiting = self.0.lock();
        waiting.push(look);
        match waiting.len() {
            1 => Added::First,
            KEYS_MAX => Added::Last(std::mem::replace(&mut *waiting, Vec::with_capacity(KEYS_MAX))),
            _ => Added::Between,
        }
    }

    pub(super) fn take(&self) -> Vec<Waiting> {
        std::mem::take(&mut *self.0.lock())
    }
}
