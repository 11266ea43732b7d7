//! What happened: each call with the instants between which it took effect, what it wrote or read, and what it came to.

use std::time::Instant;

use switchover::Timestamp;

/// Microseconds since the Unix epoch, on one clock that never goes back.
pub type Micros = u64;

/// From an instant to a later one.
pub type Period = (Micros, Micros);

/// The clock that orders the history. It starts at the machine's time, and from there counts steadily.
#[derive(Clone, Copy, Debug)]
pub struct RunClock {
    start: Instant,
    start_us: Micros,
}

impl RunClock {
    /// Starts at `now`.
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

/// A session key, as its number in the run; the history holds no credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub u32);

/// One of the hosts of a fleet, by its number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostId(pub u8);

/// A row as it was written or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The number of the write that made its payload, unique in the run; [`Row::UNREADABLE`] if the payload does not tell.
    pub version: u32,
    /// A digest of the whole payload: that the number is right does not mean that the rest is.
    pub digest: u32,
    /// When it ends.
    pub expires_at: Micros,
}

impl Row {
    /// The version of a payload that nobody wrote. Versions start at 1.
    pub const UNREADABLE: u32 = 0;
}

/// What a call asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A new session.
    Create(Row),
    /// A new session that took over what another key held: the other side of [`Action::CycleAway`], over the same time.
    CycleFrom(KeyId),
    /// Payload and expiry replaced.
    Save(Row),
    /// The expiry moved, never to an earlier instant.
    Touch(Micros),
    /// The session ended.
    Delete,
    /// The session moved to another key; under this one it ends.
    CycleAway,
    /// The session read.
    Load,
    /// Asked whether the key is taken, also by an expired row.
    Exists,
}

/// What a call came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Acknowledged: written, deleted, or there.
    Done,
    /// A load found this.
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
    /// On which key.
    pub key: KeyId,
    /// At which host.
    pub host: HostId,
    /// Before it was called.
    pub invoked: Micros,
    /// After it returned.
    pub returned: Micros,
    /// What it asked for.
    pub action: Action,
    /// What it came to.
    pub outcome: Outcome,
}
