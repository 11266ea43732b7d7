//! The interface `clock`: the host's clock.

use super::bindings::switchover::policy::clock::Host;
use super::state::GuestState;

impl Host for GuestState {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(self.call_ref()?.environment.clock.now().as_micros())
    }
}
