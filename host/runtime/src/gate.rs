//! The gate that work goes through: it counts what is in flight, can be closed, and tells when the last has ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

/// A gate for calls and writes.
pub struct Gate {
    open: AtomicBool,
    /// Closed, but for what settles the work that went through it.
    settling: AtomicBool,
    retired: AtomicBool,
    in_flight: AtomicUsize,
    drained: Notify,
}

impl Gate {
    /// A new gate, open.
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
        // Count first, look second: whoever closes the gate looks at the count after closing it, so that one of the two sees the
        // other.
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        let ticket = Ticket { gate: Arc::clone(self) };
        self.open.load(Ordering::SeqCst).then_some(ticket)
    }

    /// A ticket for what settles earlier work, also while the gate is closed and waits for just that.
    pub fn enter_to_settle(self: &Arc<Self>) -> Option<Ticket> {
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        let ticket = Ticket { gate: Arc::clone(self) };
        (self.open.load(Ordering::SeqCst) || self.settling.load(Ordering::SeqCst)).then_some(ticket)
    }

    /// Between closing it and retiring it: lets in what settles earlier work, or no more of that either.
    pub fn let_settle(&self, settling: bool) {
        self.settling.store(settling, Ordering::SeqCst);
    }

    /// Lets nothing in from here on, until it is opened again.
    pub fn close(&self) {
        self.open.store(false, Ordering::SeqCst);
    }

    /// Lets calls in again.
    pub fn reopen(&self) {
        self.open.store(true, Ordering::SeqCst);
    }

    /// Closed for good: another gate has taken its place.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
    }

    /// Whether another gate has taken its place.
    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::SeqCst)
    }

    /// How many tickets are out.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::SeqCst)
    }

    /// Waits until nothing is in flight. `false`: something still was after `wait`.
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
    /// The gate that it is of.
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
