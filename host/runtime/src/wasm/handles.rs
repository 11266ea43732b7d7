//! Sessions and leases that a guest holds, as numbers that are valid for one call.
//!
//! A guest may keep a handle after its call. The handle is then invalid: using it is a fault, and dropping it has no
//! effect. Numbers only grow, so a late drop never hits a later handle, and a larger number was handed out later.

use switchover_core::Session;
use switchover_core::capabilities::Lease;

/// A session that a guest holds. The guest has only a number; the payload stays in the host.
#[expect(unreachable_pub, reason = "the generated bindings re-export it, inside the crate")]
pub struct HostSession;

/// A lease that a guest holds. The guest has only a number.
#[expect(unreachable_pub, reason = "the generated bindings re-export it, inside the crate")]
pub struct GuestLease;

/// What a guest holds.
#[derive(Default)]
pub(super) struct Handles {
    next: u32,
    /// There are few at a time, so a linear search is faster than a table.
    live: Vec<(u32, Handle)>,
    /// How many the guest has got and not given back, in this call or an earlier one.
    outstanding: usize,
}

pub(super) enum Handle {
    Session(Session),
    Lease(Lease),
}

impl Handles {
    pub(super) fn give(&mut self, handle: Handle) -> u32 {
        self.next = self.next.wrapping_add(1);
        self.outstanding += 1;
        self.live.push((self.next, handle));
        self.next
    }

    pub(super) fn session(&self, number: u32) -> Option<&Session> {
        self.live.iter().find_map(|(live, handle)| match handle {
            Handle::Session(session) if *live == number => Some(session),
            Handle::Session(_) | Handle::Lease(_) => None,
        })
    }

    pub(super) fn is_lease(&self, number: u32) -> bool {
        self.live.iter().any(|(live, handle)| *live == number && matches!(handle, Handle::Lease(_)))
    }

    /// Takes a handle back. `None` if it is of an earlier call.
    pub(super) fn take(&mut self, number: u32) -> Option<Handle> {
        self.outstanding = self.outstanding.saturating_sub(1);
        let at = self.live.iter().position(|(live, _)| *live == number)?;
        Some(self.live.swap_remove(at).1)
    }

    /// Makes all handles invalid after a call. Returns how many the guest still holds.
    pub(super) fn end_call(&mut self) -> usize {
        self.live.clear();
        self.outstanding
    }
}
