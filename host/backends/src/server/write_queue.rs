//! The queue of writes. Lanes take them in groups, and never a write of a key that is being written.

use std::collections::{HashSet, VecDeque};
use std::sync::MutexGuard;
use std::time::Instant;

use switchover_core::SessionKey;
use switchover_core::capabilities::{DatabaseError, Write, WriteOutcome};
use switchover_core::sync::Mutex;
use tokio::sync::Notify;

use super::lane::Source;
use crate::manner::Manner;
use crate::queues::closed;
use crate::request::Request;

/// How many writes share a transaction. Up to about this number, the disk's flush, which they share, is the greater
/// part of its time.
const GROUP_WRITES_MAX: usize = 128;
/// How many payload bytes share a transaction. A server refuses a statement above its limit, which is 16 MiB for
/// MariaDB.
const GROUP_BYTES_MAX: usize = 4 << 20;
/// How far into the queue a lane looks for writes that it may take. The writes beyond are of keys that are being
/// written.
const LOOK_AHEAD_MAX: usize = 1_024;

/// A batch that waits, and the request to answer.
pub(super) struct WriteJob {
    pub(super) batch: Vec<Write>,
    /// A group has one.
    pub(super) manner: Manner,
    pub(super) request: Request<Vec<WriteOutcome>>,
    /// It failed together with others, and is now tried by itself.
    pub(super) alone: bool,
    /// It was busy, and is not tried again before this time.
    pub(super) not_before: Option<Instant>,
}

impl WriteJob {
    pub(super) fn new(batch: Vec<Write>, manner: Manner, request: Request<Vec<WriteOutcome>>) -> Self {
        Self { batch, manner, request, alone: false, not_before: None }
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &SessionKey> {
        self.batch.iter().map(Write::key)
    }

    /// Payload bytes of all its writes.
    pub(super) fn bytes(&self) -> usize {
        self.batch.iter().map(Write::payload_len).sum()
    }

    pub(super) fn begin(self) -> Option<Self> {
        let request = self.request.begin()?;
        Some(Self { request, ..self })
    }

    pub(super) fn again(self, not_before: Option<Instant>) -> Self {
        self.request.was_undone();
        Self { alone: true, not_before, ..self }
    }
}

/// Writes in the order in which they came. Two writes of one key are never in progress at the same time, and keep their
/// order.
pub(super) struct WriteQueue {
    state: Mutex<State>,
    changed: Notify,
    capacity: usize,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<WriteJob>,
    under_way: HashSet<SessionKey>,
    closed: bool,
}

impl WriteQueue {
    pub(super) fn new(capacity: usize) -> Self {
        Self { state: Mutex::default(), changed: Notify::new(), capacity }
    }

    pub(super) fn push(&self, job: WriteJob) -> Result<(), DatabaseError> {
        {
            let mut state = self.state();
            if state.closed {
                return Err(closed());
            }
            if state.waiting.len() >= self.capacity {
                return Err(DatabaseError::Overloaded);
            }
            state.waiting.push_back(job);
        }
        self.changed.notify_one();
        Ok(())
    }

    /// Stops taking new writes. Those that wait are still done.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_waiters();
        self.changed.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

/// A group that a lane has taken. When it is dropped, also by a panic, the group ends and its keys may be written
/// again.
pub(super) struct UnderWay<'a> {
    queue: &'a WriteQueue,
    keys: Vec<SessionKey>,
    /// Jobs of the group that are to be tried again. They go to the front of the queue.
    pub(super) again: Vec<WriteJob>,
}

impl<'a> UnderWay<'a> {
    pub(super) fn of(queue: &'a WriteQueue, jobs: &[WriteJob]) -> Self {
        Self { queue, keys: jobs.iter().flat_map(WriteJob::keys).cloned().collect(), again: Vec::new() }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        {
            let mut state = self.queue.state();
            for key in &self.keys {
                state.under_way.remove(key);
            }
            for job in self.again.drain(..).rev() {
                state.waiting.push_front(job);
            }
        }
        // The lane that ends a group looks into the queue next; another lane may find something too.
        self.queue.changed.notify_one();
    }
}

impl Source for WriteQueue {
    type Job = Vec<WriteJob>;

    async fn next(&self) -> Option<Vec<WriteJob>> {
        loop {
            let changed = self.changed.notified();
            let pause_ends = {
                let mut state = self.state();
                let (group, pause_ends) = state.take_group(Instant::now());
                if !group.is_empty() {
                    if !state.waiting.is_empty() {
                        self.changed.notify_one();
                    }
                    return Some(group);
                }
                if state.closed && state.waiting.is_empty() {
                    // Another lane may also be waiting for this.
                    self.changed.notify_one();
                    return None;
                }
                pause_ends
            };
            match pause_ends {
                Some(pause_ends) => {
                    tokio::time::timeout_at(pause_ends.into(), changed).await.ok();
                }
                None => changed.await,
            }
        }
    }
}

impl State {
    /// Takes the first jobs whose keys are not being written, or one job that must be alone. If there is none, also
    /// returns when a pause ends.
    fn take_group(&mut self, now: Instant) -> (Vec<WriteJob>, Option<Instant>) {
        let mut group: Vec<WriteJob> = Vec::new();
        let (mut writes, mut bytes) = (0, 0);
        let mut pause_ends: Option<Instant> = None;
        // Keys of jobs that stay in the queue. Later jobs of these keys stay behind them.
        let mut kept: HashSet<SessionKey> = HashSet::new();
        let mut at = 0;
        while at < self.waiting.len().min(LOOK_AHEAD_MAX) && writes < GROUP_WRITES_MAX {
            let job = &self.waiting[at];
            let pauses = job.not_before.is_some_and(|not_before| not_before > now);
            if pauses {
                pause_ends = pause_ends.into_iter().chain(job.not_before).min();
            }
            let free = |key| !self.under_way.contains(key) && !kept.contains(key);
            let fits = writes + job.batch.len() <= GROUP_WRITES_MAX && bytes + job.bytes() <= GROUP_BYTES_MAX;
            let joins = match group.first() {
                None => true,
                Some(first) => !job.alone && fits && job.manner == first.manner,
            };
            if pauses || !joins || !job.keys().all(free) {
                kept.extend(job.keys().cloned());
                at += 1;
                continue;
            }
            let Some(job) = self.waiting.remove(at) else { break };
            self.under_way.extend(job.keys().cloned());
            writes += job.batch.len();
            bytes += job.bytes();
            let alone = job.alone;
            group.push(job);
            if alone {
                break;
            }
        }
        (group, pause_ends)
    }
}
