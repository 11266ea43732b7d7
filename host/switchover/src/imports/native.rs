//! The same imports for a policy that is compiled into the service: the same grants, limits and evidence, no wasm.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use switchover_contract::{Instant, Level, Result, SaveMode, SaveOutcome, Target};
use switchover_guest::{Host, Lookup};

use super::call::CallContext;
use crate::capabilities::{CacheLookup, Lease};
use crate::session::Session;

/// One call, as a native policy sees it.
pub(crate) struct NativeHost {
    pub(crate) call: Arc<CallContext>,
    /// Sessions and leases are numbered in the order in which they are handed out.
    next: AtomicU32,
}

/// A session in the hands of a native policy.
pub(crate) struct NativeSession {
    pub(crate) session: Session,
    number: u32,
    call: Arc<CallContext>,
}

/// A lease in the hands of a native policy.
pub(crate) struct NativeLease {
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
    pub(crate) fn new(call: Arc<CallContext>) -> Self {
        Self { call, next: AtomicU32::new(0) }
    }

    fn number(&self) -> u32 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn session(&self, session: Session) -> NativeSession {
        NativeSession { session, number: self.number(), call: Arc::clone(&self.call) }
    }

    fn spend(&self) -> Result<()> {
        let error = |fault: crate::error::PolicyFault| {
            switchover_contract::Error::new(switchover_contract::ErrorCode::Overloaded, fault.to_string())
        };
        self.call.spend().map_err(error)
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
        self.call.flags.enabled(name)
    }

    fn flag_value(&self, name: &str) -> Option<String> {
        self.call.flags.value(name).map(str::to_owned)
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
