//! One state: one key in two databases and a cache, the processes, and what was acknowledged to clients.

use switchover_protocol::{Operation, Phase, Side};

pub use crate::broken::Broken;
pub use crate::view::HOSTS_MAX;
use crate::view::Reach;

/// The number of the process that copies. It follows the hosts.
pub const WORKER: u8 = HOSTS_MAX as u8;
/// The number under which a lock is held until a late statement has ended.
pub const WAITING: u8 = WORKER + 1;

/// What a row holds: 0 means no row, 1 is the session of the first state, and each write has the next number.
pub type Version = u8;

/// The whole state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The old database, then the new one.
    pub databases: [Database; 2],
    /// The cache.
    pub cache: Cache,
    /// Who reaches the cache.
    pub reach: Reach,
    /// The control document.
    pub control: Control,
    /// The hosts.
    pub hosts: [Process<Call>; HOSTS_MAX],
    /// The process that copies.
    pub worker: Process<Copying>,
    /// The verifier's first read: the old row, and whether it is marked.
    pub verifier: Option<(Version, bool)>,
    /// A statement that is still in the network after its sender gave up.
    pub late: Option<Late>,
    /// How much more may happen.
    pub left: Left,
    /// What was asked for by clients and acknowledged to them.
    pub told: Told,
    /// A promise that the last step has broken, if the rest of the state does not show it.
    pub broken: Option<Broken>,
}

/// What one database holds for the key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Database {
    /// The row.
    pub row: Version,
    /// Whether the key has a mark: the other database may lack this row.
    pub mark: bool,
    /// The holder of the key lock: 0 if there is none, otherwise the number of the process plus one.
    pub lock: u8,
    /// Whether the holder of the lock has also locked the session row, so that plain writes wait too.
    pub row_locked: bool,
}

/// The entry of the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Cache {
    /// The version in the entry; 0 if there is no entry.
    pub entry: Version,
    /// The hosts that have a valid lease, one bit for each.
    pub leases: u8,
    /// The hosts that have set a guard, one bit for each.
    pub guards: u8,
}

/// The control document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Control {
    /// The epoch in force. It grows with each change.
    pub epoch: u8,
    /// The phase of this epoch.
    pub phase: Phase,
    /// The phase that was decided and is not in force yet. The same phase means settling.
    pub next: Option<Phase>,
    /// The fence of both databases: they refuse statements of a lower epoch.
    pub fence: u8,
    /// Whether `mirror` is settled.
    pub settled: bool,
    /// Whether a verification since settling found every key equal or marked.
    pub verified: bool,
    /// Whether some step went backwards.
    pub rolled_back: bool,
}

/// A host, or the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Process<Task> {
    /// The epoch that it has acknowledged.
    pub epoch: u8,
    /// The phase of that epoch.
    pub phase: Phase,
    /// Whether it was given up.
    pub is_evicted: bool,
    /// Its present task.
    pub task: Option<Task>,
}

/// A client's call under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Call {
    /// What was asked for.
    pub operation: Operation,
    /// How far it is.
    pub step: Step,
    /// The phase with which it began.
    pub phase: Phase,
    /// The epoch with which it began.
    pub epoch: u8,
    /// The version that it writes, or that a load has read.
    pub version: Version,
    /// The versions that were already obsolete (for a load) or already acknowledged (for a write) when it began, one
    /// bit for each.
    pub before: u8,
    /// Whether the session's create was acknowledged when the call began.
    pub is_created: bool,
    /// Whether a delete was acknowledged when the call began.
    pub is_deleted: bool,
    /// The database without the lock, for which the call has a number.
    pub other: Side,
    /// Whether its number is still the next one.
    pub is_next: bool,
    /// Whether it holds the key lock at the database.
    pub holds: bool,
    /// The generation of the cache that its entry has or will have, or that it has raised.
    pub generation: u8,
    /// Whether it has set a guard in the cache, if that matters.
    pub is_guarded: bool,
    /// Whether its host's suspension of the cache was in force when it began, if that matters.
    pub was_held: bool,
}

/// How far a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Nothing was sent yet.
    Begun,
    /// A load has found nothing in the first database.
    ReadFirst,
    /// A load has found a row. Filling the cache comes next.
    Found,
    /// The key lock is held. The row is written at that database and not committed.
    Locked,
    /// The other database is written.
    Carried,
    /// Home is committed. The mirror is written next, once.
    Homed,
    /// All databases are written. The cache comes next.
    Written,
    /// A load asks the cache next.
    Asking,
    /// A load has a hit.
    Hit,
    /// A write waits until no host can read from the cache what it has replaced.
    Waiting,
}

/// A copy under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Copying {
    /// The source.
    pub from: Side,
    /// How far it is.
    pub step: CopyStep,
    /// The epoch with which it began.
    pub epoch: u8,
    /// The version that it read.
    pub version: Version,
    /// Whether its number is still the next one.
    pub is_next: bool,
    /// Whether the mark is still the one that it read.
    pub is_same_mark: bool,
    /// Whether it holds the key lock at the database.
    pub holds: bool,
}

/// How far a copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CopyStep {
    /// The key is locked and read.
    Read,
    /// The new database is written.
    Carried,
    /// The old database is committed. The mark at the new one is cleared next.
    Committed,
}

/// A statement that may execute at any time from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Late {
    /// The database.
    pub side: Side,
    /// What it does to the row.
    pub mode: Mode,
    /// The version that it writes.
    pub version: Version,
    /// The epoch of its sender.
    pub epoch: u8,
    /// Whether it carries a number.
    pub is_numbered: bool,
    /// Whether its number is still the next one.
    pub is_next: bool,
    /// Whether it sets a mark with the row.
    pub marks: bool,
    /// Who sent it, if that process waits for its end.
    pub sender: Option<u8>,
}

/// What a statement does to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Inserts, replaces or deletes it.
    Put,
    /// Changes it if it exists.
    Update,
    /// Inserts it if it does not exist.
    Insert,
}

/// How much more may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Left {
    /// Writes of clients. [`crate::rules::Size`] explains all of these.
    pub operations: u8,
    /// Loads of several steps.
    pub loads: u8,
    /// Crashes.
    pub crashes: u8,
    /// Failures.
    pub failures: u8,
    /// Late statements.
    pub lates: u8,
    /// Lost locks.
    pub lost_locks: u8,
    /// Evictions.
    pub evictions: u8,
    /// Rollbacks.
    pub rollbacks: u8,
    /// Cuts.
    pub cuts: u8,
    /// Flushes.
    pub flushes: u8,
}

/// What clients asked for, and what was acknowledged to them. The model only uses it to check promises, and because a
/// client can name a key only after its create was acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Told {
    /// The version of the next write.
    pub next: Version,
    /// Acknowledged versions, one bit for each.
    pub acknowledged: u8,
    /// Versions that an acknowledged write has replaced which began after they were acknowledged, one bit for each.
    pub obsolete: u8,
    /// Whether a create was asked for.
    pub create_began: bool,
    /// Whether a create was acknowledged.
    pub created: bool,
    /// Whether a delete was asked for.
    pub delete_began: bool,
    /// Whether a delete was acknowledged.
    pub deleted: bool,
}

impl State {
    /// A database.
    pub fn at(&self, side: Side) -> &Database {
        &self.databases[side as usize]
    }

    /// A database, to change it.
    pub fn at_mut(&mut self, side: Side) -> &mut Database {
        &mut self.databases[side as usize]
    }

    /// Releases the locks that this process still holds.
    pub fn unlock(&mut self, process: u8) {
        for database in &mut self.databases {
            if database.lock == process + 1 {
                database.lock = 0;
                database.row_locked = false;
            }
        }
    }

    /// A process gives up a statement, and keeps its locks until the statement has ended.
    pub fn wait_for_end(&mut self, process: u8) {
        for database in &mut self.databases {
            if database.lock == process + 1 {
                database.lock = WAITING + 1;
            }
        }
        if let Some(late) = &mut self.late {
            late.sender = Some(process);
        }
    }

    /// A numbered statement was executed at this database. Every other number that was learned before is no longer the
    /// next.
    pub fn count_up(&mut self, side: Side) {
        for host in &mut self.hosts {
            if let Some(call) = &mut host.task {
                call.is_next &= call.other != side;
            }
        }
        if let Some(copying) = &mut self.worker.task {
            copying.is_next &= side != Side::New;
        }
        if let Some(late) = &mut self.late {
            late.is_next &= late.side != side || !late.is_numbered;
        }
    }
}
