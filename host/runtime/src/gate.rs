//! The gate that work goes through. It counts what is in flight, can be closed, and reports when the last work has
//! ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

/// A gate for calls and writes.
pub struct Gate {
    open: AtomicBool,
    /// Whether repairs of earlier work may enter although the gate is closed.
    settling: AtomicBool,
    retired: AtomicBool,
    in_flight: AtomicUsize,
    drained: Notify,
}

impl Gate {
    /// A new, open gate.
    pub fn open() -> Arc<Self> {
        Arc::new(Self {
            open: AtomicBool::new(true),
            settling: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            drained: Notify::new(),
        })
    }

    /// A ticket, if the gate is still open.
    pub fn enter(self: &Arc<Self>) -> Option<Ticket> {
        // Count first, then check. The closer checks the count after it closed the gate, so one of the two sees the
        // other.
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        let ticket = Ticket { gate: Arc::clone(self) };
        self.open.load(Ordering::SeqCst).then_some(ticket)
    }

    /// A ticket for a repair of earlier work. It is also given while the gate is closed, if [`Gate::let_settle`] allows
    /// it.
    pub fn enter_to_settle(self: &Arc<Self>) -> Option<Ticket> {
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        let ticket = Ticket { gate: Arc::clone(self) };
        (self.open.load(Ordering::SeqCst) || self.settling.load(Ordering::SeqCst)).then_some(ticket)
    }

    /// Sets whether repairs of earlier work may enter while the gate is closed and not retired.
    pub fn let_settle(&self, settling: bool) {
        self.settling.store(settling, Ordering::SeqCst);
    }

    /// Closes the gate until it is opened again.
    pub fn close(&self) {
        self.open.store(false, Ordering::SeqCst);
    }

    /// Opens the gate again.
    pub fn reopen(&self) {
        self.open.store(true, Ordering::SeqCst);
    }

    /// Marks the gate as closed for good: its era has ended, or the host was closed.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
    }

    /// Whether the gate is closed for good.
    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::SeqCst)
    }

    /// The number of tickets that exist.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::SeqCst)
    }

    /// Waits until nothing is in flight. Returns `false` if something still is after `wait`.
    pub async fn drain(&self, wait: Duration) -> bool {
        let drained = async {
            loop {
                let notified = self.drained.notified();
                if self.in_flight() == 0 {
                    return;
                }
                notified.await;
            }
        };
        tokio::time::timeout(wait, drained).await.is_ok()
    }
}

/// Proof that work is counted as in flight. A clone counts too.
pub struct Ticket {
    gate: Arc<Gate>,
}

impl Ticket {
    /// The gate that gave this ticket.
    pub fn gate(&self) -> Arc<Gate> {
        Arc::clone(&self.gate)
    }
}

impl Clone for Ticket {
    fn clone(&self) -> Self {
        self.gate.in_flight.fetch_add(1, Ordering::SeqCst);
        Self { gate: Arc::clone(&self.gate) }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.gate.in_flight.fetch_sub(1, Ordering::SeqCst) == 1 && !self.gate.open.load(Ordering::SeqCst) {
            self.gate.drained.notify_waiters();
        }
    }
}
