//! Checks whether the databases of a host answer, for the health check of a service.

use std::sync::Arc;
use std::time::{Duration, Instant};

use switchover_core::DatabaseName;
use switchover_runtime::Error;
use tokio::task::JoinSet;

use super::Switchover;

/// The result of the check of one database.
#[derive(Debug)]
#[non_exhaustive]
pub struct DatabaseCheck {
    /// The alias of the database.
    pub database: DatabaseName,
    /// Where the database is, for people; without a password.
    pub summary: String,
    /// How long the check took, with or without an answer.
    pub latency: Duration,
    /// Why the database cannot be used now. `None` if it answered.
    pub problem: Option<Error>,
}

impl Switchover {
    /// Checks all databases at the same time. The results have the order of the aliases. Each database is asked for a
    /// random key in the session table. So a database whose table is missing, or where too many reads wait, fails the
    /// check too.
    ///
    /// Cost: one read of each database, at most `read_deadline`. It takes none of the places for calls. A failed check
    /// is not always a reason to stop a host: whether its calls fail depends on the policy and on the cache.
    ///
    /// Cancel safety: dropping the future drops the reads.
    pub async fn check_databases(&self) -> Vec<DatabaseCheck> {
        let mut asked = JoinSet::new();
        for (name, database) in self.host.store.databases() {
            let (host, name, summary) = (Arc::clone(&self.host), name.clone(), database.summary());
            asked.spawn(async move {
                let begun = Instant::now();
                let problem = host.store.ask(name.as_str()).await.err();
                let problem = problem.map(|error| Error::of(error.code, error.message));
                DatabaseCheck { database: name, summary, latency: begun.elapsed(), problem }
            });
        }
        let mut checks = asked.join_all().await;
        checks.sort_unstable_by(|one, other| one.database.cmp(&other.database));
        checks
    }
}
