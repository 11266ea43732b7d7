//! What a policy asks of databases. It may name only what was granted and only the call's key. The answers are recorded
//! as evidence.

use std::collections::BTreeSet;

use switchover_contract::{Error, ErrorCode, Result, SaveMode, SaveOutcome, Target};
use switchover_core::{Session, Timestamp};

use super::CallContext;
use crate::limits::DELETE_EXPIRED_MAX;

impl CallContext {
    pub(crate) async fn load(&self, database: &str, key: &str) -> Result<Option<Session>> {
        let key = self.granted_key(key)?;
        self.granted_database(database)?;
        let answer = self.reach_without_look_ahead().load(&self.admission, database, key).await;
        self.evidence.saw_loads(std::slice::from_ref(&answer));
        answer
    }

    pub(crate) async fn load_each(&self, databases: &[String], key: &str) -> Vec<Result<Option<Session>>> {
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
                let answers = self.reach_without_look_ahead().load_each(&self.admission, databases, key).await;
                self.evidence.saw_loads(&answers);
                answers
            }
            Err(error) => databases.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    pub(crate) async fn save(&self, to: &Target, key: &str, value: Session, mode: SaveMode) -> Result<SaveOutcome> {
        self.granted_key(key)?;
        self.granted_session(&value)?;
        self.granted_target(to)?;
        let as_asked = self.asked().is_save(&value, mode);
        if !as_asked && self.evidence.has_only_cached() {
            return Err(self.deny("what the cache gave is never written: load it from a database first".to_owned()));
        }
        let before = self.evidence.sends_write();
        let answer = self.reach_without_look_ahead().save(&self.admission, to, value, mode).await;
        self.evidence.saw_outcome(before, as_asked, &answer);
        answer
    }

    pub(crate) async fn touch(&self, to: &Target, key: &str, expires_at: u64) -> Result<SaveOutcome> {
        let key = self.granted_key(key)?;
        self.granted_target(to)?;
        let expires_at = Timestamp::from_micros(expires_at);
        let as_asked = self.asked().is_touch(expires_at);
        let before = self.evidence.sends_write();
        let answer = self.reach_without_look_ahead().touch(&self.admission, to, key, expires_at).await;
        self.evidence.saw_outcome(before, as_asked, &answer);
        answer
    }

    pub(crate) async fn delete(&self, to: &Target, key: &str) -> Result<bool> {
        let key = self.granted_key(key)?;
        self.granted_target(to)?;
        let before = self.evidence.sends_write();
        let answer = self.reach_without_look_ahead().delete(&self.admission, to, key).await;
        self.evidence.saw_delete(before, &answer);
        answer
    }

    pub(crate) async fn copy(&self, source: &str, to: &Target, key: &str) -> Result<()> {
        let key = self.granted_key(key)?;
        self.granted_database(source)?;
        self.granted_target(to)?;
        let before = self.evidence.sends_write();
        let answer = self.reach_without_look_ahead().copy(&self.admission, source, to, key).await;
        self.evidence.saw_other_write(before, &answer);
        answer
    }

    pub(crate) async fn exists(&self, database: &str, key: &str) -> Result<bool> {
        let key = self.granted_key(key)?;
        self.granted_database(database)?;
        let answer = self.reach_without_look_ahead().exists(&self.admission, database, key).await;
        self.evidence.saw_exists(&answer);
        answer
    }

    pub(crate) async fn delete_expired(&self, database: &str, before: Option<u64>, limit: u32) -> Result<u32> {
        self.granted_database(database)?;
        self.granted_cleaning()?;
        // `before` comes from the policy, so clamp it: a row that has not ended by now must not be deleted as ended.
        let before = before.map(|before| Timestamp::from_micros(before).min(self.environment.clock.now()));
        // `limit` comes from the policy, so clamp it.
        let limit = limit.min(DELETE_EXPIRED_MAX);
        let written_before = self.evidence.sends_write();
        let answer = self.reach_without_look_ahead().delete_expired(&self.admission, database, before, limit).await;
        self.evidence.saw_cleaning(written_before, &answer);
        answer
    }
}
