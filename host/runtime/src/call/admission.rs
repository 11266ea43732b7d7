//! What a call holds while it runs: its ticket, its flags and its epoch.

use std::sync::Arc;

use switchover_core::capabilities::{Fence, FlagSnapshot};

use crate::gate::Ticket;

/// What an admitted call holds from its start to its end.
#[derive(Clone)]
pub struct Admission {
    /// Counts the call as in flight in its era. A change of flags waits until the last ticket is dropped.
    pub ticket: Ticket,
    /// The flags of that era.
    pub flags: Arc<FlagSnapshot>,
    /// The epoch that everything of the call carries; `None` if the host takes part in no migration.
    pub fence: Option<Fence>,
}
