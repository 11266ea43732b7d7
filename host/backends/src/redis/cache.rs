//! The cache: each operation one command or script on one connection, with a breaker and a memory for what failed.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::redis::ScriptInvocation;
use async_trait::async_trait;
use switchover_core::capabilities::{Cache, CacheError, CacheLookup, Lease, Nonce};
use switchover_core::{Session, SessionKey, Timestamp};

use super::looks::look_up;
use super::scripts::{KeyDigest, Look};
use super::shared::{Shared, Task, millis_at_least};

/// A time to live beyond this is this: no clock of a server overflows, and no session waits for it.
const TTL_MAX: Duration = Duration::from_secs(366 * 24 * 3_600);
/// Tokens of leases that are drawn with one system call.
const LEASES_AT_ONCE: usize = 32;

/// A cache on a Redis or Valkey server, shared by every host that uses it with the same prefix.
///
/// Cheap to clone: all clones are one cache, with one connection. When the last one is dropped the connection ends.
///
/// ```no_run
/// # async fn f() -> Result<(), switchover_core::capabilities::CacheError> {
/// use switchover_backends::Redis;
///
/// let cache = Redis::connect("redis://:secret@cache-1:6379/0").await?;
/// # Ok(()) }
/// ```
///
/// * **Cost.** One round trip for each operation; two for the look-up of a key that another
///   reader has the lease for, and of every key below Redis 7.0. Look-ups of one moment share one, after which a miss among them
///   takes its own. While the server does not answer: nothing, every operation fails at once.
/// * **Within one host**, whatever becomes of the server (dead, paused, flushed, evicting, restarted from an old snapshot,
///   failed over), no session is read from the cache that a write of this host had replaced or deleted before the write was
///   acknowledged.
/// * **Over several hosts** the same holds while the host that writes reaches the server. If it does not, or dies before the
///   release, another host may be served the old entry for at most `cache_max_age`: the published bound. The same bound holds
///   for a write whose outcome is unknown and whose guard was flushed or evicted. All hosts give the same `cache_max_age`.
/// * **Not covered.** A server that is made a replica and a primary again without a restart of its process may have taken back
///   an entry from the other one: the bound holds, nothing better. A cluster is refused; give one server.
/// * **What it stores.** Names are SHA-256 of session keys; payloads are stored as they are, so the server sees them.
/// * **Cancel safety.** A look-up or a fill may be dropped at any time. A guard, a release or an invalidation that is dropped
///   unfinished counts as one without an answer: the connection is given up, and the key is owed.
#[derive(Clone)]
pub struct Redis {
    shared: Arc<Shared>,
    _recovery: Arc<Task>,
}

impl Redis {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let recovery = tokio::spawn(super::recovery::run(Arc::clone(&shared)));
        Self { shared, _recovery: Arc::new(Task(recovery.abort_handle())) }
    }

    /// Whether there is a connection, as far as is known. For metrics.
    pub fn is_connected(&self) -> bool {
        self.shared.is_connected()
    }

    /// How many keys this host does not read, because the server could not be told that they changed. For metrics.
    pub fn owed_keys(&self) -> usize {
        self.shared.debts.len()
    }

    /// Tells the server of a write, or owes it.
    async fn tell(
        &self,
        key: KeyDigest,
        owed: Option<(Nonce, Instant)>,
        call: ScriptInvocation<'_>,
    ) -> Result<(), CacheError> {
        let mut owing = Owing { shared: &self.shared, key, guard: owed, told: false };
        let link = self.shared.connected()?;
        self.shared.run::<i64>(&link, call).await?;
        owing.told = true;
        Ok(())
    }
}

#[async_trait]
impl Cache for Redis {
    async fn get(&self, key: &SessionKey, now: Timestamp) -> Result<CacheLookup, CacheError> {
        let digest = KeyDigest::of(key);
        if self.shared.debts.is_owed(&digest) {
            return Ok(CacheLookup::Miss(Lease::DEAD));
        }
        if !self.is_connected() {
            return Err(self.shared.lost());
        }
        look_up(&self.shared, Look { key: key.clone(), digest, now, lease: new_lease()? }).await
    }

    async fn fill(&self, lease: Lease, session: &Session, ttl: Duration) -> Result<bool, CacheError> {
        let ttl_ms = u64::try_from(ttl.min(TTL_MAX).as_millis()).unwrap_or(u64::MAX);
        if lease == Lease::DEAD || ttl_ms == 0 || self.shared.debts.is_owed(&KeyDigest::of(&session.key)) {
            return Ok(false);
        }
        self.shared.note_ttl(ttl.min(TTL_MAX));
        let (shared, link, session) = (Arc::clone(&self.shared), self.shared.connected()?, session.clone());
        // A reader may leave; that must not look like a server that does not answer.
        let filled = tokio::spawn(async move {
            let call = shared.scripts.fill(link.server, lease, &session, ttl_ms);
            shared.run::<i64>(&link, call).await
        });
        filled.await.unwrap_or_else(|_| Err(CacheError { message: "a fill was lost".to_owned() })).map(|done| done == 1)
    }

    async fn guard(&self, key: &SessionKey, nonce: Nonce, ttl: Duration) -> Result<(), CacheError> {
        let (digest, ttl) = (KeyDigest::of(key), ttl.min(TTL_MAX));
        let call = self.shared.scripts.guard(&digest, nonce, millis_at_least(ttl));
        self.tell(digest, Some((nonce, Instant::now() + ttl)), call).await
    }

    async fn release(&self, key: &SessionKey, nonce: Nonce) -> Result<(), CacheError> {
        let digest = KeyDigest::of(key);
        self.shared.debts.forget_guard(&digest, nonce);
        self.tell(digest, None, self.shared.scripts.release(&digest, Some(nonce))).await
    }

    async fn invalidate(&self, key: &SessionKey) -> Result<(), CacheError> {
        let digest = KeyDigest::of(key);
        self.tell(digest, None, self.shared.scripts.release(&digest, None)).await
    }

    fn summary(&self) -> String {
        format!("redis at {}, prefix {}", self.shared.place, self.shared.scripts.prefix())
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redis({})", self.summary())
    }
}

/// A write that the server must be told of. However that ends but well, the key is owed, before the writer goes on.
struct Owing<'a> {
    shared: &'a Shared,
    key: KeyDigest,
    guard: Option<(Nonce, Instant)>,
    told: bool,
}

impl Drop for Owing<'_> {
    fn drop(&mut self) {
        if !self.told {
            self.shared.owe(self.key, self.guard);
        }
    }
}

/// Unique in the fleet, and nothing that one could guess who has not asked for it. The system is asked for many at a time, since
/// every look-up needs one.
fn new_lease() -> Result<Lease, CacheError> {
    thread_local! {
        static TOKENS: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
    }
    TOKENS.with_borrow_mut(|tokens| {
        if tokens.is_empty() {
            let mut random = [0; LEASES_AT_ONCE * size_of::<u64>()];
            let failed = |error| CacheError { message: format!("no random numbers: {error}") };
            getrandom::fill(&mut random).map_err(failed)?;
            tokens.extend(random.as_chunks().0.iter().copied().map(u64::from_ne_bytes));
        }
        Ok(Lease(tokens.pop().unwrap_or_default().max(Lease::DEAD.0 + 1)))
    })
}
