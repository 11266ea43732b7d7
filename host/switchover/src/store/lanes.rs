//! Lanes for writes of two databases: many waiting writes share each step.
//!
//! There is one lane for each pair of home and mirrors, and in a migration for each epoch. A lane takes what is queued;
//! it has no timer, so a single write is not delayed. It sorts a batch of different keys, so that two hosts lock rows
//! in the same order.

use std::collections::{HashMap, VecDeque};
use std::pin::pin;
use std::sync::{Arc, Weak};

use switchover_contract::{Error, ErrorCode};
use switchover_core::sync::Mutex;
use switchover_runtime::Ticket;
use tokio::sync::{mpsc, oneshot};

use super::Store;
use super::batch::{Answer, Busy, Change, Waiting, next_batch};
use super::route::Route;
use super::together::Together;
use super::{strict, together};
use crate::trace;

/// What a lane does with its batches.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Lane {
    /// Without a migration: within one host.
    Strict(Route),
    /// In one epoch of a migration.
    Together(Together),
}

/// The lanes of a host. A lane is made on first use, and kept until a later epoch makes it useless.
#[derive(Default)]
pub(super) struct Lanes {
    lanes: Mutex<HashMap<Lane, mpsc::Sender<Waiting>>>,
}

impl Lanes {
    pub(super) async fn write(&self, store: &Arc<Store>, lane: Lane, change: Change, ticket: &Ticket) -> Answer {
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { change, ticket: ticket.clone(), answer, span: trace::current() };
        if !self.send(store, lane, waiting) {
            return Err(Error::new(ErrorCode::Overloaded, "too many writes of both databases are waiting"));
        }
        answered.await.unwrap_or_else(|_| Err(Error::new(ErrorCode::UnknownOutcome, "a write was lost")))
    }

    /// Returns `false` if too many wait.
    fn send(&self, store: &Arc<Store>, lane: Lane, waiting: Waiting) -> bool {
        let mut lanes = self.lanes.lock();
        let start = |lane: &Lane| {
            let (sender, receiver) = mpsc::channel(store.limits.now().calls_in_flight_max * 2);
            tokio::spawn(run(Arc::downgrade(store), lane.clone(), receiver));
            sender
        };
        if !lanes.contains_key(&lane) {
            lanes.retain(|other, _| !lane.replaces(other));
        }
        let sender = lanes.entry(lane.clone()).or_insert_with(|| start(&lane));
        match sender.try_send(waiting) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => false,
            // The lane's task has ended with its runtime, or by a panic in a backend, so start a new one.
            Err(mpsc::error::TrySendError::Closed(waiting)) => {
                *sender = start(&lane);
                sender.try_send(waiting).is_ok()
            }
        }
    }
}

impl Lane {
    /// Whether calls of this lane's epoch are too late for the other one. Two neighbouring epochs overlap.
    fn replaces(&self, other: &Self) -> bool {
        matches!((self, other), (Self::Together(this), Self::Together(other))
            if other.fence.epoch.0 + 1 < this.fence.epoch.0)
    }
}

async fn run(store: Weak<Store>, lane: Lane, mut queue: mpsc::Receiver<Waiting>) {
    let mut waiting: VecDeque<Waiting> = VecDeque::new();
    let mut busy = Busy::default();
    loop {
        if waiting.is_empty() {
            match queue.recv().await {
                Some(first) => waiting.push_back(first),
                None => return,
            }
        }
        // Takes all of the queue, so that many writes of one key do not keep writes of other keys out of the batch.
        while let Ok(next) = queue.try_recv() {
            waiting.push_back(next);
        }
        let Some(store) = store.upgrade() else { return };
        let batch = next_batch(&mut waiting, store.limits.now().write_deadline / 4);
        let span = trace::batch(batch.iter().map(|waiting| &waiting.span));
        let work = async {
            match &lane {
                Lane::Strict(route) => strict::write_batch(&store, route, batch).await,
                Lane::Together(way) => together::write_batch(&store, way, batch, &mut busy).await,
            }
        };
        trace::inside(&span, pin!(work)).await;
    }
}
