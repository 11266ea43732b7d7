//! Every limit of the host, in one place, each with its reason.

use std::time::Duration;

use tokio::time::Instant;

/// Memory of one policy instance. The shipped policies need 128 KiB; a JavaScript engine about 9 MiB.
pub(crate) const GUEST_MEMORY_BYTES_MAX: usize = 64 << 20;
/// Elements of all tables of one instance. A JavaScript engine has some 8,000 functions in its table.
pub(crate) const GUEST_TABLE_ELEMENTS_MAX: usize = 20_000;
/// Stack of a guest. Recursion in a policy is shallow; what goes deeper is a fault.
pub(crate) const GUEST_STACK_BYTES_MAX: usize = 256 << 10;
/// Stack of a suspended call: the guest's and what the host needs on top of it.
pub(crate) const CALL_STACK_BYTES: usize = GUEST_STACK_BYTES_MAX + (256 << 10);
/// Bytes that a guest may hand over in one host call: a long log line, never a payload.
pub(crate) const HOST_CALL_BYTES_MAX: usize = 128 << 10;
/// Resources that a guest may hold at one time, sessions and leases, those of earlier calls included.
pub(crate) const GUEST_RESOURCES_MAX: usize = 1_024;
/// An instance that kept this many resources from earlier calls is not used again: garbage-collected languages free late.
pub(crate) const GUEST_RESOURCES_KEPT_MAX: usize = 128;
/// An instance whose memory has grown by more than this since its start is not used again: a policy that leaks costs new instances,
/// not the host's memory.
pub(crate) const GUEST_MEMORY_KEPT_BYTES_MAX: usize = 8 << 20;
/// Memory of the idle instances of one policy: what a peak has left is given back down to this. A JavaScript instance has 9 MiB.
pub(crate) const IDLE_MEMORY_BYTES_MAX: usize = 256 << 20;
/// Idle instances that are kept however large they are.
pub(crate) const IDLE_MIN: usize = 4;
/// Random bytes that a guest which imports `wasi:random` gets in one call.
pub(crate) const WASI_RANDOM_BYTES_MAX: u64 = 64 << 10;
/// Size of a component. A JavaScript policy is 12 MB; reading stops here, so that a wrong file cannot exhaust the memory.
pub(crate) const COMPONENT_BYTES_MAX: u64 = 32 << 20;
/// Log lines of one call; more are counted and dropped.
pub(crate) const LOG_LINES_MAX: u32 = 32;
/// Length of a log line, and of a message in an error of a policy.
pub(crate) const LOG_LINE_BYTES_MAX: usize = 1_024;
/// Rows that one call of the cleaner may delete: a batch that holds no lock for long.
pub(crate) const DELETE_EXPIRED_MAX: u32 = 10_000;
/// How often the CPU time of guests is looked at.
pub(crate) const CPU_SLICE_MS: u64 = 5;
/// Writes of one home that share a pair of transactions.
pub(crate) const STRICT_BATCH_MAX: usize = 64;
/// Payload of them: a batch must not take longer on its way than its first write may wait.
pub(crate) const STRICT_BATCH_BYTES_MAX: usize = 4 << 20;
/// Repairs that are under way at one time: each holds home's row while a mirror may hang.
pub(crate) const REPAIRS_AT_ONCE_MAX: usize = 4;
/// Unknown outcomes that wait for their repair at one time; beyond it a key is left to the next write of it.
pub(crate) const REPAIRS_PENDING_MAX: usize = 4_096;

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
    pub(crate) fn call_deadline(&self) -> Instant {
        self.call_deadline_of(Instant::now())
    }

    /// When a call that began then must have ended.
    pub(crate) fn call_deadline_of(&self, begun: Instant) -> Instant {
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
