//! The wasmtime engine of one host: how code is compiled, how instances get their memory, and how processor time is
//! limited.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::Linker;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::limits::{
    CALL_STACK_BYTES, CPU_SLICE_MS, GUEST_MEMORY_BYTES_MAX, GUEST_STACK_BYTES_MAX, GUEST_TABLE_ELEMENTS_MAX,
};
use super::linker::add_to_linker;
use super::state::GuestState;
use crate::limits::Limits;

/// Versions that may have instances at one time: the running one, the previous one, one that drains, one that is tried.
const VERSIONS_MAX: usize = 4;
/// Address space for one memory. With 4 GiB, the compiler can leave out bounds checks.
const MEMORY_SLOT_BYTES: usize = (4 << 30) + (64 << 20);

/// An engine with two linkers: one for guests that import only the contract, one for guests that import `wasi:*` too.
pub(crate) struct PolicyEngine {
    pub(super) engine: Engine,
    pub(super) linker: Linker<GuestState>,
    pub(super) linker_with_wasi: Linker<GuestState>,
}

impl PolicyEngine {
    pub(crate) fn new(limits: &Limits) -> wasmtime::Result<Arc<Self>> {
        // The pool reserves address space for all its slots at once. Where that fails, memories are mapped one by one.
        let engine = Engine::new(&pooled(limits)).or_else(|_| Engine::new(&config()))?;
        let linker = |with_wasi| {
            let mut linker = Linker::new(&engine);
            add_to_linker(&mut linker, with_wasi).map(|()| linker)
        };
        let (linker, linker_with_wasi) = (linker(false)?, linker(true)?);
        watch_processor_time(&engine);
        Ok(Arc::new(Self { engine, linker, linker_with_wasi }))
    }
}

fn config() -> Config {
    let mut config = Config::new();
    config
        .concurrency_support(false)
        .epoch_interruption(true)
        .max_wasm_stack(GUEST_STACK_BYTES_MAX)
        .async_stack_size(CALL_STACK_BYTES)
        .wasm_backtrace_max_frames(None);
    config
}

fn pooled(limits: &Limits) -> Config {
    let instances = limits.calls_in_flight_max.saturating_mul(VERSIONS_MAX).saturating_add(64);
    // Uses at most half of the 47 bits of address space that a process has.
    let memories = instances.min((1 << 46) / MEMORY_SLOT_BYTES);
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(count(instances))
        .total_core_instances(count(instances.saturating_mul(4)))
        .total_memories(count(memories))
        .total_tables(count(instances.saturating_mul(2)))
        .total_stacks(count(instances))
        .max_memory_size(GUEST_MEMORY_BYTES_MAX)
        .max_memories_per_component(4)
        .max_tables_per_component(8)
        .max_core_instances_per_component(16)
        .table_elements(GUEST_TABLE_ELEMENTS_MAX)
        .max_unused_warm_slots(64);
    let mut config = config();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

/// Starts the thread that counts processor time. A task of the async runtime would not do: the guest that it must stop
/// could keep it from running. The thread ends with the engine.
fn watch_processor_time(engine: &Engine) {
    let engine = engine.weak();
    let tick = move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(Duration::from_millis(CPU_SLICE_MS));
        }
    };
    std::thread::Builder::new()
        .name("switchover-cpu".to_owned())
        .spawn(tick)
        .expect("a thread can be started while a host is built");
}
