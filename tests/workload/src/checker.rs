//! The audit: compares every answer, and the databases at the end, with the recorded history, one key at a time.
//!
//! What it demands is what one Django database gives its users, a regular register per key:
//!
//! * a read that starts after a write was acknowledged never returns what that write replaced;
//! * a call that starts after a delete was acknowledged never finds the session;
//! * a session that was created, not deleted and not expired is never said to be gone.
//!
//! Calls that overlap count both ways. A write of unknown outcome may take effect at any later time, but once: after a read has
//! seen it, a later acknowledged write replaces it for good. The checker knows nothing of databases, flags or policies.

mod key;

use std::fmt;

use crate::checker::key::KeyHistory;
use crate::history::{KeyId, Micros, Operation, Row};

/// A promise that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// At the end a database lacks an acknowledged write that nothing replaced.
    LostWrite,
    /// A session was found after its delete was acknowledged.
    BackAfterLogout,
    /// A read returned what an acknowledged write had replaced before it began.
    StaleRead,
    /// A living session was said to be gone.
    ToldGone,
    /// A session was served after it had expired.
    ServedExpired,
    /// A read, or a row, that nobody wrote.
    Phantom,
}

impl Kind {
    /// Every kind, in the order of the report.
    pub const ALL: [Self; 6] =
        [Self::LostWrite, Self::BackAfterLogout, Self::StaleRead, Self::ToldGone, Self::ServedExpired, Self::Phantom];

    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LostWrite => "lost writes",
            Self::BackAfterLogout => "back after logout",
            Self::StaleRead => "stale reads",
            Self::ToldGone => "told gone while alive",
            Self::ServedExpired => "served after expiry",
            Self::Phantom => "never written by anyone",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One broken promise, and the call or the look into a database that showed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which promise.
    pub kind: Kind,
    /// Of which session.
    pub key: KeyId,
    /// When the call began.
    pub from: Micros,
    /// When it ended.
    pub to: Micros,
}

/// When something was seen.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// What was acknowledged before this must be seen.
    pub from: Micros,
    /// What began after this must not be seen.
    pub to: Micros,
    /// A row that had ended before this may be missing.
    pub expired_by: Micros,
}

/// The history of every key, prepared for questions.
pub struct History {
    keys: Vec<KeyHistory>,
    operations: Vec<Operation>,
}

impl History {
    /// Takes the operations of a run in any order. Keys are numbered from 0; a key that took over from another has the higher
    /// number of the two.
    pub fn new(mut operations: Vec<Operation>) -> Self {
        operations.sort_unstable_by_key(|operation| (operation.key, operation.invoked));
        let mut keys: Vec<KeyHistory> = Vec::new();
        for group in operations.chunk_by(|a, b| a.key == b.key) {
            let id = group[0].key.0 as usize;
            let history = KeyHistory::new(group, &keys);
            keys.resize_with(id, KeyHistory::default);
            keys.push(history);
        }
        Self { keys, operations }
    }

    /// Every call.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// The calls of each key, in the order in which they began.
    pub fn by_key(&self) -> impl Iterator<Item = &[Operation]> {
        self.operations.chunk_by(|a, b| a.key == b.key)
    }

    /// Every key that has a history.
    pub fn keys(&self) -> impl Iterator<Item = KeyId> {
        self.by_key().map(|calls| calls[0].key)
    }

    /// Checks every answer that a call gave.
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        for group in self.by_key() {
            let history = &self.keys[group[0].key.0 as usize];
            let mut inherited = None;
            for operation in group {
                let judged = history.judge(operation).and_then(|()| history.judge_inherited(operation, &mut inherited));
                if let Err(kind) = judged {
                    faults.push(Fault { kind, key: operation.key, from: operation.invoked, to: operation.returned });
                }
            }
        }
        faults
    }

    /// Checks what a database holds under a key. An old row is a lost write here, since nothing will follow it.
    pub fn row_fault(&self, key: KeyId, row: Option<Row>, window: Window) -> Option<Fault> {
        let history = self.keys.get(key.0 as usize)?;
        let judged = match row {
            Some(row) => history.judge_row(row, window),
            None => history.judge_absence(window, 0),
        };
        let kind = match judged.err()? {
            Kind::StaleRead | Kind::ToldGone => Kind::LostWrite,
            kind @ (Kind::LostWrite | Kind::BackAfterLogout | Kind::ServedExpired | Kind::Phantom) => kind,
        };
        Some(Fault { kind, key, from: window.from, to: window.to })
    }
}

#[cfg(test)]
mod tests;
