//! The recording fakes of the scripts, which replace the store.

use std::sync::Arc;

use async_trait::async_trait;
use switchover_contract::{Level, Result, SaveMode, SaveOutcome, Target};
use switchover_core::capabilities::{CacheLookup, Clock, FlagSnapshot, Lease};
use switchover_core::{Payload, Session, SessionKey, Timestamp};
use switchover_guest::{Lookup, Session as _};
use switchover_scripts::{FakeLease, FakeSession, Fakes};

use crate::call::{Admission, Environment, Reach, Serves, check_target};
use crate::counters::Counters;
use crate::gate::Gate;

/// The fakes, as the imports of a call reach them.
pub(crate) struct FakeStore {
    fakes: Arc<Fakes>,
    /// Whose targets to serve; `None`: every target.
    as_store: Option<Serves>,
}

impl FakeStore {
    /// Serves every target.
    pub(crate) fn recording(fakes: Arc<Fakes>) -> Self {
        Self { fakes, as_store: None }
    }

    /// Serves only the targets that such a store serves.
    pub(crate) fn as_store(fakes: Arc<Fakes>, serves: Serves) -> Self {
        Self { fakes, as_store: Some(serves) }
    }

    /// An environment with this store and the clock of its fakes. It does not look ahead, because the look-up would
    /// appear in the trace.
    pub(crate) fn environment(self, counters: Arc<Counters>) -> Arc<Environment> {
        let clock = Arc::new(FakeClock(Arc::clone(&self.fakes)));
        Arc::new(Environment { reach: Arc::new(self), clock, counters, looks_ahead: false })
    }

    fn serves(&self, to: &Target) -> Result<()> {
        self.as_store.map_or(Ok(()), |serves| check_target(to, serves))
    }
}

#[async_trait]
impl Reach for FakeStore {
    async fn load(&self, _: &Admission, database: &str, key: &SessionKey) -> Result<Option<Session>> {
        Ok(self.fakes.load(database, key.expose())?.map(|found| from_fake(&found)))
    }

    async fn load_each(&self, _: &Admission, databases: &[String], key: &SessionKey) -> Vec<Result<Option<Session>>> {
        let databases: Vec<_> = databases.iter().map(String::as_str).collect();
        let answers = self.fakes.load_each(&databases, key.expose());
        answers.into_iter().map(|answer| Ok(answer?.map(|found| from_fake(&found)))).collect()
    }

    async fn save(&self, _: &Admission, to: &Target, session: Session, mode: SaveMode) -> Result<SaveOutcome> {
        self.serves(to)?;
        self.fakes.save(to, session.key.expose(), &to_fake(&session), mode)
    }

    async fn touch(&self, _: &Admission, to: &Target, key: &SessionKey, expires_at: Timestamp) -> Result<SaveOutcome> {
        self.serves(to)?;
        self.fakes.touch(to, key.expose(), expires_at.as_micros())
    }

    async fn delete(&self, _: &Admission, to: &Target, key: &SessionKey) -> Result<bool> {
        self.serves(to)?;
        self.fakes.delete(to, key.expose())
    }

    async fn copy(&self, _: &Admission, source: &str, to: &Target, key: &SessionKey) -> Result<()> {
        self.fakes.copy(source, to, key.expose())
    }

    async fn exists(&self, _: &Admission, database: &str, key: &SessionKey) -> Result<bool> {
        self.fakes.exists(database, key.expose())
    }

    async fn delete_expired(
        &self,
        _: &Admission,
        database: &str,
        before: Option<Timestamp>,
        limit: u32,
    ) -> Result<u32> {
        self.fakes.delete_expired(database, before.map(Timestamp::as_micros), limit)
    }

    async fn cache_get(&self, key: &SessionKey) -> Result<CacheLookup> {
        Ok(match self.fakes.cache_get(key.expose())? {
            Lookup::Hit(found) => CacheLookup::Hit(from_fake(&found)),
            Lookup::Miss(lease) => CacheLookup::Miss(Lease(lease.number())),
        })
    }

    async fn cache_fill(&self, lease: Lease, session: &Session) -> Result<()> {
        self.fakes.cache_fill(&FakeLease::new(session.key.expose(), lease.0), &to_fake(session))
    }

    async fn cache_invalidate(&self, key: &SessionKey) -> Result<()> {
        self.fakes.cache_invalidate(key.expose())
    }

    fn log(&self, _policy: &str, level: Level, message: &str) {
        self.fakes.log(level, message);
    }
}

pub(crate) fn from_fake(found: &FakeSession) -> Session {
    Session::new(
        SessionKey::parse(found.key()).expect("keys of scripts are valid"),
        Payload::from(found.text()),
        Timestamp::from_micros(found.expires_at()),
    )
}

pub(crate) fn to_fake(session: &Session) -> FakeSession {
    FakeSession::new(
        session.key.expose(),
        session.payload.as_text().unwrap_or_default(),
        session.expires_at.as_micros(),
    )
}

/// The clock of the fakes.
struct FakeClock(Arc<Fakes>);

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.now())
    }
}

/// An admission of a gate of its own, for a call that no era waits for.
pub(crate) fn admission(flags: Arc<FlagSnapshot>) -> Admission {
    Admission { ticket: Gate::open().enter().expect("a new gate is open"), flags, fence: None }
}
