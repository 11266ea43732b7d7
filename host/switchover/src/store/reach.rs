//! How the calls of a policy reach the store. Reads and look-ups end with the call. Writes run in tasks of their own.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use switchover_contract::{Error, ErrorCode, Result, SaveMode, SaveOutcome, Target};
use switchover_core::capabilities::{CacheLookup, Lease, Read, ReadOutcome};
use switchover_core::{Session, SessionKey, Timestamp};
use switchover_runtime::call::{Admission, Reach};
use switchover_runtime::counters::Asked;
use tracing::Instrument as _;

use super::{Store, database_error};
use crate::trace;

/// The store of a host.
pub(crate) struct StoreReach(pub(crate) Arc<Store>);

#[async_trait]
impl Reach for StoreReach {
    async fn load(&self, admission: &Admission, database: &str, key: &SessionKey) -> Result<Option<Session>> {
        match self.0.read_one(database, Read::Load(key.clone()), admission.fence.as_ref()).await? {
            // A collation that treats `abc` and `ABC` as equal finds another key's row, which is not this session.
            ReadOutcome::Session(session) => Ok(session.filter(|session| session.key == *key)),
            ReadOutcome::Exists(_) | ReadOutcome::Unreadable(_) => Err(wrong_answer()),
        }
    }

    async fn load_each(
        &self,
        admission: &Admission,
        databases: &[String],
        key: &SessionKey,
    ) -> Vec<Result<Option<Session>>> {
        // Unlike writes, these are dropped with the call.
        let mut loads = tokio::task::JoinSet::new();
        for (at, database) in databases.iter().enumerate() {
            let (store, database, key, admission) =
                (Arc::clone(&self.0), database.clone(), key.clone(), admission.clone());
            let load = async move { (at, Self(store).load(&admission, &database, &key).await) };
            loads.spawn(load.instrument(trace::current()));
        }
        let lost = || Err(Error::new(ErrorCode::Internal, "a read panicked"));
        let mut answers: Vec<_> = databases.iter().map(|_| lost()).collect();
        while let Some(loaded) = loads.join_next().await {
            if let Ok((at, answer)) = loaded {
                answers[at] = answer;
            }
        }
        answers
    }

    async fn save(&self, admission: &Admission, to: &Target, session: Session, mode: SaveMode) -> Result<SaveOutcome> {
        let (store, to) = (Arc::clone(&self.0), to.clone());
        in_own_task(admission, move |admission| async move { store.save_now(&admission, &to, session, mode).await })
            .await
    }

    async fn touch(
        &self,
        admission: &Admission,
        to: &Target,
        key: &SessionKey,
        expires_at: Timestamp,
    ) -> Result<SaveOutcome> {
        let (store, to, key) = (Arc::clone(&self.0), to.clone(), key.clone());
        in_own_task(admission, move |admission| async move { store.touch_now(&admission, &to, key, expires_at).await })
            .await
    }

    async fn delete(&self, admission: &Admission, to: &Target, key: &SessionKey) -> Result<bool> {
        let (store, to, key) = (Arc::clone(&self.0), to.clone(), key.clone());
        in_own_task(admission, move |admission| async move { store.delete_now(&admission, &to, key).await }).await
    }

    async fn copy(&self, admission: &Admission, source: &str, to: &Target, key: &SessionKey) -> Result<()> {
        let (store, source, to, key) = (Arc::clone(&self.0), source.to_owned(), to.clone(), key.clone());
        in_own_task(admission, move |admission| async move { store.copy_now(&admission, &source, &to, key).await })
            .await
    }

    async fn exists(&self, admission: &Admission, database: &str, key: &SessionKey) -> Result<bool> {
        match self.0.read_one(database, Read::Exists(key.clone()), admission.fence.as_ref()).await? {
            ReadOutcome::Exists(exists) => Ok(exists),
            ReadOutcome::Session(_) | ReadOutcome::Unreadable(_) => Err(wrong_answer()),
        }
    }

    async fn delete_expired(
        &self,
        admission: &Admission,
        database: &str,
        before: Option<Timestamp>,
        limit: u32,
    ) -> Result<u32> {
        let (store, database) = (Arc::clone(&self.0), database.to_owned());
        in_own_task(admission, move |_admission| async move {
            let (name, database) = store.database(&database)?;
            let deadline = Instant::now() + store.limits.now().write_deadline;
            let deleted = database.delete_expired(before, limit, deadline).await;
            deleted.map_err(|error| database_error(name, &error))
        })
        .await
    }

    async fn cache_get(&self, key: &SessionKey) -> Result<CacheLookup> {
        if !self.0.may_use_cache() {
            self.0.counters.asked(Asked::CacheMiss);
            return Ok(CacheLookup::Miss(Lease::DEAD));
        }
        let patience = {
            let limits = self.0.limits.now();
            limits.cache_deadline.min(limits.call_wall_time)
        };
        let now = self.0.clock.now();
        let found = match self.0.bounded_by("get", patience, self.0.cache()?.get(key, now)).await? {
            // The cache is shared and never trusted. An entry of another key, or one that has ended, is a miss, and its
            // lease fills nothing.
            CacheLookup::Hit(session) if session.key != *key || session.expires_at <= now => {
                CacheLookup::Miss(Lease::DEAD)
            }
            // The confirmation may have run out while the cache was asked.
            CacheLookup::Hit(_) if !self.0.may_use_cache() => CacheLookup::Miss(Lease::DEAD),
            found => found,
        };
        let is_hit = matches!(found, CacheLookup::Hit(_));
        self.0.counters.asked(if is_hit { Asked::CacheHit } else { Asked::CacheMiss });
        Ok(found)
    }

    async fn cache_fill(&self, lease: Lease, session: &Session) -> Result<()> {
        let ttl = session.expires_at.since(self.0.clock.now()).min(self.0.limits.now().cache_max_age);
        if ttl.is_zero() {
            return Ok(());
        }
        let cache = self.0.cache()?;
        if session.others.is_empty() {
            return self.0.bounded("fill", cache.fill(lease, session, ttl)).await.map(|_filled| ());
        }
        // No caller reads the other columns, and none of them may be written from a cache.
        let plain = Box::new(Session::new(session.key.clone(), session.payload.clone(), session.expires_at));
        self.0.bounded("fill", cache.fill(lease, &plain, ttl)).await.map(|_filled| ())
    }

    async fn cache_invalidate(&self, key: &SessionKey) -> Result<()> {
        let (store, key) = (Arc::clone(&self.0), key.clone());
        // It runs to its end even if the caller of the load goes away: a dropped operation would look to the cache's
        // client as if the cache did not answer.
        let invalidate = async move { store.bounded("invalidate", store.cache()?.invalidate(&key)).await };
        let invalidated = tokio::spawn(invalidate.instrument(trace::current())).await;
        invalidated.unwrap_or_else(|_| Err(Error::new(ErrorCode::Internal, "an invalidation panicked")))
    }
}

/// Runs a write in a task of its own. The write runs to its end even if its call does not. It holds a clone of the
/// call's ticket, so it counts as in flight until then, and runs under the call's epoch.
async fn in_own_task<T: Send + 'static, F: Future<Output = Result<T>> + Send + 'static>(
    admission: &Admission,
    write: impl FnOnce(Admission) -> F,
) -> Result<T> {
    let written = tokio::spawn(write(admission.clone()).instrument(trace::current())).await;
    written.unwrap_or_else(|_| Err(Error::new(ErrorCode::UnknownOutcome, "a write panicked in the host")))
}

fn wrong_answer() -> Error {
    Error::new(ErrorCode::Internal, "an answer to another question")
}
