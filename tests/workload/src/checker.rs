//! The audit: compares every answer, and the databases at the end, with the recorded history, one key at a time.
//!
//! What it demands is what one Django database gives its users, a register per key:
//!
//! * a read that starts after a write was acknowledged never returns what that write replaced;
//! * a read that starts after another read has returned never returns what the other had seen replaced, payload or end;
//! * a call that starts after a delete was acknowledged, or after another call was told that the session is gone, never finds it;
//! * a session that was created, not deleted and not expired is never said to be gone;
//! * a payload and an end are those that a call asked for under this key, and that was not told that nothing was written;
//! * a new key takes over what is the latest when the call begins, or later, and then nobody finds the old one.
//!
//! Calls that overlap count both ways. A write of unknown outcome may take effect at any later time, but once: after a read has
//! seen it, it stays until another write. What a store does not promise is an allowance in [`Promises`], and is counted apart. The
//! checker knows nothing of databases, flags or policies.

mod key;
mod kind;
mod review;
mod seen;
mod written;

use std::collections::HashMap;

use crate::checker::key::KeyHistory;
pub use crate::checker::kind::Kind;
use crate::checker::review::Review;
use crate::checker::written::Written;
use crate::history::{HostId, KeyId, Micros, Operation, Row};

/// One broken promise, and the call or the look into a database that showed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which promise.
    pub kind: Kind,
    /// Of which session.
    pub key: KeyId,
    /// Which host answered; `None`: a database showed it.
    pub host: Option<HostId>,
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

/// What a store promises, as far as stores differ.
#[derive(Clone, Debug, Default)]
pub struct Promises {
    /// How old a load may be because a host of the fleet could not reach the cache that they share. `None`: what was replaced before
    /// a load began is never found. What is written from a cache is wrong at any age.
    pub stale_bound: Option<StaleBound>,
    /// When a write of unknown outcome may be read and then be undone. `None`: never.
    pub undone: Option<Allowance>,
    /// Two tables hold the same under every key that nobody has written since this instant. `None`: they need not.
    pub alike_since: Option<Micros>,
}

/// How old a load may be in a fleet.
#[derive(Clone, Debug)]
pub struct StaleBound {
    /// So long, in microseconds, after others were acknowledged what replaced it.
    pub age: Micros,
    /// If it was one of these hosts that acknowledged it, and another one that reads: a host finds what it wrote itself, and what
    /// those wrote who could reach the cache.
    pub cut_off: Vec<HostId>,
}

/// A known limit of a store: what is wrong only beyond it.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    /// For writes that began from this instant on.
    pub from: Micros,
    /// For writes that began up to this instant.
    pub to: Micros,
    /// Where the limit is told, and why there is one.
    pub reason: &'static str,
}

/// What a database was left with.
#[derive(Clone, Copy, Debug)]
pub struct Left<'r> {
    /// Every row.
    pub rows: &'r HashMap<KeyId, Row>,
    /// When it was left, or looked at.
    pub window: Window,
}

/// What a check found.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Every broken promise.
    pub faults: Vec<Fault>,
    /// Loads that returned what had been replaced, but not longer ago than [`Promises::stale_bound`].
    pub stale_within_bound: u64,
    /// Answers and rows after which an unknown outcome that had been read was undone, as [`Promises::undone`] allows.
    pub undone_as_allowed: u64,
}

impl Findings {
    /// How often a promise was broken.
    pub fn count(&self, kind: Kind) -> u64 {
        self.faults.iter().filter(|fault| fault.kind == kind).count() as u64
    }
}

/// The history of every key, prepared for questions.
pub struct History {
    keys: Vec<KeyHistory>,
    operations: Vec<Operation>,
    written: Written,
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
        let written = Written::by(&operations);
        Self { keys, operations, written }
    }

    /// Every call.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// The calls of each key, in the order in which they began.
    pub fn by_key(&self) -> impl Iterator<Item = &[Operation]> {
        self.operations.chunk_by(|a, b| a.key == b.key)
    }

    /// Checks every answer that a call gave, and then every row that each database was left with; an old row is a lost write there.
    pub fn check(&self, promises: &Promises, left: &[Left<'_>]) -> Findings {
        let mut findings = Findings::default();
        for calls in self.by_key() {
            let id = calls[0].key;
            let Some(key) = self.key(id) else { continue };
            let mut review = Review::new(self, promises, id, key);
            review.check_calls(calls, &mut findings);
            review.check_left(left, &mut findings);
        }
        findings
    }

    fn key(&self, id: KeyId) -> Option<&KeyHistory> {
        self.keys.get(id.0 as usize)
    }
}

#[cfg(test)]
mod tests;
