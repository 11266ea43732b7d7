//! What a policy asks of the cache. It may name only the call's key, and fill only what it loaded after it got the
//! lease.

use switchover_contract::{Error, ErrorCode, Result};
use switchover_core::Session;
use switchover_core::capabilities::{CacheLookup, Lease};

use super::{CallContext, Freshness};

impl CallContext {
    pub(crate) async fn cache_get(&self, key: &str) -> Result<CacheLookup> {
        let key = self.granted_key(key)?;
        if self.freshness == Freshness::PastCache {
            return Ok(CacheLookup::Miss(Lease::DEAD));
        }
        let found = match self.take_ahead() {
            Some(found) => found,
            None => self.environment.reach.cache_get(key).await,
        };
        if matches!(found, Ok(CacheLookup::Hit(_))) {
            self.evidence.saw_hit();
        }
        found
    }

    /// A fill without `loaded_after_lease` is denied: a session that was loaded before the lease was given may be older
    /// than a write that did not revoke the lease.
    pub(crate) async fn cache_fill(&self, lease: Lease, value: &Session, loaded_after_lease: bool) -> Result<()> {
        self.granted_session(value)?;
        if !loaded_after_lease {
            return Err(Error::new(ErrorCode::Denied, "a lease fills only what was loaded after it was given"));
        }
        if self.freshness == Freshness::PastCache {
            return Ok(());
        }
        self.reach_without_look_ahead().cache_fill(lease, value).await
    }

    pub(crate) async fn cache_invalidate(&self, key: &str) -> Result<()> {
        let key = self.granted_key(key)?;
        self.reach_without_look_ahead().cache_invalidate(key).await
    }
}
