//! What the imports of a call reach: the host's store, or recording fakes when a policy is tried by itself.

use async_trait::async_trait;
use switchover_contract::{Result, SaveMode, SaveOutcome, Target};

use crate::capabilities::{CacheLookup, Lease};
use crate::gate::Ticket;
use crate::session::{Session, SessionKey, Timestamp};

/// The operations that a policy can ask for. `wit/databases.wit` and `wit/cache.wit` say what each means.
#[async_trait]
pub(crate) trait Reach: Send + Sync {
    async fn load(&self, database: &str, key: &SessionKey) -> Result<Option<Session>>;

    async fn load_each(&self, databases: &[String], key: &SessionKey) -> Vec<Result<Option<Session>>>;

    async fn save(&self, ticket: &Ticket, to: &Target, session: Session, mode: SaveMode) -> Result<SaveOutcome>;

    async fn touch(&self, ticket: &Ticket, to: &Target, key: &SessionKey, expires_at: Timestamp)
    -> Result<SaveOutcome>;

    async fn delete(&self, ticket: &Ticket, to: &Target, key: &SessionKey) -> Result<bool>;

    async fn copy(&self, ticket: &Ticket, source: &str, to: &Target, key: &SessionKey) -> Result<()>;

    async fn exists(&self, database: &str, key: &SessionKey) -> Result<bool>;

    async fn delete_expired(
        &self,
        ticket: &Ticket,
        database: &str,
        before: Option<Timestamp>,
        limit: u32,
    ) -> Result<u32>;

    async fn cache_get(&self, key: &SessionKey) -> Result<CacheLookup>;

    async fn cache_fill(&self, lease: Lease, session: &Session) -> Result<()>;

    async fn cache_invalidate(&self, key: &SessionKey) -> Result<()>;

    /// A line of the policy's log, its key struck out; by default it goes to the service's log.
    fn log(&self, policy: &str, level: switchover_contract::Level, message: &str) {
        use switchover_contract::Level;
        match level {
            Level::Debug => tracing::debug!(policy, "{message}"),
            Level::Info => tracing::info!(policy, "{message}"),
            Level::Warn => tracing::warn!(policy, "{message}"),
            Level::Error => tracing::error!(policy, "{message}"),
        }
    }
}
