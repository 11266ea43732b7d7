//! Look-ups that are not sent yet.

use switchover_core::capabilities::{CacheError, CacheLookup};
use switchover_core::sync::Mutex;
use tokio::sync::oneshot;

use super::scripts::Look;

/// Keys of one command. They share its cost; with more of them server and callers would wait for each other in turns (of 8 to 64
/// tried with 64 callers, 24 was the best by a little).
const KEYS_MAX: usize = 24;

/// Look-ups that are not sent yet.
#[derive(Default)]
pub(super) struct Looks(Mutex<Vec<Waiting>>);

pub(super) struct Waiting {
    pub(super) look: Look,
    pub(super) answer: oneshot::Sender<Answer>,
}

pub(super) type Answer = Result<CacheLookup, CacheError>;

/// What a look-up is among those that wait.
pub(super) enum Added {
    /// Somebody must take it.
    First,
    Between,
    /// With it they are a whole command.
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
