//! The session table made in one call, for whoever has no deadlines of their own yet.

use std::time::{Duration, Instant};

use switchover_core::capabilities::{Database, DatabaseError};

/// Making a small table takes milliseconds; an index over a large one, or a lock that somebody holds, may take long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes the session table where it is missing, and changes nothing that is there: a service may call it at each start. Answers the
/// statements that were needed.
///
/// It waits at most 30 s; [`Upkeep::create_schema`](switchover_core::capabilities::Upkeep::create_schema) takes another deadline. Whoever may not make tables uses `switchover init
/// DATABASE --list`, which shows the statements, or Django's `migrate`.
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
/// Those of [`Upkeep::create_schema`](switchover_core::capabilities::Upkeep::create_schema): [`DatabaseError::Corrupt`] if a table of this name is not Django's.
pub async fn prepare_table(database: &dyn Database) -> Result<Vec<String>, DatabaseError> {
    database.upkeep().create_schema(Instant::now() + PATIENCE).await
}
