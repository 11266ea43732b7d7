//! The limits that operators or policies can meet, each with its reason. `wasm` has the limits of components.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use tokio::time::Instant;

/// Log lines of one call. Further lines are counted and dropped.
pub(crate) const LOG_LINES_MAX: u32 = 32;
/// Length of a log line, and of the message in a policy's error.
pub(crate) const LOG_LINE_BYTES_MAX: usize = 1_024;
/// Rows that one `delete-expired` may delete. A batch of this size holds no lock for long.
pub const DELETE_EXPIRED_MAX: u32 = 10_000;
/// Writes of one home that share a pair of transactions.
pub const STRICT_BATCH_MAX: usize = 64;
/// Payload bytes of these writes. Sending a batch must not take longer than its first write may wait.
pub const STRICT_BATCH_BYTES_MAX: usize = 4 << 20;
/// Repairs that run at one time. Each holds home's row while a mirror may hang.
pub const REPAIRS_AT_ONCE_MAX: usize = 4;
/// Keys that wait for their repair at one time. A key beyond this is left to its next write.
pub const REPAIRS_PENDING_MAX: usize = 4_096;

/// Replaces a time that is longer than a clock can count.
const FAR: Duration = Duration::from_secs(365 * 24 * 3_600);

/// The limits that an operator may tune. The defaults suit a web service; [`Default`] gives them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Calls in flight at one time. Each holds an instance while its policy waits. 1,024 by default, at about 40 KiB
    /// each for a policy in Rust. A policy in JavaScript takes 0.5 to 2.5 MiB for each, so choose a smaller number.
    pub calls_in_flight_max: usize,
    /// Calls that wait for a place or for a change of flags. One more call is `overloaded` at once. 4,096 by default.
    pub calls_waiting_max: usize,
    /// How long a call waits for a place or for a change of flags before it is `overloaded`. 6 s by default. This is
    /// longer than a change of flags takes while every database answers within its deadline.
    pub admission_wait: Duration,
    /// Wall time of one call, waiting for databases included. 4 s by default: a read of two databases and a write.
    pub call_wall_time: Duration,
    /// Processor time that a component may use in one call, waiting not included. 100 ms by default: a thousand times
    /// what the shipped policies use.
    pub call_cpu_time: Duration,
    /// Host calls that a guest may make in one call. 64 by default; the shipped policies make at most 4.
    pub host_calls_max: u32,
    /// How long one read of a database may take. 1 s by default.
    pub read_deadline: Duration,
    /// How long one write may take, over all databases of its target. 2 s by default.
    pub write_deadline: Duration,
    /// How long one operation of the cache may take before the call continues without it. 50 ms by default. A look-up
    /// never takes longer than `call_wall_time`.
    pub cache_deadline: Duration,
    /// How long an entry of the cache may be served. If an entry could not be removed, another host may read a session
    /// that is at most this old. 60 s by default.
    pub cache_max_age: Duration,
    /// Size of a payload. 1 MiB by default; Django's sessions are a few hundred bytes.
    pub payload_bytes_max: usize,
    /// How long a change of flags or of protocol waits for the calls under the old ones. 10 s by default.
    pub drain_wait: Duration,
    /// How long the host keeps trying to repair an unknown outcome, and how long a change of flags waits for that. 30 s
    /// by default.
    pub repair_patience: Duration,
    /// Instances that are made before a policy is published. 4 by default.
    pub warm_instances: usize,
}

impl Limits {
    /// The time by which a call that begins now must have ended.
    pub fn call_deadline(&self) -> Instant {
        self.call_deadline_of(Instant::now())
    }

    /// The time by which a call that began at `begun` must have ended.
    pub fn call_deadline_of(&self, begun: Instant) -> Instant {
        begun.checked_add(self.call_wall_time).unwrap_or_else(|| begun + FAR)
    }
}

/// The limits in force. Clones share them. A change holds for what begins after it.
#[derive(Clone, Debug)]
pub struct LimitsInForce(Arc<ArcSwap<Limits>>);

impl LimitsInForce {
    /// Puts the first limits in force.
    pub fn new(limits: Limits) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(limits)))
    }

    /// The limits of this moment, at the cost of no shared counter. Let go of them before you wait.
    pub fn now(&self) -> Guard<Arc<Limits>> {
        self.0.load()
    }

    /// The limits of this moment, to keep: what needs several that fit each other, or waits, reads them once.
    pub fn snapshot(&self) -> Arc<Limits> {
        self.0.load_full()
    }

    /// Puts other limits in force.
    pub fn change(&self, limits: Limits) {
        self.0.store(Arc::new(limits));
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls_in_flight_max: 1_024,
            calls_waiting_max: 4_096,
            admission_wait: Duration::from_secs(6),
            call_wall_time: Duration::from_secs(4),
            call_cpu_time: Duration::from_millis(100),
            host_calls_max: 64,
            read_deadline: Duration::from_secs(1),
            write_deadline: Duration::from_secs(2),
            cache_deadline: Duration::from_millis(50),
            cache_max_age: Duration::from_secs(60),
            payload_bytes_max: 1 << 20,
            drain_wait: Duration::from_secs(10),
            repair_patience: Duration::from_secs(30),
            warm_instances: 4,
        }
    }
}
