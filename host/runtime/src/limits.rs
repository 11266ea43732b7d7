//! The limits that operators or policies can meet, each with its reason. Those of a guest in wasm stand beside it.

use std::time::Duration;

use tokio::time::Instant;

/// Log lines of one call; more are counted and dropped.
pub(crate) const LOG_LINES_MAX: u32 = 32;
/// Length of a log line, and of a message in an error of a policy.
pub(crate) const LOG_LINE_BYTES_MAX: usize = 1_024;
/// Rows that one call of the cleaner may delete: a batch that holds no lock for long.
pub const DELETE_EXPIRED_MAX: u32 = 10_000;
/// Writes of one home that share a pair of transactions.
pub const STRICT_BATCH_MAX: usize = 64;
/// Payload of them: a batch must not take longer on its way than its first write may wait.
pub const STRICT_BATCH_BYTES_MAX: usize = 4 << 20;
/// Repairs that are under way at one time: each holds home's row while a mirror may hang.
pub const REPAIRS_AT_ONCE_MAX: usize = 4;
/// Unknown outcomes that wait for their repair at one time; beyond it a key is left to the next write of it.
pub const REPAIRS_PENDING_MAX: usize = 4_096;

/// In the place of what is longer than a clock can count.
const FAR: Duration = Duration::from_secs(365 * 24 * 3_600);

/// The limits that an operator may tune. The defaults suit a web service; [`Default`] gives them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Calls in flight at one time; each holds an instance while its policy waits. 1,024 by default, at about 40 KiB each for a
    /// policy in Rust; one in JavaScript takes 0.5 to 2.5 MiB each, so give fewer.
    pub calls_in_flight_max: usize,
    /// Calls that wait for a place or for a change of flags; one more is `overloaded` at once. 4,096 by default.
    pub calls_waiting_max: usize,
    /// How long a call waits for a place or for a change of flags before it is `overloaded`. 6 s by default: longer than a
    /// change of flags takes while every database answers within its deadline.
    pub admission_wait: Duration,
    /// Wall time of one call, waiting for databases included. 4 s by default: a read of two databases and a write.
    pub call_wall_time: Duration,
    /// Processor time that the guest may use in one call, waiting not included. 100 ms by default: a thousand times what the
    /// shipped policies use.
    pub call_cpu_time: Duration,
    /// Host calls that a guest may make in one call. 64 by default; the shipped policies make at most 4.
    pub host_calls_max: u32,
    /// How long one read of a database may take. 1 s by default.
    pub read_deadline: Duration,
    /// How long one write may take, over all databases of its target. 2 s by default.
    pub write_deadline: Duration,
    /// How long one operation of the cache may take before the call goes on without it. 50 ms by default; for a look-up
    /// never more than `call_wall_time`.
    pub cache_deadline: Duration,
    /// How long an entry of the cache may be served: the bound on how old a session can be that another host reads from a cache
    /// which could not be invalidated. 60 s by default.
    pub cache_max_age: Duration,
    /// Size of a payload. 1 MiB by default; Django's sessions are a few hundred bytes.
    pub payload_bytes_max: usize,
    /// How long a change of flags or of protocol waits for the calls under the old ones. 10 s by default.
    pub drain_wait: Duration,
    /// How long unknown outcomes are tried to be repaired, and how long a change of flags waits for that. 30 s by default.
    pub repair_patience: Duration,
    /// Instances that are made before a policy is published. 4 by default.
    pub warm_instances: usize,
}

impl Limits {
    /// When a call that begins now must have ended.
    pub fn call_deadline(&self) -> Instant {
        self.call_deadline_of(Instant::now())
    }

    /// When a call that began then must have ended.
    pub fn call_deadline_of(&self, begun: Instant) -> Instant {
        begun.checked_add(self.call_wall_time).unwrap_or_else(|| begun + FAR)
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
