//! Writes that wait for their turn, and which of them share a batch.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use switchover_contract::{Error, ErrorCode, Result};
use switchover_core::SessionKey;
use switchover_core::capabilities::{Write, WriteOutcome};
use switchover_runtime::Ticket;
use switchover_runtime::limits::{STRICT_BATCH_BYTES_MAX, STRICT_BATCH_MAX};
use tokio::sync::oneshot;
use tracing::Span;

/// How long a key that was busy is written alone, so that the batches of others do not wait for it.
const BUSY_FOR: Duration = Duration::from_secs(5);

/// One write and its deadline.
pub(super) struct Change {
    pub(super) write: Write,
    pub(super) deadline: Instant,
}

/// Home's outcome, and whether another database had the row of a delete.
pub(super) type Answer = Result<(WriteOutcome, bool)>;

/// A write that waits for its answer.
pub(super) struct Waiting {
    pub(super) change: Change,
    pub(super) ticket: Ticket,
    pub(super) answer: oneshot::Sender<Answer>,
    /// The span of its call.
    pub(super) span: Span,
}

/// Takes the first write of each key, as many as fit. They are sorted by key. A write whose key is already in the batch
/// waits for the next one. A write that has too little time left is answered with `timeout`: its deadline would end the
/// transaction for every write of the batch.
pub(super) fn next_batch(waiting: &mut VecDeque<Waiting>, time_needed: Duration) -> Vec<Waiting> {
    let latest = Instant::now() + time_needed;
    let mut batch: Vec<Waiting> = Vec::new();
    let mut bytes = 0;
    let mut keys = HashSet::new();
    let mut rest = VecDeque::with_capacity(waiting.len());
    for write in waiting.drain(..) {
        if write.change.deadline <= latest {
            let error = Error::new(ErrorCode::Timeout, "a write of both databases had no turn before its deadline");
            let _caller_gone = write.answer.send(Err(error));
        } else if batch.len() < STRICT_BATCH_MAX
            && (batch.is_empty() || bytes + write.change.write.payload_len() <= STRICT_BATCH_BYTES_MAX)
            && keys.insert(write.change.write.key().clone())
        {
            bytes += write.change.write.payload_len();
            batch.push(write);
        } else {
            // Later writes of this key must stay behind it.
            keys.insert(write.change.write.key().clone());
            rest.push_back(write);
        }
    }
    *waiting = rest;
    batch.sort_by(|a, b| a.change.write.key().cmp(b.change.write.key()));
    batch
}

/// The keys of a lane that were busy a moment ago.
#[derive(Default)]
pub(super) struct Busy {
    until: HashMap<SessionKey, Instant>,
}

impl Busy {
    pub(super) fn add(&mut self, key: SessionKey) {
        self.until.insert(key, Instant::now() + BUSY_FOR);
    }

    pub(super) fn has(&mut self, key: &SessionKey) -> bool {
        if self.until.is_empty() {
            return false;
        }
        let now = Instant::now();
        self.until.retain(|_, until| *until > now);
        self.until.contains_key(key)
    }
}
