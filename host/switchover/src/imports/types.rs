//! `types`: sessions as resources, and the state of one instance that holds them.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use switchover_guest::{Level, Result};
use wasmtime::StoreLimits;
use wasmtime::component::{HasSelf, Linker, Resource, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::bindings::Policy;
use super::bindings::switchover::policy::types::{Error as GuestError, Host, HostSession as HostSessionResource};
use super::call::CallContext;
use super::convert::error_to_guest;
use super::log::LogStream;
use crate::error::PolicyFault;
use crate::limits::GUEST_RESOURCES_MAX;
use crate::session::Session;

/// A session in the hands of a guest. The payload stays here.
#[expect(unreachable_pub, reason = "the generated bindings re-export it, inside the crate")]
pub struct HostSession(pub(crate) Session);

/// What the host keeps for one instance.
pub(crate) struct GuestState {
    pub(crate) limits: StoreLimits,
    /// Processor slices that the running call has used.
    pub(crate) slices: u32,
    pub(super) table: ResourceTable,
    current: Option<Arc<CallContext>>,
    /// Only for guests that import `wasi:*`; shares the current call with their standard output.
    wasi: Option<(WasiCtx, Arc<ArcSwapOption<CallContext>>)>,
}

impl GuestState {
    pub(crate) fn new(limits: StoreLimits, with_wasi: bool) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(GUEST_RESOURCES_MAX);
        Self { limits, slices: 0, table, current: None, wasi: with_wasi.then(locked_down_wasi) }
    }

    /// Before a call.
    pub(crate) fn begin(&mut self, call: Arc<CallContext>) {
        self.slices = 0;
        if let Some((_, current)) = &self.wasi {
            current.store(Some(Arc::clone(&call)));
        }
        self.current = Some(call);
    }

    /// After a call. How many resources the guest kept.
    pub(crate) fn end(&mut self) -> usize {
        self.current = None;
        if let Some((_, current)) = &self.wasi {
            current.store(None);
        }
        if self.table.is_empty() { 0 } else { self.table.iter_mut().count() }
    }

    pub(crate) fn give(&mut self, session: Session) -> wasmtime::Result<Resource<HostSession>> {
        Ok(self.table.push(HostSession(session))?)
    }

    pub(crate) fn take(&mut self, session: Resource<HostSession>) -> wasmtime::Result<Session> {
        Ok(self.table.delete(session)?.0)
    }

    /// The current call, one host call shorter.
    pub(super) fn call_ref(&self) -> wasmtime::Result<&Arc<CallContext>> {
        let call = self.current.as_ref().ok_or_else(|| wasmtime::Error::msg("a host call outside of any call"))?;
        call.spend().map_err(|fault: PolicyFault| wasmtime::Error::msg(fault.to_string()))?;
        Ok(call)
    }

    /// The same, to be kept while the host call waits.
    pub(super) fn call(&self) -> wasmtime::Result<Arc<CallContext>> {
        self.call_ref().cloned()
    }

    pub(super) fn session(&self, session: &Resource<HostSession>) -> wasmtime::Result<Session> {
        Ok(self.table.get(session)?.0.clone())
    }

    pub(super) fn hand_over(
        &mut self,
        answer: Result<Option<Session>>,
    ) -> wasmtime::Result<std::result::Result<Option<Resource<HostSession>>, GuestError>> {
        Ok(match answer {
            Ok(Some(session)) => Ok(Some(self.give(session)?)),
            Ok(None) => Ok(None),
            Err(error) => Err(error_to_guest(error)),
        })
    }
}

impl Host for GuestState {}

impl HostSessionResource for GuestState {
    fn expires_at(&mut self, session: Resource<HostSession>) -> wasmtime::Result<u64> {
        Ok(self.table.get(&session)?.0.expires_at.as_micros())
    }

    fn size(&mut self, session: Resource<HostSession>) -> wasmtime::Result<u32> {
        Ok(u32::try_from(self.table.get(&session)?.0.payload.len()).unwrap_or(u32::MAX))
    }

    fn payload(
        &mut self,
        session: Resource<HostSession>,
    ) -> wasmtime::Result<std::result::Result<Vec<u8>, GuestError>> {
        let session = self.session(&session)?;
        Ok(self.call()?.payload(&session).map_err(error_to_guest))
    }

    fn drop(&mut self, session: Resource<HostSession>) -> wasmtime::Result<()> {
        self.table.delete(session)?;
        Ok(())
    }
}

impl WasiView for GuestState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let (ctx, _) = self.wasi.as_mut().expect("wasi is linked only for guests that import it");
        WasiCtxView { ctx, table: &mut self.table }
    }
}

/// Links the contract; and `wasi:*` for guests that import it.
pub(crate) fn add_to_linker(linker: &mut Linker<GuestState>, with_wasi: bool) -> wasmtime::Result<()> {
    if with_wasi {
        wasmtime_wasi::p2::add_to_linker_async(linker)?;
    }
    Policy::add_to_linker::<_, HasSelf<GuestState>>(linker, |state| state)
}

/// No files, no sockets, no environment, no arguments; standard output and error go to the log.
fn locked_down_wasi() -> (WasiCtx, Arc<ArcSwapOption<CallContext>>) {
    let call = Arc::new(ArcSwapOption::empty());
    let stream = |level| LogStream { call: Arc::clone(&call), level };
    let ctx = WasiCtx::builder().stdout(stream(Level::Info)).stderr(stream(Level::Warn)).build();
    (ctx, call)
}
