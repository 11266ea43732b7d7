//! A cache in front of the databases: leases for those who fill it, guards for those who write.
//!
//! The order that keeps it honest: a writer sets its guard before the write, and releases it after the write and before the
//! acknowledgement. A guard removes the entry and every lease; while one is set, look-ups are misses whose lease is dead. So a
//! reader that loaded an old row before the write can never fill it in afterwards.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::{Session, SessionKey, Timestamp};

/// The right to fill one key once. [`Lease::DEAD`] fills nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease(pub u64);

impl Lease {
    /// What a look-up under a guard gives.
    pub const DEAD: Self = Self(0);
}

/// One writer's mark in a guard, unique in the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Nonce(pub u128);

/// What a look-up found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheLookup {
    /// An entry. The host checks again that it has not ended.
    Hit(Session),
    /// Nothing, and the right to fill it.
    Miss(Lease),
}

/// A cache. Never the system of record: each error of it is survived by the call that met it.
#[async_trait]
pub trait Cache: Send + Sync {
    /// Looks a session up. A miss replaces the lease of an earlier miss.
    async fn get(&self, key: &SessionKey, now: Timestamp) -> Result<CacheLookup, CacheError>;

    /// Stores an entry for at most `ttl` if the lease is still held. `false`: the lease was lost, nothing was stored.
    async fn fill(&self, lease: Lease, session: &Session, ttl: Duration) -> Result<bool, CacheError>;

    /// Before a write: removes the entry and every lease, and keeps the key from being filled until [`Cache::release`] with the
    /// same nonce or until `ttl` has passed. Several writers may guard one key; each keeps its own nonce.
    async fn guard(&self, key: &SessionKey, nonce: Nonce, ttl: Duration) -> Result<(), CacheError>;

    /// After a write: removes the entry, every lease, and this writer's nonce.
    async fn release(&self, key: &SessionKey, nonce: Nonce) -> Result<(), CacheError>;

    /// Removes the entry and every lease.
    async fn invalidate(&self, key: &SessionKey) -> Result<(), CacheError>;

    /// For people: which cache this is, without passwords.
    fn summary(&self) -> String;
}

/// Why a cache did not answer. Survived, counted and shown; it has no kinds, because nobody decides by them.
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
