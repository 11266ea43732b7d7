//! What goes on in the background: a new connection after a fault, and the payment of what the server was not told.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ::redis::{Client, RedisError};
use arc_swap::ArcSwapOption;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::cache::millis_at_least;
use super::debts::{Debt, Debts};
use super::link::{self, ConnectError, Link, no_answer, text};
use super::looks::Looks;
use super::scripts::{KeyDigest, Scripts};
use crate::capabilities::Nonce;

/// Between a fault and the first attempt: a server that only stumbled is back by then.
const BACKOFF_MIN: Duration = Duration::from_millis(10);
/// Between two attempts at most: so long a server may be back before it is noticed.
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// A connection that held for this long was a good one: the next attempt is early again.
const GOOD_AFTER: Duration = Duration::from_secs(1);
/// Keys that are paid at one time.
const PAYMENTS: usize = 256;

/// What all clones and the background share.
pub(super) struct Shared {
    pub(super) client: Client,
    pub(super) client_name: String,
    /// For people, without user and password.
    pub(super) place: String,
    pub(super) scripts: Scripts,
    pub(super) debts: Debts,
    pub(super) looks: Looks,
    pub(super) response_timeout: Duration,
    pub(super) connect_timeout: Duration,
    link: ArcSwapOption<Link>,
    /// The longest time to live so far, in milliseconds: asked without a lock.
    ttl_longest: AtomicU64,
    problem: Mutex<String>,
    wake: Notify,
}

impl Shared {
    pub(super) fn new(
        client: Client,
        client_name: String,
        place: String,
        prefix: String,
        timeouts: (Duration, Duration),
    ) -> Self {
        Self {
            client,
            client_name,
            place,
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

    /// A connection has failed: it serves nobody any more. Of many operations that meet one fault the first counts.
    pub(super) fn fault(&self, link: &Arc<Link>, problem: String) {
        let was = self.link.compare_and_swap(link, None);
        if was.as_ref().is_some_and(|was| Arc::ptr_eq(was, link)) {
            self.note(problem);
            self.wake.notify_one();
        }
    }

    pub(super) fn note(&self, problem: String) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }

    fn problem(&self) -> String {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn owe(&self, key: KeyDigest, guard: Option<(Nonce, Instant)>) {
        self.debts.owe(key, guard);
        self.wake.notify_one();
    }

    pub(super) fn note_ttl(&self, ttl: Duration) {
        let ms = millis_at_least(ttl);
        if self.ttl_longest.load(Ordering::Relaxed) < ms {
            self.debts.note_ttl(ttl);
            self.ttl_longest.fetch_max(ms, Ordering::Relaxed);
        }
    }
}

/// Runs until it is aborted: keeps a connection, and pays.
pub(super) async fn run(shared: Arc<Shared>) {
    let (mut wait, mut connected, mut told) = (BACKOFF_MIN, shared.link().map(|_| Instant::now()), false);
    loop {
        if shared.link().is_none() {
            if connected.take().is_some_and(|at: Instant| at.elapsed() >= GOOD_AFTER) {
                wait = BACKOFF_MIN;
            }
            if !told {
                tracing::warn!(
                    problem = shared.problem(),
                    cache = shared.place,
                    "the cache is left out until it answers"
                );
                told = true;
            }
            sleep(jittered(wait)).await;
            wait = (wait * 2).min(BACKOFF_MAX);
            if let Err(error) = shared.connect().await {
                shared.note(error.message());
                continue;
            }
            connected = Some(Instant::now());
            tracing::info!(cache = shared.place, "the cache answers again");
            told = false;
        }
        pay(&shared).await;
        if shared.link().is_some() {
            shared.wake.notified().await;
        }
    }
}

/// Pays until nothing is owed or the connection fails.
async fn pay(shared: &Arc<Shared>) {
    while let Some(link) = shared.link() {
        let owed = shared.debts.some(PAYMENTS);
        if owed.is_empty() {
            return;
        }
        let mut payments = JoinSet::new();
        for (key, debt) in owed {
            let (shared, link) = (Arc::clone(shared), Arc::clone(&link));
            payments.spawn(async move {
                let paid = timeout(shared.connect_timeout, pay_one(&shared, &link, &key, &debt)).await;
                match paid.unwrap_or_else(|_| Err(no_answer())) {
                    Ok(()) => shared.debts.paid(&key, debt.turn),
                    Err(error) => shared.fault(&link, text(&error)),
                }
            });
        }
        payments.join_all().await;
    }
}

/// An invalidation, or the guards of writers that are still at work, which invalidate too.
async fn pay_one(shared: &Shared, link: &Link, key: &KeyDigest, debt: &Debt) -> Result<(), RedisError> {
    let mut connection = link.connection.clone();
    let now = Instant::now();
    let guards: Vec<_> = debt.guards.iter().copied().filter(|(_, until)| *until > now).collect();
    if guards.is_empty() {
        return shared.scripts.release(key, None).invoke_async(&mut connection).await;
    }
    for (nonce, until) in guards {
        let left = millis_at_least(until.duration_since(now));
        shared.scripts.guard(key, nonce, left).invoke_async::<()>(&mut connection).await?;
    }
    Ok(())
}

/// Half of it to all of it, so that a fleet does not come at once.
pub(super) fn jittered(wait: Duration) -> Duration {
    let share = getrandom::u32().unwrap_or(u32::MAX / 2);
    wait / 2 + wait.mul_f64(f64::from(share) / f64::from(u32::MAX) / 2.0)
}
