//! The interface `cache`: hands each request to `call`, in the types of the bindings, with leases as resources.

use switchover_contract::Result;
use switchover_core::capabilities::CacheLookup;
use wasmtime::component::Resource;

use super::bindings::switchover::policy::cache::{Host, HostLease, Lookup};
use super::bindings::switchover::policy::types::Error as GuestError;
use super::handles::{GuestLease, Handle, HostSession};
use super::state::GuestState;

impl GuestState {
    pub(super) fn hand_over_lookup(&mut self, found: Result<CacheLookup>) -> std::result::Result<Lookup, GuestError> {
        match found {
            Ok(CacheLookup::Hit(session)) => Ok(Lookup::Hit(self.give(session))),
            Ok(CacheLookup::Miss(lease)) => {
                Ok(Lookup::Miss(Resource::new_own(self.handles.give(Handle::Lease(lease)))))
            }
            Err(error) => Err(error.into()),
        }
    }
}

type Answer<T> = wasmtime::Result<std::result::Result<T, GuestError>>;

impl Host for GuestState {
    // Never runs: `linker` replaces it.
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
        Ok(self.call()?.cache_fill(held, &session, loaded_after_lease).await.map_err(GuestError::from))
    }

    async fn invalidate(&mut self, key: String) -> Answer<()> {
        Ok(self.call()?.cache_invalidate(&key).await.map_err(GuestError::from))
    }
}

impl HostLease for GuestState {
    async fn key(&mut self, lease: Resource<GuestLease>) -> wasmtime::Result<String> {
        if !self.handles.is_lease(lease.rep()) {
            return Err(wasmtime::Error::msg("a lease of an earlier call was used"));
        }
        let call = self.call()?;
        // A lease is always for the key of its call.
        let key = call.key().ok_or_else(|| wasmtime::Error::msg("a lease in a call without a key"))?;
        Ok(key.expose().to_owned())
    }

    fn drop(&mut self, lease: Resource<GuestLease>) -> wasmtime::Result<()> {
        self.handles.take(lease.rep());
        Ok(())
    }
}
