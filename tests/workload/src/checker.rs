//! The audit: compares every answer, and the final contents of the databases, with the recorded history, key by key.
//!
//! It demands what one Django database gives its users: a register per key.
//!
//! * a read that starts after a write was acknowledged never returns what that write replaced;
//! * a read that starts after another read has returned never returns what the other read had seen replaced, neither
//!   payload nor end;
//! * a call that starts after a delete was acknowledged, or after another call reported the session as gone, never
//!   finds it;
//! * no call reports a session as gone that was created, not deleted and not expired;
//! * a payload and an end are those that a call asked for under this key; a call that reported "nothing was written"
//!   does not count;
//! * a new key takes over what is the latest when the call begins, or later, and then no call finds the old key.
//!
//! Calls that overlap count both ways. A write of unknown outcome may take effect at any later time, but only once:
//! after a read has seen it, it stays until another write. What a store does not promise is an allowance in
//! [`Promises`], and is counted separately. The checker knows nothing of databases, flags or policies.

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

/// One broken promise, and the call or the row of a database that showed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The promise.
    pub kind: Kind,
    /// The session.
    pub key: KeyId,
    /// The host that answered. `None`: a database showed it.
    pub host: Option<HostId>,
    /// When the call began.
    pub from: Micros,
    /// When it ended.
    pub to: Micros,
}

/// When something was seen, and what had to be seen then.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Everything that was acknowledged before this must be seen.
    pub from: Micros,
    /// Nothing that began after this may be seen.
    pub to: Micros,
    /// A row that had ended before this may be missing.
    pub expired_by: Micros,
}

/// The promises in which stores differ.
#[derive(Clone, Debug, Default)]
pub struct Promises {
    /// How old a load may be because a host of the fleet could not reach the shared cache. `None`: a load never finds
    /// what was replaced before it began. A write from a cache is wrong at any age.
    pub stale_bound: Option<StaleBound>,
    /// When a write of unknown outcome may be read and then undone. `None`: never.
    pub undone: Option<Allowance>,
    /// When a call may find what a write in progress replaces, although another call has seen that write already.
    pub either_order: Vec<Allowance>,
    /// Two tables hold the same row under every key that nobody has written since this instant. `None`: they may
    /// differ.
    pub alike_since: Option<Micros>,
}

/// How old a load may be in a fleet.
#[derive(Clone, Debug)]
pub struct StaleBound {
    /// The age in microseconds, counted from when another host acknowledged what replaced the row.
    pub age: Micros,
    /// The age applies only if one of these hosts acknowledged the replacement and another host reads. A host finds
    /// what it wrote itself, and what the hosts wrote that could reach the cache.
    pub cut_off: Vec<HostId>,
}

/// A known limit of a store. Only what goes beyond it is wrong.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    /// Applies to writes that began from this instant on.
    pub from: Micros,
    /// Applies to writes that began up to this instant.
    pub to: Micros,
    /// Where the limit is documented, and why it exists.
    pub reason: &'static str,
}

/// The rows that a database held at the end.
#[derive(Clone, Copy, Debug)]
pub struct Left<'r> {
    /// Every row.
    pub rows: &'r HashMap<KeyId, Row>,
    /// When the database was left, or read.
    pub window: Window,
}

/// The result of a check.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Every broken promise.
    pub faults: Vec<Fault>,
    /// Loads that returned a replaced row, but one that was replaced no longer ago than [`Promises::stale_bound`].
    pub stale_within_bound: u64,
    /// Answers and rows that undid an unknown outcome after it was read, as [`Promises::undone`] allows.
    pub undone_as_allowed: u64,
    /// Answers from before a write in progress that another call had seen already, as [`Promises::either_order`] allows.
    pub either_order_as_allowed: u64,
}

impl Findings {
    /// How often a promise was broken.
    pub fn count(&self, kind: Kind) -> u64 {
        self.faults.iter().filter(|fault| fault.kind == kind).count() as u64
    }
}

/// The history of every key, prepared for the checks.
pub struct History {
    keys: Vec<KeyHistory>,
    operations: Vec<Operation>,
    written: Written,
}

impl History {
    /// Takes the operations of a run in any order. Keys are numbered from 0. A key that took over from another key has
    /// the higher number of the two.
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

    /// Checks the answer of every call, and then every row that each database held at the end. There an old row is a
    /// lost write.
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
