//! `flags`: the snapshot that the call started with.

use super::bindings::switchover::policy::flags::Host;
use super::types::GuestState;

impl Host for GuestState {
    fn enabled(&mut self, name: String) -> wasmtime::Result<bool> {
        Ok(self.call_ref()?.flags.enabled(&name))
    }

    fn value(&mut self, name: String) -> wasmtime::Result<Option<String>> {
        Ok(self.call_ref()?.flags.value(&name).map(str::to_owned))
    }
}
