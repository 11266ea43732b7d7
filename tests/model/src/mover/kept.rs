//! What is modelled of a move: the size, and which rules are kept. A case leaves out one of them.

use crate::mover::rules::{Edge, Form, Guard, Stage};

/// How much may happen in one run. Every number is an upper bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Keys, 1 or 2. The first one has a row when the move begins, or has none.
    pub keys: u8,
    /// Writes of applications.
    pub writes: u8,
    /// How many of them change a key in place. These need 2 keys.
    pub rekeys: u8,
    /// How often the lease is taken, in both directions.
    pub takes: u8,
    /// Crashes of a copier.
    pub crashes: u8,
    /// Puts without an answer: executed, or executed later.
    pub silences: u8,
    /// Transactions with one snapshot for all of their reads.
    pub snapshots: u8,
    /// Cuts that step back before the new table counts.
    pub backs: u8,
    /// Moves that begin again after they were aborted.
    pub again: u8,
    /// Whether there is a way back after the cut.
    pub reverse: bool,
}

impl Size {
    /// A size without accidents: one key, two writes, one copier, no way back.
    pub const CALM: Self = Self {
        keys: 1,
        writes: 2,
        rekeys: 0,
        takes: 1,
        crashes: 0,
        silences: 0,
        snapshots: 0,
        backs: 0,
        again: 0,
        reverse: false,
    };

    /// What is wrong with this size, for the user of the command.
    pub fn problem(&self) -> Option<&'static str> {
        if !(1..=2).contains(&self.keys) {
            return Some("there can be 1 or 2 keys");
        }
        if self.rekeys > 0 && self.keys < 2 {
            return Some("a key changes in place only with 2 keys");
        }
        (self.writes + self.rekeys > 5)
            .then_some("there can be up to 5 writes, where one that changes a key counts twice")
    }
}

/// How a change is noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capture {
    /// A row for each write.
    Append,
    /// A row for each key, with the token of the last write.
    PerKey,
}

/// What a copier has locked at home from its first read to its last step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Nothing.
    Nothing,
    /// The changes of the key.
    Change,
    /// The row of the key.
    Row,
}

/// Which changes a copy clears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clears {
    /// Those whose tokens it has read.
    Seen,
    /// All of the key.
    Key,
    /// All up to a token. Changes are copied in the order of their tokens.
    UpTo,
}

/// How the scan goes beside the changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// A copier has one copy of a key under way.
    OneCopyOfAKey,
    /// The scan has copies of its own.
    Beside,
    /// The same, and the scan inserts rows that the new table lacks, and changes none.
    InsertsOnly,
}

/// When the fence of the other table is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looks {
    /// In the transaction of the put.
    InThePut,
    /// Before the put is sent.
    BeforeThePut,
    /// Never.
    Never,
}

/// What the old table answers after it was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sealed {
    /// Nothing.
    Refuses,
    /// Reads.
    Reads,
    /// Reads and writes.
    Everything,
}

/// When each write of the new table begins to leave a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WayBack {
    /// With the cut.
    InTheCut,
    /// Some time after it.
    AfterTheCut,
    /// Never, and nobody asks for it.
    Never,
}

/// The rules. A case breaks one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Which guards are left out, each at the edges that leave a stage.
    pub without: &'static [(Stage, Guard)],
    /// A change is committed with its row.
    pub change_with_row: bool,
    /// A key that is changed in place leaves a change for both keys. If not, for the new one.
    pub both_keys: bool,
    /// The trigger is in force when every transaction that wrote before it has ended.
    pub trigger_waits: bool,
    /// The scan begins when the trigger is in force.
    pub trigger_first: bool,
    /// How a change is noted.
    pub capture: Capture,
    /// No token is given twice.
    pub tokens_once: bool,
    /// The tokens of a key are read no later than its row.
    pub tokens_first: bool,
    /// Which changes a copy clears.
    pub clears: Clears,
    /// A change is cleared when its put was answered.
    pub clears_after_put: bool,
    /// What is locked at home.
    pub holds: Holds,
    /// How the scan goes.
    pub scan: Scan,
    /// Whoever takes the lease gets a generation of its own.
    pub lease: bool,
    /// How far the scan is, is noted by whoever has the lease.
    pub position_by_lease: bool,
    /// When the fence is looked at.
    pub looks: Looks,
    /// A copier raises the fence before its first read.
    pub raises_first: bool,
    /// A copier without an answer to a put gives up its generation.
    pub stands_down: bool,
    /// The cut waits until every transaction that wrote has ended.
    pub cut_waits: bool,
    /// What the old table answers after it was sealed.
    pub sealed: Sealed,
    /// Applications reach the new table after the cut only.
    pub opened_by_cut: bool,
    /// A sealed table is opened again only before the cut.
    pub seal_is_final: bool,
    /// When the new table is captured.
    pub way_back: WayBack,
}

impl Kept {
    /// All rules.
    pub const ALL: Self = Self {
        without: &[],
        change_with_row: true,
        both_keys: true,
        trigger_waits: true,
        trigger_first: true,
        capture: Capture::Append,
        tokens_once: true,
        tokens_first: true,
        clears: Clears::Seen,
        clears_after_put: true,
        holds: Holds::Nothing,
        scan: Scan::OneCopyOfAKey,
        lease: true,
        position_by_lease: true,
        looks: Looks::InThePut,
        raises_first: true,
        stands_down: true,
        cut_waits: true,
        sealed: Sealed::Refuses,
        opened_by_cut: true,
        seal_is_final: true,
        way_back: WayBack::InTheCut,
    };

    /// Whether a guard of an edge is kept.
    pub fn keeps(&self, edge: &Edge, guard: Guard) -> bool {
        !self.without.contains(&(edge.from, guard))
    }
}

/// A move of one table to another: the form of its cut, the rules that it keeps, and how much may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// The form.
    pub form: Form,
    /// The rules.
    pub kept: Kept,
    /// The size.
    pub size: Size,
}
