//! What is modelled: how large, and which rules of the protocol are kept.

use switchover_protocol::{Phase, Profile};

use crate::state::HOSTS_MAX;

/// How much may happen in one run. Every number is a bound, none an obligation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Hosts that serve calls, 1 to 3; the worker has a process of its own.
    pub hosts: u8,
    /// Writes of clients.
    pub operations: u8,
    /// Loads that take several steps. Every other load is tried in every state, at no cost.
    pub loads: u8,
    /// Crashes of hosts or of the worker.
    pub crashes: u8,
    /// Statements that fail or whose answer is lost.
    pub failures: u8,
    /// Statements that execute after their sender gave up, at home alone or at the database without the lock.
    pub lates: u8,
    /// Key locks that are lost while their holder is paused.
    pub lost_locks: u8,
    /// Hosts that are given up because they do not acknowledge.
    pub evictions: u8,
    /// Changes of the epoch: steps forwards, backwards, and settling.
    pub transitions: u8,
    /// Steps backwards among them.
    pub rollbacks: u8,
    /// Whether there is a cache.
    pub cache: bool,
    /// Whether clients touch sessions too; a touch is an update with an arm of its own.
    pub touch: bool,
}

impl Size {
    /// Nothing goes wrong: two hosts, two writes, one run forwards.
    pub const CALM: Self = Self {
        hosts: 2,
        operations: 2,
        loads: 0,
        crashes: 0,
        failures: 0,
        lates: 0,
        lost_locks: 0,
        evictions: 0,
        transitions: 6,
        rollbacks: 0,
        cache: false,
        touch: false,
    };

    /// What is wrong with it, for whoever typed it.
    pub fn problem(&self) -> Option<String> {
        if !(1..=HOSTS_MAX as u8).contains(&self.hosts) {
            return Some(format!("there can be 1 to {HOSTS_MAX} hosts"));
        }
        (self.operations > 5).then(|| "there can be up to 5 operations".to_owned())
    }
}

/// What the cache does around a write and after a miss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheScheme {
    /// A guard before the write, the entry removed after it; a fill needs its lease.
    GuardedLease,
    /// The entry is removed after the write; a fill needs its lease.
    RemoveAndLease,
    /// The entry is removed after the write; a fill is plain.
    RemoveAndFill,
    /// The entry is set after the write; a fill needs its lease.
    SetAndLease,
    /// The entry is set after the write; a fill is plain. Django's `cached_db`.
    SetAndFill,
}

/// Which saves insert a row that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upsert {
    /// Creates alone.
    Never,
    /// Updates too, in this phase.
    In(Phase),
    /// Updates too.
    Always,
}

/// What must hold before the phase changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guards {
    /// The protocol's own.
    Protocol,
    /// Both databases have the same row; the check of the published schemes.
    EqualRows,
}

/// When the fence is raised to the epoch in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fence {
    /// Not at all.
    Never,
    /// When a host was given up.
    AtEviction,
    /// When every host has acknowledged the epoch.
    AtEveryEpoch,
}

/// The mechanism: what a host, the worker and the controller keep to. A mutant breaks one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The phases in their order.
    pub path: &'static [Phase],
    /// Which of the policy's profiles.
    pub profile: Profile,
    /// A phase is left only when every host that was not given up is in it.
    pub barrier: bool,
    /// A host acknowledges an epoch only when nothing of an earlier one is on its way.
    pub drain: bool,
    /// Every statement carries its epoch, and a database refuses those below its fence. When the fence is raised.
    pub fence: Fence,
    /// Guards are looked at, and a verification begins, only when the fence stands at the epoch in force.
    pub fence_first: bool,
    /// What is checked between phases.
    pub guards: Guards,
    /// Mirror is settled by an epoch of its own before verification begins.
    pub settle: bool,
    /// Mirror is left only after a verification.
    pub verify: bool,
    /// A verification does not outlive a return to `off`.
    pub forget_verification: bool,
    /// Reads move to the new database only when the old one has no mark.
    pub old_marks: bool,
    /// Reads move back only when the new one has no mark.
    pub new_marks: bool,
    /// A marked write and its mark are one transaction.
    pub mark_with_row: bool,
    /// The mark of the new database is cleared only if nobody has set it again since its row was read.
    pub mark_token: bool,
    /// A copy holds the key lock.
    pub copy_locked: bool,
    /// Whether there is a worker at all.
    pub worker: bool,
    /// A statement to the database without the lock carries a number, and is refused when that database has seen it or a later one.
    pub number: bool,
    /// The number is learned before the lock is taken, never after.
    pub number_before_lock: bool,
    /// A copy counts the number up also where both rows are the same.
    pub number_on_equal: bool,
    /// A marked write counts the number up at its home.
    pub number_at_home: bool,
    /// Which saves insert.
    pub upsert: Upsert,
    /// What the cache does.
    pub cache: CacheScheme,
    /// Entering `invalidate` empties the new database.
    pub truncate: bool,
}

impl Rules {
    /// The protocol.
    pub fn of(profile: Profile) -> Self {
        Self {
            path: profile.path(),
            profile,
            barrier: true,
            drain: true,
            fence: Fence::AtEveryEpoch,
            fence_first: true,
            guards: Guards::Protocol,
            settle: true,
            verify: true,
            forget_verification: true,
            old_marks: true,
            new_marks: true,
            mark_with_row: true,
            mark_token: true,
            copy_locked: true,
            worker: true,
            number: true,
            number_before_lock: true,
            number_on_equal: true,
            number_at_home: true,
            upsert: Upsert::Never,
            cache: CacheScheme::GuardedLease,
            truncate: true,
        }
    }

    /// What a published scheme has of all this: nothing.
    pub fn bare(path: &'static [Phase]) -> Self {
        Self {
            path,
            barrier: false,
            drain: false,
            fence: Fence::Never,
            fence_first: false,
            settle: false,
            verify: false,
            old_marks: false,
            new_marks: false,
            worker: false,
            number: false,
            guards: Guards::EqualRows,
            ..Self::of(Profile::Backfill)
        }
    }
}
