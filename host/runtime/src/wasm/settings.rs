//! The interface `settings`: what the operator configured for this policy.

use super::bindings::switchover::policy::settings::Host;
use super::state::GuestState;

impl Host for GuestState {
    fn get(&mut self, name: String) -> wasmtime::Result<Option<String>> {
        Ok(self.call_ref()?.scope.settings.get(&name).cloned())
    }
}
