//! The interface `flags`: the snapshot with which the call began.

use super::bindings::switchover::policy::flags::Host;
use super::state::GuestState;

impl Host for GuestState {
    // Never runs: `linker` replaces it.
    fn enabled(&mut self, name: String) -> wasmtime::Result<bool> {
        Ok(self.call_ref()?.admission.flags.enabled(&name))
    }

    fn value(&mut self, name: String) -> wasmtime::Result<Option<String>> {
        Ok(self.call_ref()?.admission.flags.value(&name).map(str::to_owned))
    }
}
