//! Makes the session table in one call, for callers that have no deadline of their own.

use std::time::{Duration, Instant};

use switchover_core::capabilities::{Database, DatabaseError};

/// A small table is made in milliseconds. An index on a large table, or a lock that somebody holds, may take long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes the session table and its indexes if they are missing. It changes nothing that exists, so a service may call
/// it at each start. Returns the statements that were needed.
///
/// It waits at most 30 s; [`Upkeep::create_schema`](switchover_core::capabilities::Upkeep::create_schema) takes another
/// deadline. An account that must not make tables needs another way: `switchover init DATABASE --list` shows the
/// statements, and Django's `migrate` makes Django's table.
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use switchover_backends::{Sqlite, prepare_table};
///
/// # let folder = tempfile::tempdir()?;
/// let database = Sqlite::builder(folder.path().join("sessions.sqlite3")).create_if_missing(true).open().await?;
/// assert!(!prepare_table(&database).await?.is_empty());
/// assert!(prepare_table(&database).await?.is_empty());
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "sqlite"))] fn main() {}
/// ```
///
/// # Errors
///
/// Those of [`Upkeep::create_schema`](switchover_core::capabilities::Upkeep::create_schema): for example
/// [`DatabaseError::Corrupt`] if a table of this name does not match the layout.
pub async fn prepare_table(database: &dyn Database) -> Result<Vec<String>, DatabaseError> {
    database.upkeep().create_schema(Instant::now() + PATIENCE).await
}
