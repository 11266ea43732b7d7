//! What lets a call in.

use std::sync::Arc;

use switchover_core::capabilities::FlagSnapshot;

use crate::gate::Ticket;

/// What lets a call in, from its start to its end.
#[derive(Clone)]
pub struct Admission {
    /// The place in its era: whoever changes flags waits until the last one is back.
    pub ticket: Ticket,
    /// The flags of that era.
    pub flags: Arc<FlagSnapshot>,
}
