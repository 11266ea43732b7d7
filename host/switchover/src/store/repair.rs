//! After an unknown outcome: the key is copied again under home's lock as soon as the databases answer.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use switchover_guest::{Guarantee, MirrorAction, Target};
use tokio::sync::watch;

use super::Store;
use super::strict::Route;
use crate::gate::Ticket;
use crate::limits::REPAIRS_PENDING_MAX;
use crate::session::SessionKey;

const BACKOFF_FIRST: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// The keys that wait for their repair.
pub(super) struct Repairs {
    pending: Mutex<HashSet<(Route, SessionKey)>>,
    count: watch::Sender<usize>,
}

impl Default for Repairs {
    fn default() -> Self {
        Self { pending: Mutex::default(), count: watch::Sender::new(0) }
    }
}

impl Repairs {
    fn add(&self, repair: &(Route, SessionKey)) -> bool {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let added = pending.len() < REPAIRS_PENDING_MAX && pending.insert(repair.clone());
        self.count.send_replace(pending.len());
        added
    }

    fn remove(&self, repair: &(Route, SessionKey)) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.remove(repair);
        self.count.send_replace(pending.len());
    }
}

impl Store {
    /// How many keys wait for their repair.
    pub(crate) fn repairs_pending(&self) -> usize {
        *self.repairs.count.borrow()
    }

    /// Waits until no key waits for its repair, at most `patience`. `false`: some still do.
    pub(crate) async fn repairs_done(&self, patience: Duration) -> bool {
        let mut count = self.repairs.count.subscribe();
        matches!(tokio::time::timeout(patience, count.wait_for(|count| *count == 0)).await, Ok(Ok(_)))
    }

    /// Repairs a key in the background, under the flags and the policy that the write had: once these change, another database may
    /// be home, and a copy would overwrite what is newer.
    pub(super) fn repair_later(self: &Arc<Self>, ticket: Ticket, route: &Route, key: SessionKey) {
        let repair = (route.clone(), key);
        if !self.repairs.add(&repair) {
            return;
        }
        let (store, gate) = (Arc::clone(self), ticket.gate());
        drop(ticket);
        tokio::spawn(async move {
            let give_up = Instant::now() + store.limits.repair_patience;
            let mut backoff = BACKOFF_FIRST;
            let repaired = loop {
                tokio::time::sleep(backoff).await;
                let Some(_ticket) = gate.enter() else { break false };
                if store.copy_now(repair.0.home.as_str(), &repair.0.target(), repair.1.clone()).await.is_ok() {
                    break true;
                }
                if Instant::now() > give_up {
                    break false;
                }
                backoff = (backoff * 2).min(BACKOFF_MAX);
            };
            store.repairs.remove(&repair);
            if repaired {
                store.counters.repaired();
            } else {
                store.counters.repair_abandoned();
                tracing::warn!(home = %repair.0.home, "gave up to repair a key after an unknown outcome; its next write settles it");
            }
        });
    }
}

impl Route {
    fn target(&self) -> Target {
        let home = Target::home(self.home.as_str());
        self.mirrors.iter().fold(home, |target, (mirror, action)| match action {
            MirrorAction::Copy => target.copy_to(mirror.as_str(), Guarantee::Strict),
            MirrorAction::Remove => target.remove_from(mirror.as_str(), Guarantee::Strict),
        })
    }
}
