//! The two databases of a migration, as the store of a host knows them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use switchover_contract::{Error, ErrorCode, Result};
use switchover_core::capabilities::{Database, DatabaseError, Fence, Side, Terms};
use switchover_core::sync::Mutex;
use switchover_core::{DatabaseName, SessionKey};
use tokio::sync::Notify;

use super::together::Together;
use super::{Store, internal};
use crate::trace::TracedSideTables;

/// Keys that wait for a mark at one time. A key beyond this is left to its next write, or to the verification.
const SUSPECTS_MAX: usize = 4_096;

/// The two databases of a migration, by their aliases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    /// Where sessions live before the migration.
    pub(crate) old: DatabaseName,
    /// Where they live after it.
    pub(crate) new: DatabaseName,
}

impl Pair {
    pub(crate) fn name(&self, side: Side) -> &DatabaseName {
        match side {
            Side::Old => &self.old,
            Side::New => &self.new,
        }
    }

    /// Which of the two this alias is; `None`: neither.
    pub(super) fn side(&self, name: &str) -> Option<Side> {
        [Side::Old, Side::New].into_iter().find(|side| self.name(*side).as_str() == name)
    }
}

/// Keys whose rows may differ after an unknown outcome. Marking them makes the rows equal sooner; no promise rests on
/// it.
#[derive(Default)]
pub(crate) struct Suspects {
    keys: Mutex<Vec<SessionKey>>,
    added: Notify,
}

impl Suspects {
    pub(super) fn add(&self, key: SessionKey) {
        let mut keys = self.keys.lock();
        if keys.len() < SUSPECTS_MAX && !keys.contains(&key) {
            keys.push(key);
        }
        self.added.notify_one();
    }

    /// Waits until there are keys, and takes them.
    pub(crate) async fn take(&self) -> Vec<SessionKey> {
        loop {
            let keys = std::mem::take(&mut *self.keys.lock());
            if !keys.is_empty() {
                return keys;
            }
            self.added.notified().await;
        }
    }
}

/// Whether new answered the last write of both databases.
#[derive(Default)]
pub(crate) struct NewHealth {
    is_suspected: AtomicBool,
}

impl Store {
    /// The pair of the migration.
    pub(super) fn pair(&self) -> &Pair {
        self.pair.as_ref().expect("only a host in a migration has epochs")
    }

    pub(super) fn home_of(&self, way: &Together) -> &DatabaseName {
        self.pair().name(way.home)
    }

    /// The two databases, the old one first.
    pub(crate) fn both(&self) -> [Arc<dyn Database>; 2] {
        [Side::Old, Side::New].map(|side| Arc::clone(self.databases[self.pair().name(side)].plain()))
    }

    /// The side tables of one of the two databases.
    pub(crate) fn side_tables(&self, side: Side) -> Result<TracedSideTables<'_>> {
        let name = self.pair().name(side);
        self.databases[name].side_tables().ok_or_else(|| internal(name, "it has no side tables"))
    }

    /// Keys that wait for a mark.
    pub(crate) fn suspects(&self) -> &Suspects {
        &self.suspects
    }

    /// The terms of an operation at this database: only the two of the migration know its epochs.
    pub(super) fn terms(&self, name: &DatabaseName, deadline: std::time::Instant, fence: Option<&Fence>) -> Terms {
        let is_one_of_two = || self.pair.as_ref().is_some_and(|pair| *name == pair.old || *name == pair.new);
        Terms { deadline, fence: fence.filter(|_| is_one_of_two()).cloned() }
    }

    /// Passes an error on. If it says that a later epoch is in force, the host reads the control document at once.
    pub(super) fn fenced_or(&self, error: Error) -> Error {
        if error.code == ErrorCode::Fenced {
            self.fenced.notify_one();
        }
        error
    }

    /// Waits until an operation finds that a later epoch is in force.
    pub(crate) async fn found_fenced(&self) {
        self.fenced.notified().await;
    }

    pub(super) fn new_is_suspected(&self) -> bool {
        self.new_health.is_suspected.load(Ordering::Relaxed)
    }

    pub(super) fn new_answered(&self) {
        self.new_health.is_suspected.store(false, Ordering::Relaxed);
    }

    pub(super) fn new_did_not_answer(&self, error: &DatabaseError) {
        use DatabaseError::{Timeout, Unavailable, UnknownOutcome};
        if matches!(error, Timeout | Unavailable { .. } | UnknownOutcome { .. }) {
            self.new_health.is_suspected.store(true, Ordering::Relaxed);
        }
    }
}
