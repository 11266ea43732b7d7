//! The limits of one component, each with its reason.

/// Memory of one policy instance. The shipped policies need 128 KiB; a JavaScript engine about 9 MiB.
pub(super) const GUEST_MEMORY_BYTES_MAX: usize = 64 << 20;
/// Elements of all tables of one instance. A JavaScript engine has some 8,000 functions in its table.
pub(super) const GUEST_TABLE_ELEMENTS_MAX: usize = 20_000;
/// Stack of a guest. Recursion in a policy is shallow; deeper recursion is a fault.
pub(super) const GUEST_STACK_BYTES_MAX: usize = 256 << 10;
/// Stack of a suspended call: the guest's stack, and what the host needs on top of it.
pub(super) const CALL_STACK_BYTES: usize = GUEST_STACK_BYTES_MAX + (256 << 10);
/// Bytes that a guest may pass in one host call. This is enough for a long log line; a payload is never passed.
pub(super) const HOST_CALL_BYTES_MAX: usize = 128 << 10;
/// Resources (sessions and leases) that a guest may hold at one time, including those of earlier calls.
pub(super) const GUEST_RESOURCES_MAX: usize = 1_024;
/// An instance that kept more resources than this from its calls is not used again. Garbage-collected languages free
/// resources late, so some may stay.
pub(super) const GUEST_RESOURCES_KEPT_MAX: usize = 128;
/// An instance whose memory has grown by more than this since its start is not used again. A policy that leaks then
/// costs new instances, not the host's memory.
pub(super) const GUEST_MEMORY_KEPT_BYTES_MAX: usize = 8 << 20;
/// Memory of the idle instances of one policy. After a peak, memory beyond this is freed. A JavaScript instance has 9
/// MiB.
pub(super) const IDLE_MEMORY_BYTES_MAX: usize = 256 << 20;
/// Idle instances that are kept even if they are large.
pub(super) const IDLE_MIN: usize = 4;
/// Random bytes that a guest which imports `wasi:random` gets in one call.
pub(super) const WASI_RANDOM_BYTES_MAX: u64 = 64 << 10;
/// Size of a component. A JavaScript policy is 12 MB. Reading stops here, so that a wrong file cannot exhaust the
/// memory.
pub(super) const COMPONENT_BYTES_MAX: u64 = 32 << 20;
/// How often the processor time of guests is checked.
pub(super) const CPU_SLICE_MS: u64 = 5;
