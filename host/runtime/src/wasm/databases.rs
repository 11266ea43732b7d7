//! The interface `databases`: hands each request to `call`, in the types of the bindings.

use wasmtime::component::Resource;

use super::bindings::switchover::policy::databases::{Host, Target as GuestTarget};
use super::bindings::switchover::policy::types::{
    Error as GuestError, SaveMode as GuestMode, SaveOutcome as GuestOutcome,
};
use super::handles::HostSession;
use super::state::GuestState;

type Answer<T> = wasmtime::Result<std::result::Result<T, GuestError>>;

impl Host for GuestState {
    // Never runs: `linker` replaces it.
    async fn load(&mut self, database: String, key: String) -> Answer<Option<Resource<HostSession>>> {
        let answer = self.call()?.load(&database, &key).await;
        Ok(self.hand_over(answer))
    }

    async fn load_each(
        &mut self,
        databases: Vec<String>,
        key: String,
    ) -> wasmtime::Result<Vec<std::result::Result<Option<Resource<HostSession>>, GuestError>>> {
        let answers = self.call()?.load_each(&databases, &key).await;
        Ok(answers.into_iter().map(|answer| self.hand_over(answer)).collect())
    }

    async fn save(
        &mut self,
        to: GuestTarget,
        key: String,
        value: Resource<HostSession>,
        mode: GuestMode,
    ) -> Answer<GuestOutcome> {
        let session = self.session(&value)?.clone();
        let answer = self.call()?.save(&to.into(), &key, session, mode.into()).await;
        Ok(answer.map(GuestOutcome::from).map_err(GuestError::from))
    }

    async fn touch(&mut self, to: GuestTarget, key: String, expires_at: u64) -> Answer<GuestOutcome> {
        let answer = self.call()?.touch(&to.into(), &key, expires_at).await;
        Ok(answer.map(GuestOutcome::from).map_err(GuestError::from))
    }

    async fn delete(&mut self, to: GuestTarget, key: String) -> Answer<bool> {
        Ok(self.call()?.delete(&to.into(), &key).await.map_err(GuestError::from))
    }

    async fn copy(&mut self, source: String, to: GuestTarget, key: String) -> Answer<()> {
        Ok(self.call()?.copy(&source, &to.into(), &key).await.map_err(GuestError::from))
    }

    async fn exists(&mut self, database: String, key: String) -> Answer<bool> {
        Ok(self.call()?.exists(&database, &key).await.map_err(GuestError::from))
    }

    async fn delete_expired(&mut self, database: String, before: Option<u64>, limit: u32) -> Answer<u32> {
        Ok(self.call()?.delete_expired(&database, before, limit).await.map_err(GuestError::from))
    }
}
