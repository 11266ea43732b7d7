//! A cache in the process's memory, bounded in bytes. It serves one host only: it does not see writes by other hosts.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use quick_cache::Weighter;
use quick_cache::unsync::Cache as Bounded;
use switchover_core::capabilities::{Cache, CacheError, CacheLookup, Lease, Nonce};
use switchover_core::sync::Mutex;
use switchover_core::{Session, SessionKey, Timestamp};

/// 64 MiB: some 100,000 sessions of 400 bytes.
const BYTES_DEFAULT: usize = 64 << 20;
/// With this many shards two cores rarely wait for the same lock.
const SHARDS_MAX: usize = 16;
/// A smaller shard could not hold one large session.
const SHARD_BYTES_MIN: usize = 1 << 20;
/// What an entry takes besides key and payload: two reference counts, the entry itself, its place in the table.
const ENTRY_BYTES: usize = 160;
/// The assumed size of an entry. It sizes the table of keys that were seen lately.
const ENTRY_BYTES_TYPICAL: usize = 640;
/// The number of look-ups between a miss and its fill. A bound above the number of calls in flight would gain nothing.
/// Beyond it the oldest leases are lost, which costs a fill.
const LEASES_PER_SHARD: usize = 1_024;
/// The number of writers at the same time, far above the number of calls that a host admits. Without a bound, a leak
/// would grow for ever.
const GUARDS_PER_SHARD_MAX: usize = 65_536;
/// With fewer guards a shard does not look for guards whose writer never released them.
const SWEEP_GUARDS_MIN: usize = 64;
/// A sweep takes time in proportion to the number of guards. So a shard that is full of live guards must not sweep for
/// every writer.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// A cache in memory. Cheap to clone: all clones are one cache.
///
/// It stores entries, leases and guards separately. So a flood of unknown keys can displace leases but no entry, and no
/// load displaces a guard. Its functions wait only for a lock that is held for less than a microsecond.
#[derive(Clone)]
pub struct MemoryCache {
    shared: Arc<Shared>,
}

struct Shared {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    lease_next: AtomicU64,
    bytes_max: usize,
}

struct Shard {
    entries: Bounded<SessionKey, Entry, Weight>,
    leases: Bounded<SessionKey, Lease>,
    guards: HashMap<SessionKey, Vec<Guard>>,
    sweep_at: usize,
    swept: Option<Instant>,
    bytes_max: usize,
}

#[derive(Clone)]
struct Entry {
    session: Session,
    ends: Instant,
}

struct Guard {
    nonce: Nonce,
    until: Instant,
}

#[derive(Clone)]
struct Weight;

impl Weighter<SessionKey, Entry> for Weight {
    fn weight(&self, _: &SessionKey, entry: &Entry) -> u64 {
        weight(&entry.session) as u64
    }
}

fn weight(session: &Session) -> usize {
    ENTRY_BYTES + session.key.expose().len() + session.payload.len()
}

impl Default for MemoryCache {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryCache {
    /// A cache of at most 64 MiB of entries.
    pub fn new() -> Self {
        Self::with_bytes(BYTES_DEFAULT)
    }

    /// A cache of at most `bytes_max` of entries: keys, payloads and the cost of keeping them. An entry larger than a
    /// shard is not stored. A shard has a sixteenth of `bytes_max`, but at least 1 MiB, or all of it if it is less.
    pub fn with_bytes(bytes_max: usize) -> Self {
        let shards = (bytes_max / SHARD_BYTES_MIN).clamp(1, SHARDS_MAX);
        let shard = || Mutex::new(Shard::new(bytes_max / shards));
        Self {
            shared: Arc::new(Shared {
                shards: std::iter::repeat_with(shard).take(shards).collect(),
                hasher: RandomState::new(),
                lease_next: AtomicU64::new(Lease::DEAD.0 + 1),
                bytes_max,
            }),
        }
    }

    /// The bytes that its entries take now, never more than the bound. Locks each shard in turn: for metrics and tests.
    pub fn bytes(&self) -> u64 {
        self.shared.shards.iter().map(|shard| shard.lock().entries.weight()).sum()
    }

    fn shard(&self, key: &SessionKey) -> MutexGuard<'_, Shard> {
        let shards = &self.shared.shards;
        let at = self.shared.hasher.hash_one(key) % shards.len() as u64;
        shards[usize::try_from(at).expect("below the number of shards")].lock()
    }

    fn new_lease(&self) -> Lease {
        Lease(self.shared.lease_next.fetch_add(1, Ordering::Relaxed))
    }
}

impl Shard {
    fn new(bytes_max: usize) -> Self {
        Self {
            entries: Bounded::with_weighter(bytes_max / ENTRY_BYTES_TYPICAL + 1, bytes_max as u64, Weight),
            leases: Bounded::new(LEASES_PER_SHARD),
            guards: HashMap::new(),
            sweep_at: SWEEP_GUARDS_MIN,
            swept: None,
            bytes_max,
        }
    }

    fn hit(&mut self, key: &SessionKey, now: Timestamp) -> Option<Session> {
        let entry = self.entries.get(key)?;
        if entry.ends > Instant::now() && entry.session.expires_at > now {
            return Some(entry.session.clone());
        }
        self.entries.remove(key);
        None
    }

    fn is_guarded(&mut self, key: &SessionKey) -> bool {
        let Some(guards) = self.guards.get_mut(key) else { return false };
        let now = Instant::now();
        guards.retain(|guard| guard.until > now);
        let guarded = !guards.is_empty();
        if !guarded {
            self.guards.remove(key);
        }
        guarded
    }

    fn forget(&mut self, key: &SessionKey) {
        self.entries.remove(key);
        self.leases.remove(key);
    }

    /// Drops the guards whose time has passed because their writer never released them. Runs only when there are twice
    /// as many keys as the last sweep left.
    fn sweep(&mut self) {
        let now = Instant::now();
        let full = self.guards.len() >= GUARDS_PER_SHARD_MAX;
        let recent = self.swept.is_some_and(|swept| now.saturating_duration_since(swept) < SWEEP_INTERVAL);
        if self.guards.len() < self.sweep_at || (full && recent) {
            return;
        }
        self.guards.retain(|_, guards| {
            guards.retain(|guard| guard.until > now);
            !guards.is_empty()
        });
        self.sweep_at = (2 * self.guards.len()).clamp(SWEEP_GUARDS_MIN, GUARDS_PER_SHARD_MAX);
        self.swept = Some(now);
    }
}

#[async_trait]
impl Cache for MemoryCache {
    async fn get(&self, key: &SessionKey, now: Timestamp) -> Result<CacheLookup, CacheError> {
        let mut shard = self.shard(key);
        if shard.is_guarded(key) {
            return Ok(CacheLookup::Miss(Lease::DEAD));
        }
        if let Some(session) = shard.hit(key, now) {
            return Ok(CacheLookup::Hit(session));
        }
        let lease = self.new_lease();
        shard.leases.insert(key.clone(), lease);
        Ok(CacheLookup::Miss(lease))
    }

    async fn fill(&self, lease: Lease, session: &Session, ttl: Duration) -> Result<bool, CacheError> {
        let mut shard = self.shard(&session.key);
        if shard.leases.peek(&session.key) != Some(&lease) || shard.is_guarded(&session.key) {
            return Ok(false);
        }
        shard.leases.remove(&session.key);
        let ends = Instant::now().checked_add(ttl);
        match ends {
            Some(ends) if weight(session) <= shard.bytes_max => {
                shard.entries.insert(session.key.clone(), Entry { session: session.clone(), ends });
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    async fn guard(&self, key: &SessionKey, nonce: Nonce, ttl: Duration) -> Result<(), CacheError> {
        let mut shard = self.shard(key);
        shard.forget(key);
        shard.sweep();
        if shard.guards.len() >= GUARDS_PER_SHARD_MAX {
            return Err(CacheError { message: "too many writers guard keys at once".to_owned() });
        }
        let Some(until) = Instant::now().checked_add(ttl) else {
            return Err(CacheError { message: "the guard's time to live is beyond the clock".to_owned() });
        };
        shard.guards.entry(key.clone()).or_default().push(Guard { nonce, until });
        Ok(())
    }

    async fn release(&self, key: &SessionKey, nonce: Nonce) -> Result<(), CacheError> {
        let mut shard = self.shard(key);
        shard.forget(key);
        if let Some(guards) = shard.guards.get_mut(key) {
            guards.retain(|guard| guard.nonce != nonce);
            if guards.is_empty() {
                shard.guards.remove(key);
            }
        }
        Ok(())
    }

    async fn invalidate(&self, key: &SessionKey) -> Result<(), CacheError> {
        self.shard(key).forget(key);
        Ok(())
    }

    fn summary(&self) -> String {
        format!("memory of this process, at most {} bytes", self.shared.bytes_max)
    }
}

impl fmt::Debug for MemoryCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryCache").field("bytes_max", &self.shared.bytes_max).finish_non_exhaustive()
    }
}
