//! The history: each call with the instants between which it took effect, what it wrote or read, and its outcome.

use std::time::Instant;

use switchover::Timestamp;

/// Microseconds since the Unix epoch, on one clock that never goes back.
pub type Micros = u64;

/// From an instant to a later one.
pub type Period = (Micros, Micros);

/// The clock that orders the history. It starts at the machine's time, and counts steadily from there.
#[derive(Clone, Copy, Debug)]
pub struct RunClock {
    start: Instant,
    start_us: Micros,
}

impl RunClock {
    /// Starts a clock at `now`.
    pub fn start(now: Timestamp) -> Self {
        Self { start: Instant::now(), start_us: now.as_micros() }
    }

    /// The time now.
    pub fn now(&self) -> Micros {
        self.start_us + self.start.elapsed().as_micros() as u64
    }

    /// An instant of the run in seconds after its start.
    pub fn seconds_at(&self, at: Micros) -> f64 {
        at.saturating_sub(self.start_us) as f64 / 1e6
    }
}

/// A session key, as its number in the run: the history holds no credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub u32);

/// One of the hosts of a fleet, by its number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostId(pub u8);

/// A row as it was written or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The number of the write that made its payload, unique in the run. [`Row::UNREADABLE`] if the payload has no
    /// number.
    pub version: u32,
    /// A digest of the whole payload: the number may be right and the rest wrong.
    pub digest: u32,
    /// When it ends.
    pub expires_at: Micros,
}

impl Row {
    /// The version of a payload that no call wrote. Versions start at 1.
    pub const UNREADABLE: u32 = 0;
}

/// The request of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Creates a session.
    Create(Row),
    /// Creates a session that takes over the contents of another key: the other half of [`Action::CycleAway`], over the
    /// same time.
    CycleFrom(KeyId),
    /// Replaces payload and expiry.
    Save(Row),
    /// Moves the expiry, never to an earlier instant.
    Touch(Micros),
    /// Ends the session.
    Delete,
    /// Moves the session to another key; under this key it ends.
    CycleAway,
    /// Reads the session.
    Load,
    /// Asks whether the key is taken, also by an expired row.
    Exists,
}

/// The outcome of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Acknowledged: written, deleted, or present.
    Done,
    /// A load found this row.
    Found(Row),
    /// The answer was that there is no such session.
    Absent,
    /// An error that says that nothing was written.
    Failed,
    /// An error that says that the write may have happened, now or later.
    Unknown,
}

/// One call on one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The key.
    pub key: KeyId,
    /// The host.
    pub host: HostId,
    /// An instant before the call.
    pub invoked: Micros,
    /// An instant after the return.
    pub returned: Micros,
    /// The request.
    pub action: Action,
    /// The outcome.
    pub outcome: Outcome,
}
