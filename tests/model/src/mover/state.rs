//! One state of a move: two tables, the changes of each, the doors of two servers, applications, copiers, and what was
//! committed last.

use switchover_protocol::Side;

pub use crate::mover::broken::Broken;
use crate::mover::copies::{Generation, Step};
use crate::mover::rules::Stage;

/// The most keys.
pub const KEYS_MAX: usize = 2;
/// The number of applications.
pub const CLIENTS: usize = 2;
/// The number of copiers.
pub const COPIERS: usize = 2;

/// What a row holds: 0 means no row, 1 is the row of the first state, and each write has the next number. A delete has a
/// number too.
pub type Version = u8;

/// A set of tokens, one bit for each. The token of a write is its number.
pub type Tokens = u8;

/// The whole state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The old table, then the new one.
    pub tables: [Table; 2],
    /// What stands under the table's name at the old server, then at the new one. In the form `rename` there is one
    /// server, the old one.
    pub doors: [Door; 2],
    /// The control row.
    pub control: Control,
    /// The applications.
    pub clients: [Client; CLIENTS],
    /// The copiers.
    pub copiers: [Copier; COPIERS],
    /// A put that is still on its way after its copier gave up.
    pub late: Option<Put>,
    /// What was committed last for each key, wherever it was. It is no part of the system: the promises are about it.
    pub last: [Version; KEYS_MAX],
    /// The number of the next write.
    pub next: Version,
    /// How much more may happen.
    pub left: Left,
    /// A promise that the last step has broken, if the rest of the state does not show it.
    pub broken: Option<Broken>,
}

/// One table, with its side tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Table {
    /// The row of each key.
    pub rows: [Version; KEYS_MAX],
    /// The tokens of each key's changes.
    pub changes: [Tokens; KEYS_MAX],
    /// Whether there is a trigger.
    pub is_captured: bool,
    /// Puts of another generation are refused.
    pub fence: Generation,
}

/// What an application meets under the table's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Door {
    /// A table, or a foreign table of the other server.
    Leads(Side),
    /// The old table, for reads alone. Only where a rule is left out.
    Reads,
    /// A lock: statements wait.
    Waits,
    /// Nothing: statements fail with words.
    Refuses,
}

/// The control row, in the old database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Control {
    /// How far the move is.
    pub stage: Stage,
    /// The highest generation.
    pub generation: Generation,
    /// Whether the highest generation is of the control itself, which closes the fence.
    pub is_closed: bool,
    /// Whether a cut, or a reverse cut, has locked or sealed the table that counts.
    pub is_cutting: bool,
    /// The keys that the scan has been to, one bit for each.
    pub scanned: u8,
    /// Whether the new table was captured in the same step in which it began to count.
    pub is_captured_since_cut: bool,
    /// The migration that takes over in the form `fleet`.
    pub fleet: Fleet,
}

/// How far the migration of the form `fleet` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fleet {
    /// `off`: hosts write the old table.
    Off,
    /// `mirror`: each write of a host leaves a mark. The keys that were compared since are kept, one bit for each.
    Mirror(u8),
    /// `cutover`, and what follows.
    Over,
}

/// An application. It takes no lock of the project's and carries nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Client {
    /// The server to whose address it is configured.
    pub at: Side,
    /// Whether it is a host of Switchover, in the form `fleet`.
    pub is_host: bool,
    /// Its transaction.
    pub task: Option<Task>,
}

/// The transaction of an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// A write is on its way to the server.
    Sent {
        /// The key.
        key: u8,
        /// What it does.
        kind: Kind,
    },
    /// The write was executed and is not committed. The rows that it has written are locked.
    Open {
        /// The table.
        side: Side,
        /// What it has written of each key.
        writes: [Option<Write>; KEYS_MAX],
    },
    /// A transaction with one snapshot of the database has begun, and has not read the table yet.
    Snapshot {
        /// The key that it will read.
        key: u8,
        /// The row of each table in its snapshot.
        rows: [Version; 2],
        /// What was committed last when it began, and since, one bit for each.
        fine: u8,
        /// Whether the fence was closed since it began.
        is_old: bool,
    },
}

/// What a write does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Inserts or replaces the row.
    Put,
    /// Deletes it.
    Delete,
    /// Gives it the other key, in one statement.
    Rekey,
}

/// A row that is written and not committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Write {
    /// The row after it.
    pub row: Version,
    /// The token of its change; 0 if it leaves none.
    pub token: Tokens,
}

/// A process that carries changes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Copier {
    /// Its generation; `None` if it does not believe to have the lease.
    pub generation: Option<Generation>,
    /// The table that it carries from.
    pub from: Side,
    /// A copy for a change, and a copy for the scan.
    pub copies: [Option<Copying>; 2],
}

/// A copy under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Copying {
    /// The key.
    pub key: u8,
    /// The step that comes next.
    pub step: Step,
    /// The tokens that it has read.
    pub seen: Tokens,
    /// The row that it has read.
    pub row: Version,
}

/// A put that may execute at any time from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Put {
    /// The table.
    pub to: Side,
    /// The key.
    pub key: u8,
    /// The row.
    pub row: Version,
    /// The generation of its copier.
    pub generation: Generation,
    /// Whether it changes no row that is there.
    pub inserts_only: bool,
}

/// How much more may happen. [`crate::mover::kept::Size`] explains all of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the bound of its name")]
pub struct Left {
    pub writes: u8,
    pub rekeys: u8,
    pub takes: u8,
    pub crashes: u8,
    pub silences: u8,
    pub snapshots: u8,
    pub backs: u8,
    pub again: u8,
}

impl State {
    /// A table.
    pub fn at(&self, side: Side) -> &Table {
        &self.tables[side as usize]
    }

    /// A table, to change it.
    pub fn at_mut(&mut self, side: Side) -> &mut Table {
        &mut self.tables[side as usize]
    }

    /// Whether an application has written a table and not ended its transaction.
    pub fn is_written(&self, side: Side) -> bool {
        self.open().any(|(at, _)| at == side)
    }

    /// Whether an application has written the row of a key and not ended its transaction.
    pub fn is_row_locked(&self, side: Side, key: u8) -> bool {
        self.open().any(|(at, writes)| at == side && writes[key as usize].is_some())
    }

    fn open(&self) -> impl Iterator<Item = (Side, [Option<Write>; KEYS_MAX])> {
        self.clients.iter().filter_map(|client| match client.task {
            Some(Task::Open { side, writes }) => Some((side, writes)),
            Some(Task::Sent { .. } | Task::Snapshot { .. }) | None => None,
        })
    }
}
