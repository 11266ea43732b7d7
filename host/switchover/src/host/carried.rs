//! Refuses a policy that would move sessions into a database that cannot hold everything that the old one can.

use std::time::Duration;

use switchover_contract::Description;
use switchover_runtime::{Policy, Rejection, SwapError};

use crate::migration::{CompareError, ensure_carried as tables_carried};
use crate::store::Store;

/// Looks at the two databases that a policy which migrates names, if it names two. A database that does not answer is
/// no reason to keep a policy out: its layout was compared, and a row that the new one cannot hold is refused when it
/// is carried.
pub(super) async fn ensure_carried(
    store: &Store,
    policy: &Policy,
    description: &Description,
    patience: Duration,
) -> Result<(), SwapError> {
    let Some([old, new]) = policy.migrates_between(description) else { return Ok(()) };
    let find = |name: &str| store.databases().find(|(known, _)| known.as_str() == name).map(|(_, database)| database);
    let (Some(of_old), Some(of_new)) = (find(&old), find(&new)) else { return Ok(()) };
    match tables_carried(of_old.as_ref(), of_new.as_ref(), patience).await {
        Err(CompareError::NotCarried { message }) => Err(SwapError::Rejected {
            kind: Rejection::Layout,
            message: format!("database `{new}` cannot take over from `{old}`: {message}"),
        }),
        Err(error) => {
            tracing::warn!("the columns of `{old}` and `{new}` could not be compared: {error}");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}
