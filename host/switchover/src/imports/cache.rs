//! `cache`: for the call's key alone.

use switchover_guest::Result;
use wasmtime::component::Resource;

use super::bindings::switchover::policy::cache::{Host, HostLease, Lookup};
use super::bindings::switchover::policy::types::Error as GuestError;
use super::call::CallContext;
use super::convert::error_to_guest;
use super::types::{GuestState, HostSession};
use crate::capabilities::{CacheLookup, Lease};
use crate::session::Session;

impl CallContext {
    pub(super) async fn cache_get(&self, key: &str) -> Result<CacheLookup> {
        let key = self.granted_key(key)?;
        self.reach.cache_get(key).await
    }

    pub(super) async fn cache_fill(&self, lease: Lease, value: &Session) -> Result<()> {
        self.granted_session(value)?;
        self.reach.cache_fill(lease, value).await
    }

    pub(super) async fn cache_invalidate(&self, key: &str) -> Result<()> {
        let key = self.granted_key(key)?;
        self.reach.cache_invalidate(key).await
    }
}

type Answer<T> = wasmtime::Result<std::result::Result<T, GuestError>>;

impl Host for GuestState {
    async fn get(&mut self, key: String) -> Answer<Lookup> {
        Ok(match self.call()?.cache_get(&key).await {
            Ok(CacheLookup::Hit(session)) => Ok(Lookup::Hit(self.table.push(HostSession(session))?)),
            Ok(CacheLookup::Miss(lease)) => Ok(Lookup::Miss(self.table.push(lease)?)),
            Err(error) => Err(error_to_guest(error)),
        })
    }

    async fn fill(&mut self, lease: Resource<Lease>, value: Resource<HostSession>) -> Answer<()> {
        let lease = self.table.delete(lease)?;
        let session = self.session(&value)?;
        Ok(self.call()?.cache_fill(lease, &session).await.map_err(error_to_guest))
    }

    async fn invalidate(&mut self, key: String) -> Answer<()> {
        Ok(self.call()?.cache_invalidate(&key).await.map_err(error_to_guest))
    }
}

impl HostLease for GuestState {
    fn drop(&mut self, lease: Resource<Lease>) -> wasmtime::Result<()> {
        self.table.delete(lease)?;
        Ok(())
    }
}
