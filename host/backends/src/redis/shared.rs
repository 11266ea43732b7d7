//! The state that all clones of a cache and its background task share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ::redis::Client;
use arc_swap::ArcSwapOption;
use switchover_core::capabilities::{Endpoint, Nonce};
use switchover_core::sync::Mutex;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::debts::Debts;
use super::link::{self, ConnectError, Link};
use super::look_queue::Looks;
use super::scripts::{KeyDigest, Scripts};

/// The state that all clones and the background task share.
pub(super) struct Shared {
    pub(super) client: Client,
    pub(super) client_name: String,
    /// The server's place for people, without user and password.
    pub(super) place: String,
    /// The same for traces.
    pub(super) endpoint: Endpoint,
    pub(super) scripts: Scripts,
    pub(super) debts: Debts,
    pub(super) looks: Looks,
    pub(super) response_timeout: Duration,
    pub(super) connect_timeout: Duration,
    link: ArcSwapOption<Link>,
    /// The longest time to live so far, in milliseconds. It is read without a lock.
    ttl_longest: AtomicU64,
    problem: Mutex<String>,
    wake: Notify,
}

impl Shared {
    pub(super) fn new(
        client: Client,
        client_name: String,
        (place, endpoint): (String, Endpoint),
        prefix: String,
        timeouts: (Duration, Duration),
    ) -> Self {
        Self {
            client,
            client_name,
            place,
            endpoint,
            scripts: Scripts::new(prefix),
            debts: Debts::new(),
            looks: Looks::default(),
            response_timeout: timeouts.0,
            connect_timeout: timeouts.1,
            link: ArcSwapOption::empty(),
            ttl_longest: AtomicU64::new(0),
            problem: Mutex::default(),
            wake: Notify::new(),
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.link.load().is_some()
    }

    pub(super) fn link(&self) -> Option<Arc<Link>> {
        self.link.load_full()
    }

    /// Connects once.
    pub(super) async fn connect(&self) -> Result<(), ConnectError> {
        let link = link::connect(&self.client, &self.scripts, &self.client_name, self.connect_timeout).await?;
        self.link.store(Some(Arc::new(link)));
        Ok(())
    }

    /// Records that a connection has failed; no operation uses it any more. If many operations meet one fault, the
    /// first one counts.
    pub(super) fn fault(&self, link: &Arc<Link>, problem: String) {
        let was = self.link.compare_and_swap(link, None);
        if was.as_ref().is_some_and(|was| Arc::ptr_eq(was, link)) {
            self.note(problem);
            self.wake.notify_one();
        }
    }

    pub(super) fn note(&self, problem: String) {
        *self.problem.lock() = problem;
    }

    pub(super) fn problem(&self) -> String {
        self.problem.lock().clone()
    }

    pub(super) fn owe(&self, key: KeyDigest, guard: Option<(Nonce, Instant)>) {
        self.debts.owe(key, guard);
        self.wake.notify_one();
    }

    /// Waits for a fault or for something that is owed.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    pub(super) fn note_ttl(&self, ttl: Duration) {
        let ms = millis_at_least(ttl);
        if self.ttl_longest.load(Ordering::Relaxed) < ms {
            self.debts.note_ttl(ttl);
            self.ttl_longest.fetch_max(ms, Ordering::Relaxed);
        }
    }
}

/// A task that ends with its owner.
pub(super) struct Task(pub(super) AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Rounds up: a guard lives at least as long as requested.
pub(super) fn millis_at_least(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX).max(1)
}

/// Between half of `wait` and all of it, at random, so that not all hosts come at once.
pub(super) fn jittered(wait: Duration) -> Duration {
    let share = getrandom::u32().unwrap_or(u32::MAX / 2);
    wait / 2 + wait.mul_f64(f64::from(share) / f64::from(u32::MAX) / 2.0)
}
