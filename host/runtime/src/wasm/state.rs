//! The state of one instance: its call, what the guest holds, and its memory. Also the interface `types`, with sessions
//! as resources.

use std::sync::Arc;

use switchover_contract::{Level, Result};
use switchover_core::Session;
use switchover_core::sync::Mutex;
use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::bindings::switchover::policy::types::{Error as GuestError, Host, HostSession as HostSessionResource};
use super::handles::{Handle, Handles, HostSession};
use super::limits::WASI_RANDOM_BYTES_MAX;
use super::memory::GuestMemory;
use super::output::{LogStream, Output};
use super::processor_time::ProcessorTime;
use crate::call::CallContext;
use crate::error::PolicyFault;

/// What the host keeps for one instance.
pub(crate) struct GuestState {
    pub(crate) memory: GuestMemory,
    pub(super) processor_time: ProcessorTime,
    /// Whether a host call that may have waited was made since the last slice was counted.
    pub(crate) waited: bool,
    pub(super) handles: Handles,
    current: Option<Arc<CallContext>>,
    /// `None` for guests that do not import `wasi:*`.
    wasi: Option<Box<Wasi>>,
}

struct Wasi {
    ctx: WasiCtx,
    table: ResourceTable,
    output: Arc<Mutex<Output>>,
}

impl GuestState {
    pub(crate) fn new(with_wasi: bool) -> Self {
        Self {
            memory: GuestMemory::default(),
            processor_time: ProcessorTime::default(),
            waited: false,
            handles: Handles::default(),
            current: None,
            wasi: with_wasi.then(|| Box::new(locked_down_wasi())),
        }
    }

    /// Begins a call.
    pub(crate) fn begin(&mut self, call: Arc<CallContext>) {
        self.processor_time.reset();
        if let Some(wasi) = &self.wasi {
            wasi.output.lock().begin(Arc::clone(&call));
        }
        self.current = Some(call);
    }

    /// Ends a call. Returns how many handles the guest kept.
    pub(crate) fn end(&mut self) -> usize {
        self.current = None;
        if let Some(wasi) = &self.wasi {
            wasi.output.lock().end();
        }
        self.handles.end_call()
    }

    pub(crate) fn give(&mut self, session: Session) -> Resource<HostSession> {
        Resource::new_own(self.handles.give(Handle::Session(session)))
    }

    /// Takes back a session from the guest. `None` if it is not one of this call.
    pub(crate) fn take(&mut self, session: &Resource<HostSession>) -> Option<Session> {
        match self.handles.take(session.rep())? {
            Handle::Session(session) => Some(session),
            Handle::Lease(_) => None,
        }
    }

    /// The current call. Counts one host call against its limit.
    pub(super) fn call_ref(&self) -> wasmtime::Result<&Arc<CallContext>> {
        let call = self.current.as_ref().ok_or_else(|| wasmtime::Error::msg("a host call outside of any call"))?;
        call.spend().map_err(|fault: PolicyFault| wasmtime::Error::msg(fault.to_string()))?;
        Ok(call)
    }

    /// As `call_ref`, for a host call that may wait.
    pub(super) fn call(&mut self) -> wasmtime::Result<Arc<CallContext>> {
        self.waited = true;
        self.call_ref().cloned()
    }

    pub(super) fn session(&self, session: &Resource<HostSession>) -> wasmtime::Result<&Session> {
        let session = self.handles.session(session.rep());
        session.ok_or_else(|| wasmtime::Error::msg("a session of an earlier call was used"))
    }

    pub(super) fn hand_over(
        &mut self,
        answer: Result<Option<Session>>,
    ) -> std::result::Result<Option<Resource<HostSession>>, GuestError> {
        answer.map(|found| found.map(|session| self.give(session))).map_err(GuestError::from)
    }
}

impl Host for GuestState {}

impl HostSessionResource for GuestState {
    fn expires_at(&mut self, session: Resource<HostSession>) -> wasmtime::Result<u64> {
        Ok(self.session(&session)?.expires_at.as_micros())
    }

    fn size(&mut self, session: Resource<HostSession>) -> wasmtime::Result<u32> {
        Ok(u32::try_from(self.session(&session)?.payload.len()).unwrap_or(u32::MAX))
    }

    fn payload(
        &mut self,
        session: Resource<HostSession>,
    ) -> wasmtime::Result<std::result::Result<Vec<u8>, GuestError>> {
        Ok(self.call_ref()?.payload(self.session(&session)?).map_err(GuestError::from))
    }

    fn drop(&mut self, session: Resource<HostSession>) -> wasmtime::Result<()> {
        self.handles.take(session.rep());
        Ok(())
    }
}

impl WasiView for GuestState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let wasi = self.wasi.as_mut().expect("wasi is linked only for guests that import it");
        WasiCtxView { ctx: &mut wasi.ctx, table: &mut wasi.table }
    }
}

/// A `wasi` without files, sockets, environment and arguments. Standard output and error go to the log.
fn locked_down_wasi() -> Wasi {
    let output = Arc::new(Mutex::new(Output::default()));
    let stream = |level| LogStream { output: Arc::clone(&output), level };
    let ctx = WasiCtx::builder()
        .stdout(stream(Level::Info))
        .stderr(stream(Level::Warn))
        .max_random_size(WASI_RANDOM_BYTES_MAX)
        .build();
    Wasi { ctx, table: ResourceTable::new(), output }
}
