//! The SDK's recording fakes in the place of the store.

use std::sync::Arc;

use async_trait::async_trait;
use switchover_contract::{Level, Result, SaveMode, SaveOutcome, Target};
use switchover_guest::{Lookup, Session as _};
use switchover_scripts::{FakeLease, FakeSession, Fakes};

use crate::capabilities::{CacheLookup, Clock, Lease};
use crate::gate::Ticket;
use crate::session::{Payload, Session, SessionKey, Timestamp};
use crate::store::{Reach, check_target};

/// The fakes, as the imports of a call reach them.
pub(crate) struct FakeStore {
    fakes: Arc<Fakes>,
    /// Targets that this version's store cannot serve are refused, as they would be in service.
    as_store: bool,
}

impl FakeStore {
    /// Records whatever is asked for.
    pub(crate) fn recording(fakes: Arc<Fakes>) -> Self {
        Self { fakes, as_store: false }
    }

    /// Serves what the store of this version serves.
    pub(crate) fn as_store(fakes: Arc<Fakes>) -> Self {
        Self { fakes, as_store: true }
    }

    fn serves(&self, to: &Target) -> Result<()> {
        if self.as_store { check_target(to) } else { Ok(()) }
    }
}

#[async_trait]
impl Reach for FakeStore {
    async fn load(&self, database: &str, key: &SessionKey) -> Result<Option<Session>> {
        Ok(self.fakes.load(database, key.expose())?.map(|found| from_fake(&found)))
    }

    async fn load_each(&self, databases: &[String], key: &SessionKey) -> Vec<Result<Option<Session>>> {
        let databases: Vec<_> = databases.iter().map(String::as_str).collect();
        let answers = self.fakes.load_each(&databases, key.expose());
        answers.into_iter().map(|answer| Ok(answer?.map(|found| from_fake(&found)))).collect()
    }

    async fn save(&self, _: &Ticket, to: &Target, session: Session, mode: SaveMode) -> Result<SaveOutcome> {
        self.serves(to)?;
        self.fakes.save(to, session.key.expose(), &to_fake(&session), mode)
    }

    async fn touch(&self, _: &Ticket, to: &Target, key: &SessionKey, expires_at: Timestamp) -> Result<SaveOutcome> {
        self.serves(to)?;
        self.fakes.touch(to, key.expose(), expires_at.as_micros())
    }

    async fn delete(&self, _: &Ticket, to: &Target, key: &SessionKey) -> Result<bool> {
        self.serves(to)?;
        self.fakes.delete(to, key.expose())
    }

    async fn copy(&self, _: &Ticket, source: &str, to: &Target, key: &SessionKey) -> Result<()> {
        self.fakes.copy(source, to, key.expose())
    }

    async fn exists(&self, database: &str, key: &SessionKey) -> Result<bool> {
        self.fakes.exists(database, key.expose())
    }

    async fn delete_expired(&self, _: &Ticket, database: &str, before: Option<Timestamp>, limit: u32) -> Result<u32> {
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
    Session {
        key: SessionKey::parse(found.key()).expect("keys of scripts are valid"),
        payload: Payload::parse(found.text()).expect("payloads of scripts have no NUL"),
        expires_at: Timestamp::from_micros(found.expires_at()),
    }
}

pub(crate) fn to_fake(session: &Session) -> FakeSession {
    FakeSession::new(session.key.expose(), session.payload.expose(), session.expires_at.as_micros())
}

/// The clock of the fakes.
pub(crate) struct FakeClock(pub(crate) Arc<Fakes>);

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.now())
    }
}
