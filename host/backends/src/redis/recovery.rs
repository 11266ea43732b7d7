//! The background task: it makes a new connection after a fault, and pays what is owed to the server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ::redis::RedisError;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::debts::Debt;
use super::link::{Link, no_answer, text};
use super::scripts::KeyDigest;
use super::shared::{Shared, jittered, millis_at_least};

/// The pause between a fault and the first attempt. A server with only a short fault is back by then.
const BACKOFF_MIN: Duration = Duration::from_millis(10);
/// The longest pause between two attempts. A server may be back for this long before it is noticed.
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// After a connection that lasted this long, the next first attempt is early again.
const GOOD_AFTER: Duration = Duration::from_secs(1);
/// How many keys are paid at a time.
const PAYMENTS: usize = 256;

/// Keeps a connection, and pays what is owed, until it is aborted.
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
            shared.woken().await;
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

/// Pays one key: an invalidation, or the guards of writers that are still active, which also invalidate.
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
