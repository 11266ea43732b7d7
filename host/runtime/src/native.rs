//! A policy that is compiled into the service, without wasm. It has the same imports, grants and evidence as a
//! component, and the same limits except those of processor time, memory and stack.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use switchover_contract::{
    Description, Error, ErrorCode, Hints, Instant, Level, Model, Object, Result, SaveMode, SaveOutcome, Target,
};
use switchover_core::capabilities::{CacheLookup, Lease};
use switchover_core::{Session, SessionKey, Timestamp};
use switchover_guest::{Host, Lookup, Policy};

use crate::call::CallContext;
use crate::call::{Answered, Failure, Runner};

pub(crate) struct NativeRunner<P>(PhantomData<fn() -> P>);

impl<P> NativeRunner<P> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

#[async_trait]
impl<P: Policy> Runner for NativeRunner<P> {
    async fn load(&self, key: &SessionKey, call: &Arc<CallContext>) -> Answered<Option<Session>> {
        let found = P::load(&NativeHost::new(call), key.expose()).await.map_err(Failure::Answered)?;
        Ok(found.map(|found| found.session))
    }

    async fn save(&self, session: &Session, mode: SaveMode, call: &Arc<CallContext>) -> Answered<SaveOutcome> {
        let host = NativeHost::new(call);
        let value = host.session(session.clone());
        P::save(&host, session.key.expose(), value, mode).await.map_err(Failure::Answered)
    }

    async fn touch(&self, key: &SessionKey, expires_at: Timestamp, call: &Arc<CallContext>) -> Answered<SaveOutcome> {
        let touched = P::touch(&NativeHost::new(call), key.expose(), expires_at.as_micros()).await;
        touched.map_err(Failure::Answered)
    }

    async fn delete(&self, key: &SessionKey, call: &Arc<CallContext>) -> Answered<bool> {
        P::delete(&NativeHost::new(call), key.expose()).await.map_err(Failure::Answered)
    }

    async fn exists(&self, key: &SessionKey, call: &Arc<CallContext>) -> Answered<bool> {
        P::exists(&NativeHost::new(call), key.expose()).await.map_err(Failure::Answered)
    }

    async fn clear_expired(&self, limit: u32, call: &Arc<CallContext>) -> Answered<u32> {
        P::clear_expired(&NativeHost::new(call), limit).await.map_err(Failure::Answered)
    }

    async fn db_for_read(&self, model: &Model, hints: &Hints, call: &Arc<CallContext>) -> Answered<Option<String>> {
        P::db_for_read(&NativeHost::new(call), model, hints).map_err(Failure::Answered)
    }

    async fn db_for_write(&self, model: &Model, hints: &Hints, call: &Arc<CallContext>) -> Answered<Option<String>> {
        P::db_for_write(&NativeHost::new(call), model, hints).map_err(Failure::Answered)
    }

    async fn allow_relation(
        &self,
        [a, b]: [&Object; 2],
        hints: &Hints,
        call: &Arc<CallContext>,
    ) -> Answered<Option<bool>> {
        P::allow_relation(&NativeHost::new(call), a, b, hints).map_err(Failure::Answered)
    }

    async fn allow_migrate(
        &self,
        database: &str,
        app_label: &str,
        model_name: Option<&str>,
        hints: &Hints,
        call: &Arc<CallContext>,
    ) -> Answered<Option<bool>> {
        let host = NativeHost::new(call);
        P::allow_migrate(&host, database, app_label, model_name, hints).map_err(Failure::Answered)
    }

    async fn describe(&self, call: &Arc<CallContext>) -> Answered<Description> {
        Ok(P::describe(&NativeHost::new(call)))
    }
}

/// The host as a native policy sees it during one call.
struct NativeHost {
    call: Arc<CallContext>,
    /// The number of the next session or lease. They are numbered in the order in which they are handed out.
    next: AtomicU32,
}

/// A session that a native policy holds.
struct NativeSession {
    session: Session,
    number: u32,
    call: Arc<CallContext>,
}

/// A lease that a native policy holds.
struct NativeLease {
    lease: Lease,
    number: u32,
}

impl switchover_guest::Session for NativeSession {
    fn expires_at(&self) -> Instant {
        self.session.expires_at.as_micros()
    }

    fn size(&self) -> u32 {
        u32::try_from(self.session.payload.len()).unwrap_or(u32::MAX)
    }

    fn payload(&self) -> Result<Vec<u8>> {
        self.call.payload(&self.session)
    }
}

impl NativeHost {
    fn new(call: &Arc<CallContext>) -> Self {
        Self { call: Arc::clone(call), next: AtomicU32::new(0) }
    }

    fn number(&self) -> u32 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn session(&self, session: Session) -> NativeSession {
        NativeSession { session, number: self.number(), call: Arc::clone(&self.call) }
    }

    fn spend(&self) -> Result<()> {
        self.call.spend().map_err(|fault| Error::new(ErrorCode::Overloaded, fault.to_string()))
    }
}

impl Host for NativeHost {
    type Session = NativeSession;
    type Lease = NativeLease;

    async fn load(&self, database: &str, key: &str) -> Result<Option<NativeSession>> {
        self.spend()?;
        Ok(self.call.load(database, key).await?.map(|session| self.session(session)))
    }

    async fn load_each(&self, databases: &[&str], key: &str) -> Vec<Result<Option<NativeSession>>> {
        if let Err(error) = self.spend() {
            return databases.iter().map(|_| Err(error.clone())).collect();
        }
        let databases: Vec<_> = databases.iter().map(|name| (*name).to_owned()).collect();
        let answers = self.call.load_each(&databases, key).await;
        answers.into_iter().map(|answer| Ok(answer?.map(|session| self.session(session)))).collect()
    }

    async fn save(&self, to: &Target, key: &str, value: &NativeSession, mode: SaveMode) -> Result<SaveOutcome> {
        self.spend()?;
        self.call.save(to, key, value.session.clone(), mode).await
    }

    async fn touch(&self, to: &Target, key: &str, expires_at: Instant) -> Result<SaveOutcome> {
        self.spend()?;
        self.call.touch(to, key, expires_at).await
    }

    async fn delete(&self, to: &Target, key: &str) -> Result<bool> {
        self.spend()?;
        self.call.delete(to, key).await
    }

    async fn copy(&self, source: &str, to: &Target, key: &str) -> Result<()> {
        self.spend()?;
        self.call.copy(source, to, key).await
    }

    async fn exists(&self, database: &str, key: &str) -> Result<bool> {
        self.spend()?;
        self.call.exists(database, key).await
    }

    async fn delete_expired(&self, database: &str, before: Option<Instant>, limit: u32) -> Result<u32> {
        self.spend()?;
        self.call.delete_expired(database, before, limit).await
    }

    async fn cache_get(&self, key: &str) -> Result<Lookup<NativeSession, NativeLease>> {
        self.spend()?;
        Ok(match self.call.cache_get(key).await? {
            CacheLookup::Hit(session) => Lookup::Hit(self.session(session)),
            CacheLookup::Miss(lease) => Lookup::Miss(NativeLease { lease, number: self.number() }),
        })
    }

    async fn cache_fill(&self, lease: NativeLease, value: &NativeSession) -> Result<()> {
        self.spend()?;
        self.call.cache_fill(lease.lease, &value.session, value.number > lease.number).await
    }

    async fn cache_invalidate(&self, key: &str) -> Result<()> {
        self.spend()?;
        self.call.cache_invalidate(key).await
    }

    fn flag_enabled(&self, name: &str) -> bool {
        self.call.admission.flags.enabled(name)
    }

    fn flag_value(&self, name: &str) -> Option<String> {
        self.call.admission.flags.value(name).map(str::to_owned)
    }

    fn setting(&self, name: &str) -> Option<String> {
        self.call.scope.settings.get(name).cloned()
    }

    fn now(&self) -> Instant {
        self.call.environment.clock.now().as_micros()
    }

    fn log(&self, level: Level, message: &str) {
        self.call.log(level, message);
    }
}
