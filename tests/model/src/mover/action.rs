//! The steps that the processes of a move take.

use switchover_protocol::Side;

use crate::mover::rules::Stage;
use crate::mover::state::Kind;

/// What a put came to, as its copier sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    /// Executed, and answered.
    Answered,
    /// Executed, and the answer was lost.
    Unheard,
    /// Not executed yet, and its copier gave up.
    Late,
}

/// Which copy of a copier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// For a change.
    Change,
    /// For the scan.
    Scan,
}

/// One step of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// An application sends a write of a key.
    Send(u8, u8, Kind),
    /// The write reaches the server.
    Execute(u8),
    /// The transaction is committed.
    Commit(u8),
    /// The transaction is rolled back.
    RollBack(u8),
    /// An application begins a transaction with one snapshot, to read a key.
    Look(u8, u8),
    /// It reads the key.
    Find(u8),
    /// An application is restarted with the address of a server.
    Restart(u8, Side),
    /// An application is replaced by a host of Switchover.
    Upgrade(u8),

    /// A copier takes the lease.
    Take(u8),
    /// It raises the fence.
    Raise(u8),
    /// It begins a copy of a key.
    Copy(u8, Lane, u8),
    /// A copy goes a step on.
    Proceed(u8, Lane, Reply),
    /// A copier crashes.
    Crash(u8),
    /// A late put reaches the server.
    Arrive,

    /// The old table's trigger is committed.
    Install,
    /// The new table is emptied.
    Empty,
    /// The control takes a generation of its own and raises the fence.
    Close,
    /// The table that counts is locked, or sealed.
    Lock,
    /// The cut is given up.
    StepBack,
    /// The move enters a stage.
    Enter(Stage),
    /// Applications reach the new table at its own address.
    Open,
    /// The old table is opened again after the cut. Only where a rule is left out.
    Unseal,
    /// The new table gets its trigger after the cut. Only where a rule is left out.
    CaptureNew,
    /// Another move begins after one that was aborted.
    Again,

    /// The hosts of the form `fleet` are in `mirror`.
    Mirror,
    /// The migration compares a key, and copies it if it differs.
    Compare(u8),
    /// The hosts of the form `fleet` read the new table.
    CutOver,
}
