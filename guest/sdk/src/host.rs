//! The port: everything a policy can ask of the host, as one trait that the wasm glue, the native host and the fakes
//! implement.

use std::future::Future;

use switchover_contract::{Instant, Level, Result, SaveMode, SaveOutcome, Target};

/// A session as it was read, or as the caller wants it written. The payload stays in the host.
pub trait Session {
    /// When the session ends.
    fn expires_at(&self) -> Instant;

    /// The length of the payload in bytes.
    fn size(&self) -> u32;

    /// The payload itself.
    ///
    /// # Errors
    ///
    /// `denied` unless the operator granted `payload` to this policy.
    fn payload(&self) -> Result<Vec<u8>>;
}

/// What a look-up in the cache found.
#[derive(Debug)]
pub enum Lookup<S, L> {
    /// A session that has not ended.
    Hit(S),
    /// Nothing; the lease allows to fill it once.
    Miss(L),
}

/// What a policy can ask of the host. `wit/` says what each function, each `None` and each error means.
///
/// The functions that reach a database or a cache are futures, so that one policy runs inside the host, where they
/// wait, and as a component, where the host suspends the whole guest and they are ready at once. They ask nothing
/// before they are polled.
pub trait Host: Sync {
    /// A session of this host.
    type Session: Session + Send + Sync;
    /// The right to fill one key of the cache once.
    type Lease: Send;

    /// Reads one session from a database.
    fn load(&self, database: &str, key: &str) -> impl Future<Output = Result<Option<Self::Session>>> + Send;

    /// Reads the same session from several databases at the same time.
    fn load_each(
        &self,
        databases: &[&str],
        key: &str,
    ) -> impl Future<Output = Vec<Result<Option<Self::Session>>>> + Send;

    /// Writes a session to home and its mirrors.
    fn save(
        &self,
        to: &Target,
        key: &str,
        value: &Self::Session,
        mode: SaveMode,
    ) -> impl Future<Output = Result<SaveOutcome>> + Send;

    /// Moves the end of a session, never to an earlier time.
    fn touch(&self, to: &Target, key: &str, expires_at: Instant) -> impl Future<Output = Result<SaveOutcome>> + Send;

    /// Deletes a session from home and from every mirror; `true`: at least one of those written before the answer had
    /// it.
    fn delete(&self, to: &Target, key: &str) -> impl Future<Output = Result<bool>> + Send;

    /// Brings home and mirrors of `to` to the row of `source`, under the lock that `to` names; `None`: that of
    /// `source`.
    fn copy(&self, source: &str, to: &Target, key: &str) -> impl Future<Output = Result<()>> + Send;

    /// Whether there is a row under this key, also one that has ended.
    fn exists(&self, database: &str, key: &str) -> impl Future<Output = Result<bool>> + Send;

    /// Deletes at most `limit` rows that ended before an instant; `None`: before now by the database's clock.
    fn delete_expired(
        &self,
        database: &str,
        before: Option<Instant>,
        limit: u32,
    ) -> impl Future<Output = Result<u32>> + Send;

    /// Looks a session up in the cache.
    fn cache_get(&self, key: &str) -> impl Future<Output = Result<Lookup<Self::Session, Self::Lease>>> + Send;

    /// Stores what was loaded after a miss; no effect once the lease is lost.
    fn cache_fill(&self, lease: Self::Lease, value: &Self::Session) -> impl Future<Output = Result<()>> + Send;

    /// Removes an entry of the cache. Writes do it by themselves.
    fn cache_invalidate(&self, key: &str) -> impl Future<Output = Result<()>> + Send;

    /// Whether a flag is on, in the snapshot of this call.
    fn flag_enabled(&self, name: &str) -> bool;

    /// The text of a flag, in the snapshot of this call.
    fn flag_value(&self, name: &str) -> Option<String>;

    /// What the operator configured for this policy.
    fn setting(&self, name: &str) -> Option<String>;

    /// The host's clock.
    fn now(&self) -> Instant;

    /// Writes one line for the operator.
    fn log(&self, level: Level, message: &str);

    /// What the operator configured, or the documented default.
    fn setting_or(&self, name: &str, default: &str) -> String {
        self.setting(name).unwrap_or_else(|| default.to_owned())
    }
}
