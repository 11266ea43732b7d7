//! What is modelled: the size, and which rules of the protocol are kept.

use switchover_protocol::{Edge, Effect, Guard, Phase, Profile, edge};

use crate::outage::Outage;
use crate::state::HOSTS_MAX;

/// How much may happen in one run. Every number is an upper bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Hosts that serve calls, 1 to 3. The worker is a process of its own.
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
    /// How many of these changes may be steps backwards.
    pub rollbacks: u8,
    /// Hosts that do not reach the cache for a time.
    pub cuts: u8,
    /// How often the cache forgets everything.
    pub flushes: u8,
    /// Whether there is a cache.
    pub cache: bool,
    /// Whether clients touch sessions too. A touch is an update with an arm of its own.
    pub touch: bool,
}

impl Size {
    /// A size without accidents: two hosts, two writes, one run forwards.
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
        cuts: 0,
        flushes: 0,
        cache: false,
        touch: false,
    };

    /// What is wrong with this size, for the user of the command.
    pub fn problem(&self) -> Option<String> {
        if !(1..=HOSTS_MAX as u8).contains(&self.hosts) {
            return Some(format!("there can be 1 to {HOSTS_MAX} hosts"));
        }
        if !self.cache && (self.cuts > 0 || self.flushes > 0) {
            return Some("cuts and flushes need --cache".to_owned());
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
    /// Only creates.
    Never,
    /// Updates too, in this phase.
    In(Phase),
    /// Updates too.
    Always,
}

/// When the fence is raised to the epoch in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fence {
    /// Never.
    Never,
    /// When a host was given up.
    AtEviction,
    /// When every host has acknowledged the epoch.
    AtEveryEpoch,
}

/// What the end of a statement is good for: the instant after which its database does not begin it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// Statements have no end.
    None,
    /// They have one, and nobody waits for it.
    Alone,
    /// Who gets no answer keeps its key lock until the end, and acknowledges no epoch before it.
    AwaitedBySender,
}

/// The mechanism: the rules that a host, the worker and the controller keep. A case breaks one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The phases in their order.
    pub path: &'static [Phase],
    /// The policy's profile.
    pub profile: Profile,
    /// A phase is left only when every host that was not given up is in it.
    pub barrier: bool,
    /// A host acknowledges an epoch only when nothing of an earlier one is still running.
    pub drain: bool,
    /// When the fence is raised. Every statement carries its epoch, and a database refuses those below its fence.
    pub fence: Fence,
    /// Guards are checked, and a verification begins, only when the fence stands at the epoch in force.
    pub fence_first: bool,
    /// Which guards of the protocol's edges are left out. Without `settled`, the first epoch of `mirror` counts as
    /// settled. Without `verified`, nothing is verified.
    pub without: &'static [Guard],
    /// Which effects of entering an edge are left out.
    pub without_effects: &'static [Effect],
    /// Reads move to the new database only if both have the same row. This is the check of the published schemes.
    pub compares_rows: bool,
    /// A marked write and its mark are one transaction.
    pub mark_with_row: bool,
    /// The mark of the new database is cleared only if it was not set again since the row was read.
    pub mark_token: bool,
    /// A copy holds the key lock.
    pub copy_locked: bool,
    /// Whether there is a worker.
    pub worker: bool,
    /// A statement to the database without the lock carries a number. That database refuses it if it has executed this
    /// number or a higher one.
    pub number: bool,
    /// The number is learned before the lock is taken, never after.
    pub number_before_lock: bool,
    /// A copy raises the number even if both rows are the same.
    pub number_on_equal: bool,
    /// A marked write raises the number at its home.
    pub number_at_home: bool,
    /// What the end of a statement is good for.
    pub ends: Ends,
    /// Which saves insert.
    pub upsert: Upsert,
    /// What the cache does.
    pub cache: CacheScheme,
    /// What is done about a cache that cannot be told.
    pub outage: Outage,
}

impl Rules {
    /// All rules of the protocol.
    pub fn of(profile: Profile) -> Self {
        Self {
            path: profile.path(),
            profile,
            barrier: true,
            drain: true,
            fence: Fence::AtEveryEpoch,
            fence_first: true,
            without: &[],
            without_effects: &[],
            compares_rows: false,
            mark_with_row: true,
            mark_token: true,
            copy_locked: true,
            worker: true,
            number: true,
            number_before_lock: true,
            number_on_equal: true,
            number_at_home: true,
            ends: Ends::None,
            upsert: Upsert::Never,
            cache: CacheScheme::GuardedLease,
            outage: Outage::BOUND,
        }
    }

    /// The rules of a published scheme: none, except that it compares rows before the reads move.
    pub fn bare(path: &'static [Phase]) -> Self {
        Self {
            path,
            barrier: false,
            drain: false,
            fence: Fence::Never,
            fence_first: false,
            without: &Guard::ALL,
            compares_rows: true,
            worker: false,
            number: false,
            ..Self::of(Profile::Backfill)
        }
    }

    /// Whether a guard is kept at the edges that have it.
    pub fn keeps(&self, guard: Guard) -> bool {
        !self.without.contains(&guard)
    }

    /// The protocol's edges on the way from one phase of the path to another. There is one, or several if the path
    /// leaves out phases between the two. A `None` in it means that there is no such edge.
    pub(crate) fn edges(&self, from: Phase, to: Phase) -> impl DoubleEndedIterator<Item = Option<Edge>> {
        let whole = self.profile.path();
        let place =
            |phase| whole.iter().position(|other| *other == phase).expect("a path has only phases of its profile");
        let (at, end) = (place(from), place(to));
        let forwards = (at..end).map(move |place| (whole[place], whole[place + 1]));
        let back = (end..at).rev().map(move |place| (whole[place + 1], whole[place]));
        let same = (from == to).then_some((from, to));
        let steps = forwards.chain(back).chain(same);
        steps.map(move |(from, to)| edge(self.profile, from, to).map(|edge| self.weakened(*edge)))
    }

    fn weakened(&self, edge: Edge) -> Edge {
        let effect = if self.without_effects.contains(&edge.effect) { Effect::Nothing } else { edge.effect };
        Edge { effect, ..edge }
    }
}
