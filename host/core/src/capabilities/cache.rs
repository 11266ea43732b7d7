//! A cache in front of the databases. A reader needs a lease to fill it; a writer sets a guard on it.
//!
//! This order keeps the cache correct: a writer sets its guard before the write, and releases it after the write and
//! before the acknowledgement. A guard removes the entry and every lease. While a guard is set, every look-up is a miss
//! with a dead lease. So a reader that loaded the old row before the write can never store it afterwards.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use super::Endpoint;
use crate::{Session, SessionKey, Timestamp};

/// The right to fill one key once. The cache stores nothing for [`Lease::DEAD`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease(pub u64);

impl Lease {
    /// The lease that a look-up gets while a guard is set.
    pub const DEAD: Self = Self(0);
}

/// The mark of one writer in a guard, unique among all hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Nonce(pub u128);

/// The result of a look-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheLookup {
    /// There is an entry. The host checks again that the session has not ended.
    Hit(Session),
    /// There is no entry. The lease allows the caller to fill it.
    Miss(Lease),
}

/// A cache. It is never the system of record: a call that meets an error of the cache goes on without it.
#[async_trait]
pub trait Cache: Send + Sync {
    /// Looks a session up. A miss replaces the lease of an earlier miss.
    async fn get(&self, key: &SessionKey, now: Timestamp) -> Result<CacheLookup, CacheError>;

    /// Stores an entry for at most `ttl` if the lease is still held. Returns `false` if the lease was lost; then
    /// nothing is stored.
    async fn fill(&self, lease: Lease, session: &Session, ttl: Duration) -> Result<bool, CacheError>;

    /// Called before a write. Removes the entry and every lease. Nobody can fill the key until [`Cache::release`] is
    /// called with the same nonce, or until `ttl` has passed. Several writers may guard one key; each has its own
    /// nonce.
    async fn guard(&self, key: &SessionKey, nonce: Nonce, ttl: Duration) -> Result<(), CacheError>;

    /// Called after a write. Removes the entry, every lease, and the nonce of this writer.
    async fn release(&self, key: &SessionKey, nonce: Nonce) -> Result<(), CacheError>;

    /// Removes the entry and every lease.
    async fn invalidate(&self, key: &SessionKey) -> Result<(), CacheError>;

    /// Whether a removal of this key that failed has not been made good yet; `None`: a removal of any key. A cache that
    /// remembers no failures owes nothing.
    fn owes(&self, _key: Option<&SessionKey>) -> bool {
        false
    }

    /// Names the cache for people, without passwords.
    fn summary(&self) -> String;

    /// The server that it asks, for traces; `None`: it is in this process, or nothing is known.
    fn endpoint(&self) -> Option<Endpoint> {
        None
    }
}

/// Why a cache did not answer. The call goes on without the cache, and the error is counted and shown. It has no
/// variants, because no caller decides by them.
#[derive(Debug)]
pub struct CacheError {
    /// What failed.
    pub message: String,
}

impl fmt::Display for CacheError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CacheError {}
