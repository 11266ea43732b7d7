//! What a call holds while it runs: its ticket and its flags.

use std::sync::Arc;

use switchover_core::capabilities::FlagSnapshot;

use crate::gate::Ticket;

/// What an admitted call holds from its start to its end.
#[derive(Clone)]
pub struct Admission {
    /// Counts the call as in flight in its era. A change of flags waits until the last ticket is dropped.
    pub ticket: Ticket,
    /// The flags of that era.
    pub flags: Arc<FlagSnapshot>,
}
