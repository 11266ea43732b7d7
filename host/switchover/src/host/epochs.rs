//! A host in a migration follows the control document: it opens each next epoch, drains the last one, acknowledges, and
//! renews its lease.

use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use switchover_core::capabilities::{Beat, Document, Member};
use switchover_core::sync::Mutex;
use switchover_runtime::Version;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::Host;
use super::carried::ensure_carried;
use crate::migration::{self, BEAT_EACH, LEASE, Migration, Place, RENEW_EACH, about, deadline};
use crate::trace::ChangeSpan;

/// The shortest time between two beats, however many calls find that a later epoch is in force.
const BEAT_PAUSE: Duration = Duration::from_millis(50);
/// How long one wait for the calls of earlier epochs lasts, before the host says that it waits.
const DRAIN_ROUND: Duration = Duration::from_secs(1);
/// The pause after an acknowledgement that was not written.
const ACKNOWLEDGE_PAUSE: Duration = Duration::from_millis(250);

/// The part that a host takes in its migration.
pub(crate) struct Membership {
    pub(crate) migration: Migration,
    pub(crate) member: Member,
    place: watch::Sender<Place>,
    /// The policy of the epoch that is loaded, as the document names it.
    policy: Mutex<(String, Arc<Version>)>,
}

impl Membership {
    /// Of a host that has joined under this document, and has loaded it.
    pub(super) fn new(
        migration: Migration,
        member: Member,
        document: Document,
        asked_at: Instant,
        version: Arc<Version>,
    ) -> Arc<Self> {
        let policy = Mutex::new((document.policy.clone(), version));
        let place = Place {
            loaded: document.epoch,
            acknowledged: switchover_core::capabilities::Epoch(0),
            document: Arc::new(document),
            asked_at,
            problem: None,
            is_expelled: false,
        };
        Arc::new(Self { migration, member, place: watch::Sender::new(place), policy })
    }

    /// Where this host stands.
    pub(crate) fn place(&self) -> watch::Receiver<Place> {
        self.place.subscribe()
    }

    /// Starts the tasks that follow the document. They end when the host is gone or closed.
    pub(super) fn start(self: &Arc<Self>, host: &Arc<Host>) {
        tokio::spawn(Arc::clone(self).follow(Arc::downgrade(host)));
        tokio::spawn(Arc::clone(self).acknowledge_each(Arc::downgrade(host)));
    }

    async fn follow(self: Arc<Self>, host: Weak<Host>) {
        let mut beats = tokio::time::interval(BEAT_EACH);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut renewed_at: Option<Instant> = None;
        loop {
            let Some(strong) = host.upgrade() else { return };
            let store = Arc::clone(&strong.store);
            drop(strong);
            tokio::select! {
                _ = beats.tick() => {}
                () = store.found_fenced() => tokio::time::sleep(BEAT_PAUSE).await,
            }
            let Some(host) = host.upgrade() else { return };
            if host.slot.is_closed() {
                return;
            }
            if !self.beat(&host).await {
                return;
            }
            if renewed_at.is_none_or(|at| at.elapsed() >= RENEW_EACH) && self.renew().await {
                renewed_at = Some(Instant::now());
            }
        }
    }

    /// Reads the document and follows it. Returns `false` if another process has this host's name.
    async fn beat(&self, host: &Arc<Host>) -> bool {
        let asked_at = Instant::now();
        let control = &self.migration.control;
        let Beat { document, is_member, cache_suspended } =
            match control.beat(self.member.clone(), host.limits.now().cache_max_age, deadline()).await {
                Ok(Some(beat)) => beat,
                Ok(None) => {
                    self.has_problem("its migration is no longer in the control tables".to_owned());
                    return true;
                }
                Err(error) => {
                    // The fence decides whether the epoch in force may go on; no clock does.
                    self.has_problem(format!("the control tables cannot be read: {error}"));
                    return true;
                }
            };
        if !is_member {
            tracing::error!(
                host = %self.member.host, migration = %self.member.migration,
                "another process has the name of this host, or removed its row: this one stops serving"
            );
            self.place.send_modify(|place| {
                place.is_expelled = true;
                place.problem = Some("another process has the name of this host".to_owned());
            });
            host.slot.close(&**host).await;
            return false;
        }
        host.store.cache_beat(cache_suspended, asked_at).await;
        let loaded = self.place.borrow().loaded;
        let problem = if document.epoch > loaded { self.load(host, &document).await.err() } else { None };
        if let Some(problem) = &problem {
            tracing::error!(epoch = document.epoch.0, "the next epoch of the migration cannot be loaded: {problem}");
        }
        self.place.send_modify(|place| {
            if problem.is_none() {
                place.loaded = place.loaded.max(document.epoch);
            }
            place.document = Arc::new(document);
            (place.asked_at, place.problem) = (asked_at, problem);
        });
        true
    }

    fn has_problem(&self, problem: String) {
        self.place.send_modify(|place| {
            if place.problem.as_ref() != Some(&problem) {
                tracing::warn!(migration = %self.member.migration, "{problem}");
                place.problem = Some(problem);
            }
        });
    }

    /// Opens the epoch of a document. The calls of earlier epochs go on.
    async fn load(&self, host: &Arc<Host>, document: &Document) -> Result<(), String> {
        migration::phase(document).map_err(|error| error.to_string())?;
        let flags = Arc::new(migration::flags(document));
        let (name, running) = self.policy.lock().clone();
        let version = if name == document.policy {
            running
        } else {
            let policy = self
                .migration
                .find_policy(&document.policy)
                .ok_or_else(|| format!("this host has no policy called `{}`", document.policy))?;
            let version = host.loader.load(&policy, Arc::clone(&flags)).await.map_err(|error| error.to_string())?;
            let carried = ensure_carried(&host.store, &policy, version.description(), host.limits.now().read_deadline);
            carried.await.map_err(|error| error.to_string())?;
            version
        };
        let (span, fence) = (ChangeSpan::begin("epoch"), migration::fence(document));
        let open = host.slot.open_next(Arc::clone(&flags), Arc::clone(&version), fence.clone(), &**host);
        span.around(pin!(open)).await.map_err(|error| error.to_string())?;
        span.made(version.id(), &flags, Some(&fence));
        *self.policy.lock() = (document.policy.clone(), version);
        tracing::info!(
            migration = %document.migration, epoch = document.epoch.0, phase = %document.phase,
            "the next epoch of the migration is open"
        );
        Ok(())
    }

    async fn renew(&self) -> bool {
        let problem = self.place.borrow().problem.clone();
        let about = about(problem.as_deref());
        self.migration.control.renew(self.member.clone(), LEASE, about, deadline()).await.is_ok()
    }

    /// Acknowledges each epoch that is loaded, once nothing of the epochs before it runs any more.
    async fn acknowledge_each(self: Arc<Self>, host: Weak<Host>) {
        let mut place = self.place();
        loop {
            let (loaded, acknowledged) = {
                let now = place.borrow_and_update();
                if now.is_expelled {
                    return;
                }
                (now.loaded, now.acknowledged)
            };
            if loaded <= acknowledged {
                if place.changed().await.is_err() {
                    return;
                }
                continue;
            }
            let Some(host) = host.upgrade() else { return };
            if !host.slot.earlier_ended(DRAIN_ROUND).await {
                let in_flight = host.slot.earlier_in_flight();
                tracing::info!(in_flight, "calls of the last epoch are still under way");
                continue;
            }
            // An epoch that was opened meanwhile has earlier ones again.
            if self.place.borrow().loaded != loaded {
                continue;
            }
            drop(host);
            match self.migration.control.acknowledge(self.member.clone(), loaded, deadline()).await {
                Ok(true) => self.place.send_modify(|place| place.acknowledged = place.acknowledged.max(loaded)),
                Ok(false) | Err(_) => tokio::time::sleep(ACKNOWLEDGE_PAUSE).await,
            }
        }
    }

    /// Leaves the migration, after everything of this host has ended.
    pub(super) async fn leave(&self) {
        if let Err(error) = self.migration.control.leave(self.member.clone(), deadline()).await {
            tracing::warn!("this host could not remove itself from the migration; its lease will run out: {error}");
        }
    }
}
