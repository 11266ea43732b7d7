//! The interface `log`: writes lines of a policy to the service's log, bounded and with the call's key struck out.

use super::bindings::switchover::policy::log::{Host, Level as GuestLevel};
use super::state::GuestState;

impl Host for GuestState {
    fn write(&mut self, level: GuestLevel, message: String) -> wasmtime::Result<()> {
        self.call_ref()?.log(level.into(), &message);
        Ok(())
    }
}
