//! A component in wasm: instances that are reused, one call at a time in each.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use wasmtime::component::Component;
use wasmtime::{Store, Trap, UpdateDeadline};

use super::engine::PolicyEngine;
use super::runner::{Answer, Call, Failure, RouterCall, Runner};
use crate::error::PolicyFault;
use crate::imports::{
    CallContext, GuestError, GuestState, WasmPolicy, WasmPolicyPre, description_from_guest, error_from_guest,
    hints_to_guest, mode_to_guest, model_to_guest, object_to_guest, outcome_from_guest,
};
use crate::limits::{
    CPU_SLICE_MS, GUEST_MEMORY_KEPT_BYTES_MAX, GUEST_RESOURCES_KEPT_MAX, GUEST_RESOURCES_MAX, HOST_CALL_BYTES_MAX,
    IDLE_MEMORY_BYTES_MAX, IDLE_MIN, Limits,
};

/// A linked component and its idle instances.
pub(super) struct WasmRunner {
    // Keeps the thread that watches processor time alive.
    engine: Arc<PolicyEngine>,
    pre: WasmPolicyPre<GuestState>,
    with_wasi: bool,
    cpu_slices_max: u32,
    /// A shard for each core: an instance that another one has just used is cold here, and so is its lock.
    idle: Box<[Idle]>,
    idle_max: AtomicUsize,
}

/// Idle instances, last in, first out: the one that ran last is warm in the processor's cache. Boxed: it is moved at every call, and
/// its bindings alone are hundreds of bytes.
#[expect(clippy::vec_box, reason = "moving the box is what makes a call cheap")]
#[derive(Default)]
struct Idle(Mutex<Vec<Box<Instance>>>);

/// More cores share shards.
const IDLE_SHARDS_MAX: usize = 16;

struct Instance {
    store: Store<GuestState>,
    policy: WasmPolicy,
    memory_at_start: usize,
}

impl Idle {
    #[expect(clippy::vec_box, reason = "moving the box is what makes a call cheap")]
    fn lock(&self) -> MutexGuard<'_, Vec<Box<Instance>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        let pre = WasmPolicyPre::new(linker.instantiate_pre(component)?)?;
        let slices = limits.call_cpu_time.as_millis().div_ceil(u128::from(CPU_SLICE_MS)).max(1);
        let cpu_slices_max = u32::try_from(slices).unwrap_or(u32::MAX);
        let shards = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(IDLE_SHARDS_MAX));
        Ok(Self {
            pre,
            with_wasi,
            cpu_slices_max,
            idle: (0..shards).map(|_| Idle::default()).collect(),
            idle_max: AtomicUsize::new(usize::MAX),
            engine,
        })
    }

    /// The shard of this thread, from which it takes first.
    fn own_shard(&self) -> usize {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static THREAD: usize = THREADS.fetch_add(1, Ordering::Relaxed);
        }
        THREAD.with(|thread| thread % self.idle.len())
    }

    async fn instance(&self) -> Result<Box<Instance>, Failure> {
        let (before, own_and_after) = self.idle.split_at(self.own_shard());
        match own_and_after.iter().chain(before).find_map(Idle::take) {
            Some(idle) => Ok(idle),
            // Boxed: rare, and large enough to slow down every call.
            None => Box::pin(self.new_instance()).await,
        }
    }

    async fn new_instance(&self) -> Result<Box<Instance>, Failure> {
        let mut store = Store::new(&self.engine.engine, GuestState::new(self.with_wasi));
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(HOST_CALL_BYTES_MAX);
        store.set_max_component_handles(GUEST_RESOURCES_MAX);
        store.set_epoch_deadline(1);
        let slices_max = self.cpu_slices_max;
        // Runs only while wasm runs: waiting for a database costs the guest nothing.
        store.epoch_deadline_callback(move |mut store| {
            let state = store.data_mut();
            // The slice in which a host call waited is not the guest's; how many host calls there are is bounded. Nor has
            // it kept others waiting, so it goes on at once: a yield would cost every call that waited for a database.
            if std::mem::take(&mut state.waited) {
                return Ok(UpdateDeadline::Continue(1));
            }
            state.slices += 1;
            Ok(if state.slices > slices_max {
                UpdateDeadline::Interrupt
            } else {
                UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now()))
            })
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

#[async_trait]
impl Runner for WasmRunner {
    async fn call(&self, call: Call, context: Arc<CallContext>) -> Result<Answer, Failure> {
        let mut instance = self.instance().await?;
        instance.store.data_mut().begin(Arc::clone(&context));
        instance.store.set_epoch_deadline(1);
        let answered = instance.call(call).await;
        let kept = instance.store.data_mut().end();
        match answered {
            Ok(answer) => {
                let grown = instance.store.data().memory.bytes().saturating_sub(instance.memory_at_start);
                if kept <= GUEST_RESOURCES_KEPT_MAX && grown <= GUEST_MEMORY_KEPT_BYTES_MAX {
                    self.put_back(instance);
                }
                match answer {
                    Ok(Some(answer)) => Ok(answer),
                    Ok(None) => Err(Failure::Fault(PolicyFault::ForeignSession)),
                    Err(error) => Err(Failure::Answered(error_from_guest(error))),
                }
            }
            // A trap poisons the store: the instance ends here.
            Err(trap) => Err(Failure::Fault(fault(&trap, &context))),
        }
    }

    async fn warm(&self, instances: usize) -> Result<(), Failure> {
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

/// A trap; or what the guest answered, `None`: with a session that is not one of this call.
type Answered = wasmtime::Result<Result<Option<Answer>, GuestError>>;

impl Instance {
    async fn call(&mut self, call: Call) -> Answered {
        let Self { store, policy, .. } = self;
        let sessions = policy.switchover_policy_session_store();
        Ok(match call {
            Call::Load(key) => match sessions.call_load(&mut *store, key.expose_string()).await? {
                Ok(Some(found)) => Ok(store.data_mut().take(&found).map(|session| Answer::Session(Some(session)))),
                Ok(None) => Ok(Some(Answer::Session(None))),
                Err(error) => Err(error),
            },
            Call::Save(session, mode) => {
                let key = session.key.clone();
                let value = store.data_mut().give(session);
                let outcome = sessions.call_save(store, key.expose_string(), value, mode_to_guest(mode)).await?;
                outcome.map(|outcome| Some(Answer::Outcome(outcome_from_guest(outcome))))
            }
            Call::Touch(key, expires_at) => {
                let outcome = sessions.call_touch(store, key.expose_string(), expires_at.as_micros()).await?;
                outcome.map(|outcome| Some(Answer::Outcome(outcome_from_guest(outcome))))
            }
            Call::Delete(key) => {
                sessions.call_delete(store, key.expose_string()).await?.map(|answer| Some(Answer::Deleted(answer)))
            }
            Call::Exists(key) => {
                sessions.call_exists(store, key.expose_string()).await?.map(|answer| Some(Answer::Exists(answer)))
            }
            Call::ClearExpired(limit) => {
                sessions.call_clear_expired(store, limit).await?.map(|answer| Some(Answer::Count(answer)))
            }
            // Boxed, as is the description: rare, and large enough to slow down what is frequent.
            Call::Route(call) => Box::pin(self.route(*call)).await?,
            Call::Describe => Box::pin(self.describe()).await?,
        })
    }

    async fn route(&mut self, call: RouterCall) -> Answered {
        let Self { store, policy, .. } = self;
        let router = policy.switchover_policy_router();
        Ok(match call {
            RouterCall::DbForRead(model, hints) => {
                let (model, hints) = (model_to_guest(model), hints_to_guest(hints));
                router.call_db_for_read(store, &model, &hints).await?.map(|answer| Some(Answer::Database(answer)))
            }
            RouterCall::DbForWrite(model, hints) => {
                let (model, hints) = (model_to_guest(model), hints_to_guest(hints));
                router.call_db_for_write(store, &model, &hints).await?.map(|answer| Some(Answer::Database(answer)))
            }
            RouterCall::AllowRelation(a, b, hints) => {
                let (a, b, hints) = (object_to_guest(a), object_to_guest(b), hints_to_guest(hints));
                router.call_allow_relation(store, &a, &b, &hints).await?.map(|answer| Some(Answer::Opinion(answer)))
            }
            RouterCall::AllowMigrate { database, app_label, model_name, hints } => {
                let hints = hints_to_guest(hints);
                let model = model_name.as_deref();
                router
                    .call_allow_migrate(store, &database, &app_label, model, &hints)
                    .await?
                    .map(|answer| Some(Answer::Opinion(answer)))
            }
        })
    }

    async fn describe(&mut self) -> Answered {
        let description = self.policy.switchover_policy_about().call_describe(&mut self.store).await?;
        Ok(Ok(Some(Answer::Description(Box::new(description_from_guest(description))))))
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
