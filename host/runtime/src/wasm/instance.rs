//! A component in wasm. Its instances are reused, and each runs one call at a time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use switchover_contract::{Description, Hints, Model, Object, SaveMode, SaveOutcome};
use switchover_core::sync::Mutex;
use switchover_core::{Session, SessionKey, Timestamp};
use wasmtime::component::Component;
use wasmtime::{Store, Trap, UpdateDeadline};

use super::bindings::switchover::policy::types::Error as GuestError;
use super::bindings::{Policy, PolicyPre};
use super::engine::PolicyEngine;
use super::limits::{
    GUEST_MEMORY_KEPT_BYTES_MAX, GUEST_RESOURCES_KEPT_MAX, GUEST_RESOURCES_MAX, HOST_CALL_BYTES_MAX,
    IDLE_MEMORY_BYTES_MAX, IDLE_MIN,
};
use super::state::GuestState;
use crate::call::CallContext;
use crate::call::{Answered, Failure, Runner};
use crate::error::PolicyFault;
use crate::limits::Limits;

/// A linked component and its idle instances.
pub(crate) struct WasmRunner {
    // Keeps alive the thread that counts processor time.
    engine: Arc<PolicyEngine>,
    pre: PolicyPre<GuestState>,
    with_wasi: bool,
    call_cpu_time: Duration,
    /// One shard for each core: an instance that another core has just used is cold in this core's cache, and so is its
    /// lock.
    idle: Box<[Idle]>,
    idle_max: AtomicUsize,
}

/// Idle instances, last in, first out: the one that ran last is warm in the processor's cache. They are boxed, because
/// one is moved at every call, and its bindings alone are hundreds of bytes.
#[expect(clippy::vec_box, reason = "moving the box is what makes a call cheap")]
#[derive(Default)]
struct Idle(Mutex<Vec<Box<Instance>>>);

/// With more cores than this, several share a shard.
const IDLE_SHARDS_MAX: usize = 16;

struct Instance {
    store: Store<GuestState>,
    policy: Policy,
    memory_at_start: usize,
}

impl Idle {
    #[expect(clippy::vec_box, reason = "moving the box is what makes a call cheap")]
    fn lock(&self) -> MutexGuard<'_, Vec<Box<Instance>>> {
        self.0.lock()
    }

    fn take(&self) -> Option<Box<Instance>> {
        self.lock().pop()
    }
}

impl WasmRunner {
    /// Links a component. The error names the import or export that does not fit.
    pub(super) fn link(engine: Arc<PolicyEngine>, component: &Component, limits: &Limits) -> wasmtime::Result<Self> {
        let with_wasi = component.component_type().imports(&engine.engine).any(|(name, _)| name.starts_with("wasi:"));
        let linker = if with_wasi { &engine.linker_with_wasi } else { &engine.linker };
        let pre = PolicyPre::new(linker.instantiate_pre(component)?)?;
        let shards = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(IDLE_SHARDS_MAX));
        Ok(Self {
            pre,
            with_wasi,
            call_cpu_time: limits.call_cpu_time,
            idle: (0..shards).map(|_| Idle::default()).collect(),
            idle_max: AtomicUsize::new(usize::MAX),
            engine,
        })
    }

    /// The shard of this thread. The thread looks there first, and returns its instances there.
    fn own_shard(&self) -> usize {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static THREAD: usize = THREADS.fetch_add(1, Ordering::Relaxed);
        }
        THREAD.with(|thread| thread % self.idle.len())
    }

    async fn instance(&self) -> Answered<Box<Instance>> {
        let (before, own_and_after) = self.idle.split_at(self.own_shard());
        match own_and_after.iter().chain(before).find_map(Idle::take) {
            Some(idle) => Ok(idle),
            // Boxed, because it is rare, and large enough to slow down every call.
            None => Box::pin(self.new_instance()).await,
        }
    }

    async fn new_instance(&self) -> Answered<Box<Instance>> {
        let mut store = Store::new(&self.engine.engine, GuestState::new(self.with_wasi));
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(HOST_CALL_BYTES_MAX);
        store.set_max_component_handles(GUEST_RESOURCES_MAX);
        store.set_epoch_deadline(1);
        let call_cpu_time = self.call_cpu_time;
        // This runs only while wasm runs, so waiting for a database does not count.
        store.epoch_deadline_callback(move |mut store| {
            let state = store.data_mut();
            // A slice in which a host call waited does not count. This is safe because the number of host calls is
            // bounded. The guest has kept no other task waiting, so it continues at once: a yield would slow down every
            // call that waited for a database.
            let since = state.processor_time.since();
            if std::mem::take(&mut state.waited) {
                since.begin();
                return Ok(UpdateDeadline::Continue(1));
            }
            if state.processor_time.count() > call_cpu_time {
                return Ok(UpdateDeadline::Interrupt);
            }
            let next = async move {
                tokio::task::yield_now().await;
                since.begin();
            };
            Ok(UpdateDeadline::YieldCustom(1, Box::pin(next)))
        });
        match self.pre.instantiate_async(&mut store).await {
            Ok(policy) => {
                let memory_at_start = store.data().memory.bytes();
                Ok(Box::new(Instance { store, policy, memory_at_start }))
            }
            Err(error) if error.downcast_ref::<wasmtime::PoolConcurrencyLimitError>().is_some() => {
                Err(Failure::Host("no more instances can be made".to_owned()))
            }
            Err(error) => Err(Failure::Fault(PolicyFault::Start { message: reason(&error) })),
        }
    }

    fn put_back(&self, instance: Box<Instance>) {
        let by_memory = IDLE_MEMORY_BYTES_MAX / instance.store.data().memory.bytes().max(1);
        let idle_max = by_memory.max(IDLE_MIN).min(self.idle_max.load(Ordering::Relaxed));
        let mut idle = self.idle[self.own_shard()].lock();
        if idle.len() < idle_max.div_ceil(self.idle.len()) {
            idle.push(instance);
        }
    }
}

impl WasmRunner {
    /// Begins a call on an idle or a new instance.
    async fn begin(&self, call: &Arc<CallContext>) -> Answered<Box<Instance>> {
        let mut instance = self.instance().await?;
        instance.store.data_mut().begin(Arc::clone(call));
        instance.store.set_epoch_deadline(1);
        Ok(instance)
    }

    /// Ends a call. The instance is kept for another call, unless it trapped, holds too much, or has grown too much.
    fn end<T>(&self, mut instance: Box<Instance>, call: &CallContext, answered: Returned<T>) -> Answered<T> {
        let kept = instance.store.data_mut().end();
        match answered {
            Ok(answer) => {
                let grown = instance.store.data().memory.bytes().saturating_sub(instance.memory_at_start);
                if kept <= GUEST_RESOURCES_KEPT_MAX && grown <= GUEST_MEMORY_KEPT_BYTES_MAX {
                    self.put_back(instance);
                }
                answer
            }
            // After a trap the store cannot be used again, so the instance is dropped.
            Err(trap) => Err(Failure::Fault(fault(&trap, call))),
        }
    }
}

#[async_trait]
impl Runner for WasmRunner {
    async fn load(&self, key: &SessionKey, call: &Arc<CallContext>) -> Answered<Option<Session>> {
        let mut instance = self.begin(call).await?;
        let answered = instance.load(key).await;
        self.end(instance, call, answered)
    }

    async fn save(&self, session: &Session, mode: SaveMode, call: &Arc<CallContext>) -> Answered<SaveOutcome> {
        let mut instance = self.begin(call).await?;
        let Instance { store, policy, .. } = &mut *instance;
        let (value, key) = (store.data_mut().give(session.clone()), session.key.expose_string());
        let saved = policy.switchover_policy_session_store().call_save(store, key, value, mode.into()).await;
        self.end(instance, call, returned(saved).map(|saved| saved.map(SaveOutcome::from)))
    }

    async fn touch(&self, key: &SessionKey, expires_at: Timestamp, call: &Arc<CallContext>) -> Answered<SaveOutcome> {
        let mut instance = self.begin(call).await?;
        let Instance { store, policy, .. } = &mut *instance;
        let (key, expires_at) = (key.expose_string(), expires_at.as_micros());
        let touched = policy.switchover_policy_session_store().call_touch(store, key, expires_at).await;
        self.end(instance, call, returned(touched).map(|touched| touched.map(SaveOutcome::from)))
    }

    async fn delete(&self, key: &SessionKey, call: &Arc<CallContext>) -> Answered<bool> {
        let mut instance = self.begin(call).await?;
        let Instance { store, policy, .. } = &mut *instance;
        let deleted = policy.switchover_policy_session_store().call_delete(store, key.expose_string()).await;
        self.end(instance, call, returned(deleted))
    }

    async fn exists(&self, key: &SessionKey, call: &Arc<CallContext>) -> Answered<bool> {
        let mut instance = self.begin(call).await?;
        let Instance { store, policy, .. } = &mut *instance;
        let exists = policy.switchover_policy_session_store().call_exists(store, key.expose_string()).await;
        self.end(instance, call, returned(exists))
    }

    async fn clear_expired(&self, limit: u32, call: &Arc<CallContext>) -> Answered<u32> {
        let mut instance = self.begin(call).await?;
        let Instance { store, policy, .. } = &mut *instance;
        let cleared = policy.switchover_policy_session_store().call_clear_expired(store, limit).await;
        self.end(instance, call, returned(cleared))
    }

    async fn db_for_read(&self, model: &Model, hints: &Hints, call: &Arc<CallContext>) -> Answered<Option<String>> {
        let mut instance = self.begin(call).await?;
        let Instance { store, policy, .. } = &mut *instance;
        let routed = policy.switchover_policy_router().call_db_for_read(store, &model.into(), &hints.into()).await;
        self.end(instance, call, returned(routed))
    }

    async fn db_for_write(&self, model: &Model, hints: &Hints, call: &Arc<CallContext>) -> Answered<Option<String>> {
        let mut instance = self.begin(call).await?;
        let Instance { store, policy, .. } = &mut *instance;
        let routed = policy.switchover_policy_router().call_db_for_write(store, &model.into(), &hints.into()).await;
        self.end(instance, call, returned(routed))
    }

    async fn allow_relation(
        &self,
        [a, b]: [&Object; 2],
        hints: &Hints,
        call: &Arc<CallContext>,
    ) -> Answered<Option<bool>> {
        let mut instance = self.begin(call).await?;
        let Instance { store, policy, .. } = &mut *instance;
        let router = policy.switchover_policy_router();
        let allowed = router.call_allow_relation(store, &a.into(), &b.into(), &hints.into()).await;
        self.end(instance, call, returned(allowed))
    }

    async fn allow_migrate(
        &self,
        database: &str,
        app_label: &str,
        model_name: Option<&str>,
        hints: &Hints,
        call: &Arc<CallContext>,
    ) -> Answered<Option<bool>> {
        let mut instance = self.begin(call).await?;
        let Instance { store, policy, .. } = &mut *instance;
        let router = policy.switchover_policy_router();
        let allowed =
            router.call_allow_migrate(store, &database.to_owned(), app_label, model_name, &hints.into()).await;
        self.end(instance, call, returned(allowed))
    }

    async fn describe(&self, call: &Arc<CallContext>) -> Answered<Description> {
        let mut instance = self.begin(call).await?;
        let Instance { store, policy, .. } = &mut *instance;
        let described = policy.switchover_policy_about().call_describe(store).await;
        self.end(instance, call, described.map(|description| Ok(description.into())))
    }

    async fn warm(&self, instances: usize) -> Answered<()> {
        let mut warm = Vec::with_capacity(instances);
        while warm.len() < instances {
            warm.push(self.instance().await?);
        }
        warm.into_iter().for_each(|instance| self.put_back(instance));
        Ok(())
    }

    fn keep_idle(&self, instances_max: usize) {
        self.idle_max.store(instances_max, Ordering::Relaxed);
        for idle in &self.idle {
            idle.lock().truncate(instances_max.div_ceil(self.idle.len()));
        }
    }
}

/// A trap, or what the guest returned.
type Returned<T> = wasmtime::Result<Answered<T>>;

fn returned<T>(returned: wasmtime::Result<Result<T, GuestError>>) -> Returned<T> {
    returned.map(|answer| answer.map_err(|error| Failure::Answered(error.into())))
}

impl Instance {
    /// Loads a session. It takes the session out of its handle, because handles are valid only until the call ends.
    async fn load(&mut self, key: &SessionKey) -> Returned<Option<Session>> {
        let Self { store, policy, .. } = self;
        let loaded = policy.switchover_policy_session_store().call_load(&mut *store, key.expose_string()).await;
        Ok(match returned(loaded)? {
            Ok(Some(found)) => {
                store.data_mut().take(&found).map(Some).ok_or(Failure::Fault(PolicyFault::ForeignSession))
            }
            Ok(None) => Ok(None),
            Err(failure) => Err(failure),
        })
    }
}

fn fault(trap: &wasmtime::Error, context: &CallContext) -> PolicyFault {
    if context.is_overspent() {
        return PolicyFault::HostCalls;
    }
    match trap.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => PolicyFault::CpuTime,
        Some(trap @ Trap::UnreachableCodeReached) => {
            PolicyFault::Trap { message: format!("{trap} (a panic, an error that nothing caught, or no memory left)") }
        }
        Some(trap) => PolicyFault::Trap { message: trap.to_string() },
        None => PolicyFault::Trap { message: context.for_people(&reason(trap)) },
    }
}

/// The innermost cause in one line.
pub(super) fn reason(error: &wasmtime::Error) -> String {
    error.root_cause().to_string().lines().next().unwrap_or("no reason given").to_owned()
}
