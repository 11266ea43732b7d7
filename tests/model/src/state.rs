//! One state: one key in two databases and a cache, the processes, and what clients were told.

use switchover_protocol::{Operation, Phase, Side};

/// More hosts than these are not modelled.
pub const HOSTS_MAX: usize = 3;
/// The process that copies, after the hosts.
pub const WORKER: u8 = HOSTS_MAX as u8;

/// What a row holds: 0 no row, 1 the session that was there before, then one more for each write.
pub type Version = u8;

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The old one, the new one.
    pub databases: [Database; 2],
    /// The cache.
    pub cache: Cache,
    /// The control document.
    pub control: Control,
    /// The hosts.
    pub hosts: [Process<Call>; HOSTS_MAX],
    /// The one that copies.
    pub worker: Process<Copying>,
    /// The verifier's first read: the old row, and whether it is marked.
    pub verifier: Option<(Version, bool)>,
    /// A statement that is still in the network after its sender gave up.
    pub late: Option<Late>,
    /// How much more may happen.
    pub left: Left,
    /// What clients were told.
    pub told: Told,
    /// A promise that was broken in the last step, where the state alone does not show it.
    pub broken: Option<Broken>,
}

/// One database, as far as one key goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Database {
    /// The row.
    pub row: Version,
    /// The durable mark: another database may lack this row.
    pub mark: bool,
    /// Who holds the key lock: 0 nobody, else the process and one.
    pub lock: u8,
    /// The holder of the lock has changed the row, so that plain writes wait too.
    pub row_locked: bool,
}

/// The entry of the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Cache {
    /// What it holds.
    pub entry: Version,
    /// Which hosts have a lease that lives, a bit each.
    pub leases: u8,
    /// Which hosts have left a guard, a bit each.
    pub guards: u8,
}

/// The control document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Control {
    /// Grows with each change.
    pub epoch: u8,
    /// The phase of this epoch.
    pub phase: Phase,
    /// What was decided and is not in force yet; the same phase: settling.
    pub next: Option<Phase>,
    /// Databases refuse statements of an epoch below it.
    pub fence: u8,
    /// `mirror` has had an epoch after the first.
    pub settled: bool,
    /// A verification found every key equal or marked.
    pub verified: bool,
    /// Some step went backwards.
    pub rolled_back: bool,
}

/// A host, or the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Process<Task> {
    /// The epoch that it has acknowledged.
    pub epoch: u8,
    /// The phase of that epoch.
    pub phase: Phase,
    /// It was given up.
    pub is_evicted: bool,
    /// What it is at.
    pub task: Option<Task>,
}

/// A client's call on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Call {
    /// What was asked for.
    pub operation: Operation,
    /// How far it is.
    pub step: Step,
    /// The phase that it began with.
    pub phase: Phase,
    /// The epoch that it began with.
    pub epoch: u8,
    /// What it writes; of a load, what it read.
    pub version: Version,
    /// The versions that were replaced already (of a load) or acknowledged already (of a write) when it began, a bit each.
    pub before: u8,
    /// When it began the session was there, acknowledged.
    pub is_created: bool,
    /// When it began a delete was acknowledged.
    pub is_deleted: bool,
    /// The database without the lock, for which it has a number.
    pub other: Side,
    /// Its number is still the next one.
    pub is_next: bool,
    /// It holds the key lock, as far as the database knows.
    pub holds: bool,
}

/// How far a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Nothing was sent yet.
    Begun,
    /// A load found nothing in the first database.
    ReadFirst,
    /// A load found something, and goes to fill the cache.
    Found,
    /// The key lock is held, and the row written there, not committed.
    Locked,
    /// The other database is written.
    Carried,
    /// Home is committed, a mirror is to be tried once.
    Homed,
    /// All databases are written, the cache is to be told.
    Written,
}

/// A copy on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Copying {
    /// From where.
    pub from: Side,
    /// How far it is.
    pub step: CopyStep,
    /// The epoch that it began with.
    pub epoch: u8,
    /// What it read.
    pub version: Version,
    /// Its number is still the next one.
    pub is_next: bool,
    /// The mark is still the one that it read.
    pub is_same_mark: bool,
    /// It holds the key lock, as far as the database knows.
    pub holds: bool,
}

/// How far a copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CopyStep {
    /// Locked and read.
    Read,
    /// Written to the new database.
    Carried,
    /// Committed at the old one, the mark of the new one is still there.
    Committed,
}

/// A statement that may execute at any time from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Late {
    /// Where.
    pub side: Side,
    /// What it does to the row.
    pub mode: Mode,
    /// What it writes.
    pub version: Version,
    /// The epoch of its sender.
    pub epoch: u8,
    /// It carries a number.
    pub is_numbered: bool,
    /// Its number is still the next one.
    pub is_next: bool,
    /// It sets a mark with the row.
    pub marks: bool,
}

/// What a statement does to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Makes it so, whatever was there.
    Put,
    /// Changes it if it is there.
    Update,
    /// Makes it if it is not there.
    Insert,
}

/// How much more may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Left {
    /// See [`crate::rules::Size`], as all of these.
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
}

/// What clients asked for and were told; nobody in the model acts on it, but that a key is known only to whom it was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Told {
    /// The version of the next write.
    pub next: Version,
    /// Acknowledged versions, a bit each.
    pub acknowledged: u8,
    /// Versions that were replaced by a write which began after they were acknowledged, and is itself acknowledged.
    pub obsolete: u8,
    /// A create was asked for.
    pub create_began: bool,
    /// A create was acknowledged.
    pub created: bool,
    /// A delete was asked for.
    pub delete_began: bool,
    /// A delete was acknowledged.
    pub deleted: bool,
}

/// A promise that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Broken {
    /// A session that lives was not found.
    Lost,
    /// A session was found after its delete was acknowledged.
    Back,
    /// A version was found that an acknowledged write had replaced.
    Stale,
    /// An update of a session that lives was told that it is gone.
    Gone,
}

impl Broken {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Lost, Self::Back, Self::Stale, Self::Gone];

    /// The name of the promise.
    pub fn promise(self) -> &'static str {
        match self {
            Self::Lost => "no acknowledged write is lost",
            Self::Back => "nothing is back after an acknowledged delete",
            Self::Stale => "nothing stale is read",
            Self::Gone => "no living session is told gone",
        }
    }

    /// A word for lists.
    pub fn word(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Back => "back",
            Self::Stale => "stale",
            Self::Gone => "gone",
        }
    }
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

    /// Gives a lock back, if this process still has it.
    pub fn unlock(&mut self, process: u8) {
        for database in &mut self.databases {
            if database.lock == process + 1 {
                database.lock = 0;
                database.row_locked = false;
            }
        }
    }

    /// A numbered statement was executed at this database: every other number that was learned before is used up.
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
