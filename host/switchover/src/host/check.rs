//! Whether the databases of a host answer, for the health check of a service.

use std::sync::Arc;
use std::time::{Duration, Instant};

use switchover_core::DatabaseName;
use switchover_runtime::Error;
use tokio::task::JoinSet;

use super::Switchover;

/// What one database said when it was asked whether it is there.
#[derive(Debug)]
#[non_exhaustive]
pub struct DatabaseCheck {
    /// Its alias.
    pub database: DatabaseName,
    /// Where it is, for people; without a password.
    pub summary: String,
    /// How long its answer, or the lack of one, took.
    pub latency: Duration,
    /// Why it cannot be used now; `None`: it answered.
    pub problem: Option<Error>,
}

impl Switchover {
    /// Asks every database at the same time whether it answers, in the order of their aliases. Each is asked for a key that nobody has, in
    /// the session table: one that has no table, or too many waiting reads, does not answer well either.
    ///
    /// Cost: one read of each database, at most `read_deadline`. It takes none of the places for calls. A database that does not answer
    /// need not be a reason to end a host: whether its calls fail depends on the policy and on the cache.
    ///
    /// Cancel safety: dropped, the questions are dropped too.
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
