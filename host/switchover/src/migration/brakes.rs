//! When the jobs of a host rest by themselves, so that callers and replicas do not feel them.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use switchover_core::capabilities::{Database, Strain};

use super::copy::Pair;

/// How long a database has to say how busy it is.
const PATIENCE: Duration = Duration::from_secs(2);

/// When the jobs of a host rest: copies, backfill, verification. By default never. The status says why a job rests.
/// Calls of the application are not touched.
///
/// A bound that cannot be looked at is one that is exceeded.
#[derive(Clone, Debug, Default)]
pub struct Brakes {
    file: Option<PathBuf>,
    active_max: Option<u64>,
    behind_max: Option<u64>,
}

impl Brakes {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Rests while there is a file at this path, whatever it contains.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(path.into());
        self
    }

    /// Rests while more statements than this run on the server of one of the two databases: on PostgreSQL those of
    /// clients, for which the user must be a member of `pg_read_all_stats`; on MySQL and MariaDB `Threads_running`.
    #[must_use]
    pub fn active_max(mut self, statements: u64) -> Self {
        self.active_max = Some(statements);
        self
    }

    /// Rests while a replica of one of the two databases has more bytes of the log than this yet to replay: on PostgreSQL,
    /// for which the user must be a member of `pg_read_all_stats`. A primary of MySQL or MariaDB does not know it.
    #[must_use]
    pub fn behind_max(mut self, bytes: u64) -> Self {
        self.behind_max = Some(bytes);
        self
    }

    /// Why the jobs should rest now.
    pub(crate) async fn found(&self, pair: &Pair) -> Option<String> {
        if let Some(file) = &self.file {
            match file.try_exists() {
                Ok(false) => {}
                Ok(true) => return Some(format!("the file {} is there", file.display())),
                Err(error) => return Some(format!("the file {} cannot be looked for: {error}", file.display())),
            }
        }
        if self.active_max.is_none() && self.behind_max.is_none() {
            return None;
        }
        let (old, new) = tokio::join!(self.of(pair.old.as_ref()), self.of(pair.new.as_ref()));
        old.or(new)
    }

    async fn of(&self, database: &dyn Database) -> Option<String> {
        let why = match database.upkeep().strain(Instant::now() + PATIENCE).await {
            Ok(strain) => self.exceeded(strain)?,
            Err(error) => format!("how busy it is cannot be told: {error}"),
        };
        Some(format!("{}: {why}", database.summary()))
    }

    fn exceeded(&self, strain: Strain) -> Option<String> {
        let of = |bound: Option<u64>, found: Option<u64>, what: &str| match (bound?, found) {
            (bound, Some(found)) if found <= bound => None,
            (bound, Some(found)) => Some(format!("{found} {what}, more than {bound}")),
            (_, None) => Some(format!("the server does not tell this user how many {what} there are")),
        };
        of(self.active_max, strain.active, "statements run")
            .or_else(|| of(self.behind_max, strain.behind, "bytes a replica has yet to replay"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bound_that_is_exceeded_or_cannot_be_looked_at_makes_jobs_rest() {
        let strain = |active, behind| Strain { active, behind };
        let brakes = Brakes::new().active_max(10).behind_max(1_000);
        assert_eq!(brakes.exceeded(strain(Some(10), Some(1_000))), None);
        assert!(brakes.exceeded(strain(Some(11), Some(0))).unwrap().contains("11 statements run, more than 10"));
        assert!(brakes.exceeded(strain(Some(0), Some(1_001))).unwrap().contains("1001 bytes"));
        assert!(brakes.exceeded(strain(None, Some(0))).unwrap().contains("does not tell"));
        assert!(brakes.exceeded(strain(Some(0), None)).unwrap().contains("does not tell"));
        assert_eq!(Brakes::new().active_max(1).exceeded(strain(Some(1), None)), None, "nobody asked for the other");
    }
}
