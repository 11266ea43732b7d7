//! Deletes sessions of the old table that are still as they were checked, and leaves the others.

use std::collections::HashSet;
use std::time::Instant;

use anyhow::{Context, Result};
use switchover::capabilities::{Database, DatabaseError, Terms, Write, WriteOutcome};
use switchover::migration::tool_patience;
use switchover::{Limits, SessionKey};

use super::check::print_of;

/// Deletes the rows of these keys that have one of the prints, and adds the keys of those that it deleted to `deleted`,
/// also if it fails. Returns why a row was not deleted; `None`: the database refused none, and others held none.
///
/// A batch that one row spoils is halved, and the halves wait for locks no longer than a visitor would.
pub(crate) async fn delete(
    old: &dyn Database,
    keys: &[SessionKey],
    prints: &HashSet<u64>,
    limits: &Limits,
    deleted: &mut Vec<SessionKey>,
) -> Result<Option<String>> {
    let (mut waiting, mut reason) = (vec![(keys, tool_patience(limits.write_deadline))], None);
    while let Some((these, patience)) = waiting.pop() {
        if these.is_empty() {
            continue;
        }
        match delete_unchanged(old, these, prints, Terms::by(Instant::now() + patience)).await {
            Ok(keys) => deleted.extend(keys),
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

/// One transaction. A row that somebody writes meanwhile is locked, read as it has become, and kept.
async fn delete_unchanged(
    old: &dyn Database,
    keys: &[SessionKey],
    prints: &HashSet<u64>,
    terms: Terms,
) -> Result<Vec<SessionKey>, DatabaseError> {
    let mut sorted = keys.to_vec();
    sorted.sort_unstable();
    let mut transaction = old.begin(terms).await?;
    let rows = transaction.lock(sorted).await?;
    let unchanged = rows.into_iter().flatten().filter(|row| prints.contains(&print_of(row)));
    let mut unchanged: Vec<_> = unchanged.map(|row| row.key).collect();
    if unchanged.is_empty() {
        transaction.roll_back().await;
        return Ok(unchanged);
    }
    let outcomes = transaction.write(unchanged.iter().cloned().map(Write::Delete).collect()).await?;
    transaction.commit().await?;
    let mut outcomes = outcomes.into_iter();
    unchanged.retain(|_| matches!(outcomes.next(), Some(WriteOutcome::Done(_))));
    Ok(unchanged)
}
