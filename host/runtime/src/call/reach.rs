//! What a call reaches: the host's store, or fakes when a policy is tried.

use async_trait::async_trait;
use switchover_contract::{Error, ErrorCode, Guarantee, Level, Result, SaveMode, SaveOutcome, Target};
use switchover_core::capabilities::{CacheLookup, Lease};
use switchover_core::{Session, SessionKey, Timestamp};

use super::Admission;

/// The operations that a policy can ask for. `wit/databases.wit` and `wit/cache.wit` say what each means.
#[async_trait]
pub trait Reach: Send + Sync {
    /// Finds a session in one database.
    async fn load(&self, admission: &Admission, database: &str, key: &SessionKey) -> Result<Option<Session>>;

    /// Finds a session in several databases at the same time. The answers have the order of the databases.
    async fn load_each(
        &self,
        admission: &Admission,
        databases: &[String],
        key: &SessionKey,
    ) -> Vec<Result<Option<Session>>>;

    /// Saves a session.
    async fn save(&self, admission: &Admission, to: &Target, session: Session, mode: SaveMode) -> Result<SaveOutcome>;

    /// Moves the end of a session to a later instant.
    async fn touch(
        &self,
        admission: &Admission,
        to: &Target,
        key: &SessionKey,
        expires_at: Timestamp,
    ) -> Result<SaveOutcome>;

    /// Deletes a session. Returns whether a database that was written had it.
    async fn delete(&self, admission: &Admission, to: &Target, key: &SessionKey) -> Result<bool>;

    /// Copies a session from one database to others.
    async fn copy(&self, admission: &Admission, source: &str, to: &Target, key: &SessionKey) -> Result<()>;

    /// Returns whether there is a row, also one that has ended.
    async fn exists(&self, admission: &Admission, database: &str, key: &SessionKey) -> Result<bool>;

    /// Deletes rows that have ended. Returns how many.
    async fn delete_expired(
        &self,
        admission: &Admission,
        database: &str,
        before: Option<Timestamp>,
        limit: u32,
    ) -> Result<u32>;

    /// Looks a session up in the cache.
    async fn cache_get(&self, key: &SessionKey) -> Result<CacheLookup>;

    /// Fills the cache under a lease.
    async fn cache_fill(&self, lease: Lease, session: &Session) -> Result<()>;

    /// Removes an entry of the cache.
    async fn cache_invalidate(&self, key: &SessionKey) -> Result<()>;

    /// Writes a line of the policy, from which the key is already struck out. By default it goes to the service's log.
    fn log(&self, policy: &str, level: Level, message: &str) {
        match level {
            Level::Debug => tracing::debug!(policy, "{message}"),
            Level::Info => tracing::info!(policy, "{message}"),
            Level::Warn => tracing::warn!(policy, "{message}"),
            Level::Error => tracing::error!(policy, "{message}"),
        }
    }
}

/// Which targets a store serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serves {
    /// Those that are safe within one host.
    OneHost,
    /// Those of `docs/protocol.md`, which are safe over a fleet.
    Fleet,
}

/// Checks that a store can serve a target. A trial refuses the targets that the store would refuse.
///
/// # Errors
///
/// `unsupported`; the message says what to ask for instead.
pub fn check_target(to: &Target, serves: Serves) -> Result<()> {
    let unsupported = |message| Err(Error::new(ErrorCode::Unsupported, message));
    let asks_for = |guarantee| to.mirrors.iter().any(|mirror| mirror.guarantee == guarantee);
    match serves {
        Serves::OneHost if to.lock.as_ref().is_some_and(|lock| *lock != to.home) => {
            unsupported("without a migration a write is locked at its home; leave `lock` out")
        }
        Serves::OneHost if asks_for(Guarantee::Marked) => {
            unsupported("a `marked` mirror needs the side tables of a migration; ask for `strict`")
        }
        Serves::Fleet if asks_for(Guarantee::BestEffort) => {
            unsupported("a `best-effort` mirror has no place in a migration; ask for `marked` or `strict`")
        }
        Serves::Fleet if to.mirrors.len() > 1 => unsupported("a migration has two databases; name one mirror"),
        Serves::OneHost | Serves::Fleet => Ok(()),
    }
}
