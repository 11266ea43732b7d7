//! `databases`: only what was granted, only the call's key, and the evidence of what was answered.

use std::collections::BTreeSet;

use switchover_contract::{Error, ErrorCode, Result, SaveMode, SaveOutcome, Target};
use wasmtime::component::Resource;

use super::bindings::switchover::policy::databases::{Host, Target as GuestTarget};
use super::bindings::switchover::policy::types::{
    Error as GuestError, SaveMode as GuestMode, SaveOutcome as GuestOutcome,
};
use super::call::CallContext;
use super::convert::{error_to_guest, mode_from_guest, outcome_to_guest, target_from_guest};
use super::types::{GuestState, HostSession};
use crate::limits::DELETE_EXPIRED_MAX;
use crate::session::{Session, Timestamp};

impl CallContext {
    pub(super) async fn load(&self, database: &str, key: &str) -> Result<Option<Session>> {
        let key = self.granted_key(key)?;
        self.granted_database(database)?;
        let answer = self.reach().load(database, key).await;
        self.saw_loads(std::slice::from_ref(&answer));
        answer
    }

    pub(super) async fn load_each(&self, databases: &[String], key: &str) -> Vec<Result<Option<Session>>> {
        let granted = self.granted_key(key).and_then(|key| {
            databases.iter().try_for_each(|name| self.granted_database(name))?;
            let distinct: BTreeSet<_> = databases.iter().collect();
            if distinct.len() < databases.len() {
                return Err(Error::new(ErrorCode::Invalid, "a database stands twice in one `load-each`"));
            }
            Ok(key)
        });
        match granted {
            Ok(key) => {
                let answers = self.reach().load_each(databases, key).await;
                self.saw_loads(&answers);
                answers
            }
            Err(error) => databases.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    pub(super) async fn save(&self, to: &Target, key: &str, value: Session, mode: SaveMode) -> Result<SaveOutcome> {
        self.granted_key(key)?;
        self.granted_session(&value)?;
        self.granted_target(to)?;
        let as_asked = self.asked.is_save(&value, mode);
        if !as_asked && self.has_only_cached() {
            return Err(self.deny("what the cache gave is never written: load it from a database first".to_owned()));
        }
        let before = self.sends_write();
        let answer = self.reach().save(&self.ticket, to, value, mode).await;
        self.saw_outcome(before, as_asked, &answer);
        answer
    }

    pub(super) async fn touch(&self, to: &Target, key: &str, expires_at: u64) -> Result<SaveOutcome> {
        let key = self.granted_key(key)?;
        self.granted_target(to)?;
        let expires_at = Timestamp::from_micros(expires_at);
        let as_asked = self.asked.is_touch(expires_at);
        let before = self.sends_write();
        let answer = self.reach().touch(&self.ticket, to, key, expires_at).await;
        self.saw_outcome(before, as_asked, &answer);
        answer
    }

    pub(super) async fn delete(&self, to: &Target, key: &str) -> Result<bool> {
        let key = self.granted_key(key)?;
        self.granted_target(to)?;
        let before = self.sends_write();
        let answer = self.reach().delete(&self.ticket, to, key).await;
        self.saw_delete(before, &answer);
        answer
    }

    pub(super) async fn copy(&self, source: &str, to: &Target, key: &str) -> Result<()> {
        let key = self.granted_key(key)?;
        self.granted_database(source)?;
        self.granted_target(to)?;
        let before = self.sends_write();
        let answer = self.reach().copy(&self.ticket, source, to, key).await;
        self.saw_other_write(before, &answer);
        answer
    }

    pub(super) async fn exists(&self, database: &str, key: &str) -> Result<bool> {
        let key = self.granted_key(key)?;
        self.granted_database(database)?;
        let answer = self.reach().exists(database, key).await;
        self.saw_exists(&answer);
        answer
    }

    pub(super) async fn delete_expired(&self, database: &str, before: Option<u64>, limit: u32) -> Result<u32> {
        self.granted_database(database)?;
        self.granted_cleaning()?;
        // `before` comes from the policy: what has not ended by now must not be deleted as ended.
        let before = before.map(|before| Timestamp::from_micros(before).min(self.environment.clock.now()));
        // `limit` comes from the policy.
        let limit = limit.min(DELETE_EXPIRED_MAX);
        let written_before = self.sends_write();
        let answer = self.reach().delete_expired(&self.ticket, database, before, limit).await;
        self.saw_cleaning(written_before, &answer);
        answer
    }
}

type Answer<T> = wasmtime::Result<std::result::Result<T, GuestError>>;

impl Host for GuestState {
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
        let answer = self.call()?.save(&target_from_guest(to), &key, session, mode_from_guest(mode)).await;
        Ok(answer.map(outcome_to_guest).map_err(error_to_guest))
    }

    async fn touch(&mut self, to: GuestTarget, key: String, expires_at: u64) -> Answer<GuestOutcome> {
        let answer = self.call()?.touch(&target_from_guest(to), &key, expires_at).await;
        Ok(answer.map(outcome_to_guest).map_err(error_to_guest))
    }

    async fn delete(&mut self, to: GuestTarget, key: String) -> Answer<bool> {
        Ok(self.call()?.delete(&target_from_guest(to), &key).await.map_err(error_to_guest))
    }

    async fn copy(&mut self, source: String, to: GuestTarget, key: String) -> Answer<()> {
        Ok(self.call()?.copy(&source, &target_from_guest(to), &key).await.map_err(error_to_guest))
    }

    async fn exists(&mut self, database: String, key: String) -> Answer<bool> {
        Ok(self.call()?.exists(&database, &key).await.map_err(error_to_guest))
    }

    async fn delete_expired(&mut self, database: String, before: Option<u64>, limit: u32) -> Answer<u32> {
        Ok(self.call()?.delete_expired(&database, before, limit).await.map_err(error_to_guest))
    }
}
