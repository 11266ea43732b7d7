//! The cache. Each operation is one command or script on one connection. A breaker stops operations after a fault, and
//! a memory keeps the keys of failed ones.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::redis::ScriptInvocation;
use async_trait::async_trait;
use switchover_core::capabilities::{Cache, CacheError, CacheLookup, Endpoint, Lease, Nonce};
use switchover_core::{Session, SessionKey, Timestamp};

use super::looks::look_up;
use super::scripts::{KeyDigest, Look};
use super::shared::{Shared, Task, millis_at_least};

/// A longer time to live is reduced to this. It overflows no server's clock, and is longer than any session needs.
const TTL_MAX: Duration = Duration::from_secs(366 * 24 * 3_600);
/// How many tokens of leases one system call makes.
const LEASES_AT_ONCE: usize = 32;

/// A cache on a Redis or Valkey server, shared by every host that uses it with the same prefix.
///
/// Cheap to clone: all clones are one cache, with one connection. When the last one is dropped, the connection ends.
///
/// ```no_run
/// # async fn f() -> Result<(), switchover_core::capabilities::CacheError> {
/// use switchover_backends::Redis;
///
/// let cache = Redis::connect("redis://:secret@cache-1:6379/0").await?;
/// # Ok(()) }
/// ```
///
/// - **Cost.** One round trip for each operation. A look-up takes two if another reader has the lease of the key, and
///   always below Redis 7.0. Look-ups of the same moment share one round trip; each miss among them then takes one
///   more. While the server does not answer, there is no cost: every operation fails at once.
/// - **Within one host.** A read never gets a session from the cache that a write of this host had replaced or deleted
///   before the write was acknowledged. This holds whatever happens to the server: it may be dead, paused, flushed,
///   evicting, restarted from an old snapshot, or failed over.
/// - **Over several hosts** the same holds while the host that writes reaches the server. If it does not, or if it dies
///   before the release, another host may get the old entry for at most `cache_max_age`; this is the published bound.
///   The same bound holds for a write with an unknown outcome whose guard was flushed or evicted. All hosts must have
///   the same `cache_max_age`.
/// - **Not covered.** A server may become a replica and then a primary again without a restart of its process. It may
///   have taken back an entry from the other server. Then only the bound holds. A cluster is refused; give one server.
/// - **What it stores.** Names are SHA-256 of session keys. Payloads are stored as they are, so the server sees them.
/// - **Cancel safety.** A look-up or a fill may be dropped at any time. A guard, a release or an invalidation that is
///   dropped unfinished counts as one without an answer: the connection is given up, and the key is owed.
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

    /// How many keys this host does not read from the cache because it could not report their change to the server. For
    /// metrics.
    pub fn owed_keys(&self) -> usize {
        self.shared.debts.len()
    }

    /// Reports a write to the server. If that fails, the key is owed.
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
        // The caller may drop a fill. That must not look like a server that does not answer.
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

    fn owes(&self, key: Option<&SessionKey>) -> bool {
        match key {
            Some(key) => self.shared.debts.is_owed(&KeyDigest::of(key)),
            None => self.shared.debts.is_any_owed(),
        }
    }

    fn summary(&self) -> String {
        format!("redis at {}, prefix {}", self.shared.place, self.shared.scripts.prefix())
    }

    fn endpoint(&self) -> Option<Endpoint> {
        Some(self.shared.endpoint.clone())
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redis({})", self.summary())
    }
}

/// A write that must be reported to the server. Unless that succeeds, the key is owed before the writer goes on.
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

/// Makes a lease that is unique among all hosts and that nobody else can guess. It gets random bytes for many leases at
/// a time from the system, because every look-up needs one.
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
