//! Deletes sessions of the old table, and leaves those that it refuses to delete or that others hold.

use std::time::Instant;

use anyhow::{Context, Result};
use switchover::capabilities::{Database, DatabaseError, Terms, Write, WriteOutcome};
use switchover::migration::tool_patience;
use switchover::{Limits, SessionKey};

/// Deletes rows, and adds the keys of those that it deleted to `deleted`, also if it fails. Returns why a row was not
/// deleted; `None`: none was refused or held. A batch that one row spoils is halved, and the halves wait for locks no
/// longer than a visitor would.
pub(crate) async fn delete(
    old: &dyn Database,
    keys: &[SessionKey],
    limits: &Limits,
    deleted: &mut Vec<SessionKey>,
) -> Result<Option<String>> {
    let (mut waiting, mut reason) = (vec![(keys, tool_patience(limits.write_deadline))], None);
    while let Some((these, patience)) = waiting.pop() {
        if these.is_empty() {
            continue;
        }
        let deletes = these.iter().cloned().map(Write::Delete).collect();
        match old.write(deletes, Terms::by(Instant::now() + patience)).await {
            Ok(outcomes) => {
                let were = these.iter().zip(&outcomes).filter(|(_, outcome)| matches!(outcome, WriteOutcome::Done(_)));
                deleted.extend(were.map(|(key, _)| key.clone()));
            }
            Err(DatabaseError::Corrupt { .. } | DatabaseError::Conflict { .. }) if these.len() > 1 => {
                let (first, second) = these.split_at(these.len() / 2);
                waiting.extend([second, first].map(|half| (half, limits.write_deadline)));
            }
            Err(DatabaseError::Corrupt { message } | DatabaseError::Conflict { message }) => reason = Some(message),
            Err(error) => return Err(error).with_context(|| old.summary()),
        }
    }
    Ok(reason)
}
