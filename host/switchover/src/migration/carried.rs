//! Whether one table can hold everything that another one can, looked at before the first row.

use std::time::{Duration, Instant};

use switchover_core::capabilities::{Database, DatabaseError};
use switchover_core::{Column, columns_carried};

use super::error::CompareError;

/// Refuses a pair whose new table cannot hold everything that the old one can: keys, payloads, other columns.
///
/// It waits at most `patience` for each database.
///
/// # Errors
///
/// [`CompareError::NotCarried`] names the column; [`CompareError::Database`] if one of them does not answer.
pub async fn ensure_carried(old: &dyn Database, new: &dyn Database, patience: Duration) -> Result<(), CompareError> {
    let refused = |message: String| CompareError::NotCarried { message };
    old.layout().carried_by(&new.layout()).map_err(|error| refused(error.to_string()))?;
    let (of_old, of_new) = (columns(old, patience).await?, columns(new, patience).await?);
    columns_carried(&of_old, &of_new).map_err(refused)
}

async fn columns(database: &dyn Database, patience: Duration) -> Result<Vec<Column>, CompareError> {
    let failed = |source: DatabaseError| CompareError::Database { database: database.summary(), source };
    database.upkeep().other_columns(Instant::now() + patience).await.map_err(failed)
}
