//! Writes: home decides the outcome, and mirrors follow with the guarantee that the policy asked for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use switchover_contract::{Error, ErrorCode, Guarantee, MirrorAction, Result, SaveMode, SaveOutcome, Target};
use switchover_core::capabilities::{DatabaseError, Terms, Write, WriteOutcome};
use switchover_core::{DatabaseName, Session, SessionKey, Timestamp};
use switchover_runtime::call::{Admission, Serves, check_target};
use switchover_runtime::counters::Asked;

use super::batch::Change;
use super::lanes::Lane;
use super::route::{Route, mirror_write};
use super::{Store, database_error};

impl Store {
    pub(super) async fn save_now(
        self: &Arc<Self>,
        admission: &Admission,
        to: &Target,
        session: Session,
        mode: SaveMode,
    ) -> Result<SaveOutcome> {
        let limits = self.limits.snapshot();
        if session.payload.len() > limits.payload_bytes_max {
            return Err(Error::new(
                ErrorCode::TooLarge,
                format!("a payload of {} bytes; {} are allowed", session.payload.len(), limits.payload_bytes_max),
            ));
        }
        let key = session.key.clone();
        let write = match mode {
            SaveMode::Create => Write::Insert(session),
            SaveMode::Update => Write::Update(session),
        };
        let written = self.write_to(admission, to, write, limits.write_deadline);
        let (outcome, _) = self.guarded(&key, false, &limits, written).await?;
        Ok(save_outcome(&outcome))
    }

    pub(super) async fn touch_now(
        self: &Arc<Self>,
        admission: &Admission,
        to: &Target,
        key: SessionKey,
        expires_at: Timestamp,
    ) -> Result<SaveOutcome> {
        let write = Write::Touch(key.clone(), expires_at);
        let limits = self.limits.snapshot();
        let written = self.write_to(admission, to, write, limits.write_deadline);
        let (outcome, _) = self.guarded(&key, false, &limits, written).await?;
        Ok(save_outcome(&outcome))
    }

    pub(super) async fn delete_now(
        self: &Arc<Self>,
        admission: &Admission,
        to: &Target,
        key: SessionKey,
    ) -> Result<bool> {
        if to.mirrors.iter().any(|mirror| mirror.guarantee == Guarantee::BestEffort) {
            return Err(Error::new(
                ErrorCode::Invalid,
                "a best-effort mirror of a delete would log users in again: ask for `strict`",
            ));
        }
        let limits = self.limits.snapshot();
        let written = self.write_to(admission, to, Write::Delete(key.clone()), limits.write_deadline);
        let (outcome, at_mirror) = self.guarded(&key, true, &limits, written).await?;
        Ok(at_mirror || matches!(outcome, WriteOutcome::Done(_)))
    }

    pub(super) async fn copy_now(
        self: &Arc<Self>,
        admission: &Admission,
        source: &str,
        to: &Target,
        key: SessionKey,
    ) -> Result<()> {
        if admission.fence.is_some() {
            let message = "in a migration the host copies sessions by itself; a policy does not";
            return Err(Error::new(ErrorCode::Unsupported, message));
        }
        self.copy_alone(source, to, key).await
    }

    /// A copy within one host, without a migration.
    pub(super) async fn copy_alone(self: &Arc<Self>, source: &str, to: &Target, key: SessionKey) -> Result<()> {
        let (source_name, source_database) = self.database(source)?;
        if to.lock.as_deref().is_some_and(|lock| lock != source) {
            return Err(Error::new(ErrorCode::Unsupported, "a copy is locked at its source; leave `lock` out"));
        }
        let home = std::iter::once((&to.home, MirrorAction::Copy));
        let mirrors = to.mirrors.iter().map(|mirror| (&mirror.database, mirror.action));
        let mut destinations = Vec::new();
        for (name, action) in home.chain(mirrors).filter(|(name, _)| *name != source) {
            destinations.push((self.database(name)?, action));
        }
        let limits = self.limits.snapshot();
        let deadline = Instant::now() + limits.write_deadline;
        let copied = async {
            let at_source = |error: DatabaseError| database_error(source_name, &error);
            let mut transaction = source_database.begin(Terms::by(deadline)).await.map_err(at_source)?;
            let row = transaction.lock(vec![key.clone()]).await.map_err(at_source)?.pop().flatten();
            let mut written = false;
            let mut answer = Ok(());
            for ((name, database), action) in destinations {
                let write = mirror_write(action, row.as_ref(), &key);
                if let Err(error) = database.write(vec![write], Terms::by(deadline)).await {
                    let error = database_error(name, &error);
                    answer = Err(if written { Error::new(ErrorCode::UnknownOutcome, error.message) } else { error });
                    break;
                }
                written = true;
            }
            transaction.roll_back().await;
            answer
        };
        self.guarded(&key, false, &limits, copied).await
    }

    /// Makes a write. Returns home's outcome, and whether a strict mirror had the row of a delete.
    async fn write_to(
        self: &Arc<Self>,
        admission: &Admission,
        to: &Target,
        write: Write,
        write_deadline: Duration,
    ) -> Result<(WriteOutcome, bool)> {
        if let Some(fence) = &admission.fence {
            return self.write_in_epoch(admission, fence, to, write, write_deadline).await;
        }
        let (route, best_effort) = self.route(to)?;
        self.counters.asked(Asked::DatabaseWrite);
        let deadline = Instant::now() + write_deadline;
        let key = write.key().clone();
        let (outcome, at_mirror) = if route.mirrors.is_empty() {
            let database = &self.databases[&route.home];
            let mut outcomes = database.write(vec![write], Terms::by(deadline)).await.map_err(|error| {
                let error = database_error(&route.home, &error);
                if error.code == ErrorCode::UnknownOutcome {
                    self.counters.outcome_unknown();
                }
                error
            })?;
            (outcomes.pop().ok_or_else(|| super::internal(&route.home, "a write without an answer"))?, false)
        } else {
            self.lanes.write(self, Lane::Strict(route), Change { write, deadline }, &admission.ticket).await?
        };
        if !best_effort.mirrors.is_empty()
            && matches!(outcome, WriteOutcome::Done(_))
            && self.copy_alone(best_effort.home.as_str(), &best_effort.target(), key).await.is_err()
        {
            self.counters.best_effort_failed();
        }
        Ok((outcome, at_mirror))
    }

    /// Checks a target: its names must exist, and its guarantees must be supported. Returns home with the strict
    /// mirrors, and home with the best-effort mirrors.
    fn route(&self, to: &Target) -> Result<(Route, Route)> {
        check_target(to, Serves::OneHost)?;
        let home = self.database(&to.home)?.0.clone();
        let (mut strict, mut best_effort) = (Vec::new(), Vec::new());
        for mirror in &to.mirrors {
            let name = self.database(&mirror.database)?.0.clone();
            let named = |list: &[(DatabaseName, MirrorAction)]| list.iter().any(|(other, _)| *other == name);
            if name == home || named(&strict) || named(&best_effort) {
                return Err(Error::new(ErrorCode::Invalid, format!("database {name} stands twice in one target")));
            }
            match mirror.guarantee {
                Guarantee::Strict => strict.push((name, mirror.action)),
                Guarantee::BestEffort => best_effort.push((name, mirror.action)),
                Guarantee::Marked => return Err(super::internal(&name, "a target that was not checked")),
            }
        }
        let best_effort = Route { home: home.clone(), mirrors: best_effort };
        Ok((Route { home, mirrors: strict }, best_effort))
    }
}

fn save_outcome(outcome: &WriteOutcome) -> SaveOutcome {
    match outcome {
        WriteOutcome::Done(_) => SaveOutcome::Saved,
        WriteOutcome::Exists => SaveOutcome::Exists,
        WriteOutcome::Missing => SaveOutcome::Missing,
    }
}
