//! `cache`: for the call's key alone, and only what was loaded after the lease was given.

use switchover_contract::{Error, ErrorCode, Result};
use wasmtime::component::Resource;

use super::bindings::switchover::policy::cache::{Host, HostLease, Lookup};
use super::bindings::switchover::policy::types::Error as GuestError;
use super::call::{CallContext, Freshness};
use super::convert::error_to_guest;
use super::handles::Handle;
use super::types::{GuestState, HostSession};
use crate::capabilities::{CacheLookup, Lease};
use crate::session::Session;

/// A lease in the hands of a guest: a number.
#[expect(unreachable_pub, reason = "the generated bindings re-export it, inside the crate")]
pub struct GuestLease;

impl CallContext {
    pub(super) async fn cache_get(&self, key: &str) -> Result<CacheLookup> {
        let key = self.granted_key(key)?;
        if self.freshness == Freshness::PastCache {
            return Ok(CacheLookup::Miss(Lease::DEAD));
        }
        let found = match self.take_ahead() {
            Some(found) => found,
            None => self.environment.reach.cache_get(key).await,
        };
        if matches!(found, Ok(CacheLookup::Hit(_))) {
            self.saw_hit();
        }
        found
    }

    /// `loaded_after_lease`: what was loaded before the lease may be older than a write that the lease knows nothing of.
    pub(super) async fn cache_fill(&self, lease: Lease, value: &Session, loaded_after_lease: bool) -> Result<()> {
        self.granted_session(value)?;
        if !loaded_after_lease {
            return Err(Error::new(ErrorCode::Denied, "a lease fills only what was loaded after it was given"));
        }
        if self.freshness == Freshness::PastCache {
            return Ok(());
        }
        self.reach().cache_fill(lease, value).await
    }

    pub(super) async fn cache_invalidate(&self, key: &str) -> Result<()> {
        let key = self.granted_key(key)?;
        self.reach().cache_invalidate(key).await
    }
}

impl GuestState {
    pub(super) fn hand_over_lookup(&mut self, found: Result<CacheLookup>) -> std::result::Result<Lookup, GuestError> {
        match found {
            Ok(CacheLookup::Hit(session)) => Ok(Lookup::Hit(self.give(session))),
            Ok(CacheLookup::Miss(lease)) => {
                Ok(Lookup::Miss(Resource::new_own(self.handles.give(Handle::Lease(lease)))))
            }
            Err(error) => Err(error_to_guest(error)),
        }
    }
}

type Answer<T> = wasmtime::Result<std::result::Result<T, GuestError>>;

impl Host for GuestState {
    async fn get(&mut self, key: String) -> Answer<Lookup> {
        let found = self.call()?.cache_get(&key).await;
        Ok(self.hand_over_lookup(found))
    }

    async fn fill(&mut self, lease: Resource<GuestLease>, value: Resource<HostSession>) -> Answer<()> {
        let Some(Handle::Lease(held)) = self.handles.take(lease.rep()) else {
            return Err(wasmtime::Error::msg("a lease of an earlier call was used"));
        };
        let session = self.session(&value)?.clone();
        let loaded_after_lease = value.rep() > lease.rep();
        Ok(self.call()?.cache_fill(held, &session, loaded_after_lease).await.map_err(error_to_guest))
    }

    async fn invalidate(&mut self, key: String) -> Answer<()> {
        Ok(self.call()?.cache_invalidate(&key).await.map_err(error_to_guest))
    }
}

impl HostLease for GuestState {
    async fn key(&mut self, lease: Resource<GuestLease>) -> wasmtime::Result<String> {
        if !self.handles.is_lease(lease.rep()) {
            return Err(wasmtime::Error::msg("a lease of an earlier call was used"));
        }
        let call = self.call()?;
        // Leases are given for the key of their call alone.
        let key = call.key.as_ref().ok_or_else(|| wasmtime::Error::msg("a lease in a call without a key"))?;
        Ok(key.expose().to_owned())
    }

    fn drop(&mut self, lease: Resource<GuestLease>) -> wasmtime::Result<()> {
        self.handles.take(lease.rep());
        Ok(())
    }
}
