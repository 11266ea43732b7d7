//! What a fleet promises while one of its hosts cannot reach the cache.

/// Which writes are acknowledged only when no host of the fleet can read what they replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CacheRule {
    /// None: while a host cannot reach the cache, others may read what it replaced for `cache_max_age`.
    Bound,
    /// Deletes: nobody is logged in again. What was saved may be read too late, for `cache_max_age`.
    #[default]
    Deletes,
    /// All writes.
    Writes,
}
