//! A cache that cannot be told: a host that could not remove an entry suspends the cache of the fleet before it
//! acknowledges.
//!
//! Each host confirms once a second, for two seconds, that nobody suspends the cache, and asks the cache only by such a
//! confirmation. So two seconds after a suspension is written, no host serves an entry any more. `docs/protocol.md` has
//! the rule and its proof.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use switchover_contract::{Error, ErrorCode, Result};
use switchover_core::SessionKey;
use switchover_core::capabilities::{Cache, Control, Member, Nonce};

use super::Store;
use crate::migration::CacheRule;

/// How long a confirmation counts.
const CONFIRMED_FOR: Duration = Duration::from_secs(2);
/// How long a suspension waits until it is in force: longer than a confirmation by what two clocks may drift apart.
const IN_FORCE_AFTER: Duration = Duration::from_millis(2_100);
/// The lease of a suspension. It is renewed while something is owed.
const LEASE: Duration = Duration::from_secs(15);
/// A lease with less than this left is renewed.
const RENEW_BELOW: Duration = Duration::from_secs(10);
/// How long one question to the control tables may take.
const CONTROL_PATIENCE: Duration = Duration::from_secs(1);
/// How often a write that waits looks whether its entry is gone.
const LOOK_EACH: Duration = Duration::from_millis(10);

/// The cache of a fleet, as one of its hosts uses it.
pub(crate) struct FleetCache {
    rule: CacheRule,
    control: Arc<dyn Control>,
    member: Member,
    began: Instant,
    /// Until when nobody suspends the cache, in microseconds since `began`; 0: not confirmed.
    confirmed_until: AtomicU64,
    suspension: tokio::sync::Mutex<Option<Suspension>>,
    suspensions: AtomicU64,
}

/// A suspension of this host, by its own clock.
struct Suspension {
    /// Its own name: a late end of an earlier one does not end it.
    member: Member,
    in_force_from: Instant,
    lease_until: Instant,
}

impl FleetCache {
    pub(crate) fn new(rule: CacheRule, control: Arc<dyn Control>, member: Member) -> Self {
        Self {
            rule,
            control,
            member,
            began: Instant::now(),
            confirmed_until: AtomicU64::new(0),
            suspension: tokio::sync::Mutex::new(None),
            suspensions: AtomicU64::new(0),
        }
    }

    /// Takes what the control document said: `asked_at` is from before it was asked.
    pub(crate) fn read(&self, is_suspended: bool, asked_at: Instant) {
        let until = (asked_at + CONFIRMED_FOR).saturating_duration_since(self.began);
        let until = if is_suspended { 0 } else { u64::try_from(until.as_micros()).unwrap_or_default() };
        self.confirmed_until.store(until, Ordering::SeqCst);
    }

    /// Whether this host may use the cache now.
    fn is_confirmed(&self) -> bool {
        let now = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.rule == CacheRule::Bound || now < self.confirmed_until.load(Ordering::SeqCst)
    }

    fn covers(&self, is_delete: bool) -> bool {
        match self.rule {
            CacheRule::Bound => false,
            CacheRule::Deletes => is_delete,
            CacheRule::Writes => true,
        }
    }

    /// Begins a suspension, or finds the one that there is. Returns when it is in force; `None`: the control tables did
    /// not answer.
    async fn suspend(&self) -> Option<Instant> {
        let mut suspension = self.suspension.lock().await;
        let now = Instant::now();
        if let Some(suspension) = suspension.as_ref().filter(|suspension| now < suspension.lease_until) {
            return Some(suspension.in_force_from);
        }
        let number = self.suspensions.fetch_add(1, Ordering::Relaxed);
        let incarnation = format!("{}.{number}", self.member.incarnation);
        let member = Member { incarnation: incarnation.into(), ..self.member.clone() };
        self.control.suspend_cache(member.clone(), LEASE, now + CONTROL_PATIENCE).await.ok()?;
        let in_force_from = Instant::now() + IN_FORCE_AFTER;
        *suspension = Some(Suspension { member, in_force_from, lease_until: now + LEASE });
        tracing::warn!("the cache cannot be reached: the fleet goes on without it");
        Some(in_force_from)
    }

    /// Ends this host's suspension if the cache owes nothing any more; otherwise renews it.
    pub(crate) async fn look_after(&self, cache: &dyn Cache) {
        let mut suspension = self.suspension.lock().await;
        let Some(current) = suspension.as_mut() else { return };
        let now = Instant::now();
        if cache.owes(None) {
            let renews = current.lease_until.saturating_duration_since(now) < RENEW_BELOW;
            let member = current.member.clone();
            if renews && self.control.suspend_cache(member, LEASE, now + CONTROL_PATIENCE).await.is_ok() {
                current.lease_until = now + LEASE;
            }
            return;
        }
        let member = current.member.clone();
        *suspension = None;
        // If this is lost, the lease runs out.
        let _ended = self.control.end_suspension(member, now + CONTROL_PATIENCE).await;
        tracing::info!("the cache was told everything: the fleet uses it again");
    }
}

impl Store {
    /// Whether this host may ask the cache, fill it, or serve a hit.
    pub(super) fn may_use_cache(&self) -> bool {
        self.fleet_cache.as_ref().is_none_or(|fleet| fleet.is_confirmed())
    }

    /// After a write whose entry could not be removed: waits until it is removed, or until no host reads the cache.
    pub(super) async fn told(
        &self,
        cache: &dyn Cache,
        key: &SessionKey,
        nonce: Nonce,
        is_delete: bool,
        give_up: Instant,
    ) -> Result<()> {
        let Some(fleet) = self.fleet_cache.as_ref().filter(|fleet| fleet.covers(is_delete)) else { return Ok(()) };
        // It goes on if this write has its answer before.
        let suspending = Arc::clone(fleet);
        let mut suspended = tokio::spawn(async move { suspending.suspend().await });
        let mut in_force_from: Option<Option<Instant>> = None;
        loop {
            if !cache.owes(Some(key)) && self.bounded("release", cache.release(key, nonce)).await.is_ok() {
                return Ok(());
            }
            let now = Instant::now();
            if in_force_from.flatten().is_some_and(|from| from <= now) {
                return Ok(());
            }
            if now >= give_up {
                let message = "the write was made, but other hosts may still read what it replaced from the cache, \
                               which cannot be reached";
                return Err(Error::new(ErrorCode::UnknownOutcome, message));
            }
            if in_force_from.is_none() {
                tokio::select! {
                    begun = &mut suspended => in_force_from = Some(begun.ok().flatten()),
                    () = tokio::time::sleep(LOOK_EACH) => {}
                }
            } else {
                tokio::time::sleep(LOOK_EACH).await;
            }
        }
    }

    /// Takes what the control document says about the cache, and looks after this host's own suspension.
    pub(crate) async fn cache_beat(&self, is_suspended: bool, asked_at: Instant) {
        let Some(fleet) = &self.fleet_cache else { return };
        fleet.read(is_suspended, asked_at);
        if let Some(cache) = self.cache.as_deref() {
            fleet.look_after(cache).await;
        }
    }
}
