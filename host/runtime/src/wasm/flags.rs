//! `flags`: the snapshot that the call started with.

use super::bindings::switchover::policy::flags::Host;
use super::state::GuestState;

impl Host for GuestState {
    // Not linked: `linker` puts its own in its place.
    fn enabled(&mut self, name: String) -> wasmtime::Result<bool> {
        Ok(self.call_ref()?.admission.flags.enabled(&name))
    }

    fn value(&mut self, name: String) -> wasmtime::Result<Option<String>> {
        Ok(self.call_ref()?.admission.flags.value(&name).map(str::to_owned))
    }
}
