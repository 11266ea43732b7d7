//! Empties a table batch by batch, each batch checked against the new database right before it goes.

use anyhow::{Context, Result};
use switchover::capabilities::{Database, Write, WriteOutcome};

use crate::batches::{Batches, Stop, delete_expired, write_deadline};
use crate::compare::{load, read_deadline};

/// What was done so far.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Emptied {
    /// Unexpired rows that were deleted, since the new database had them.
    pub(crate) in_both: u64,
    /// Expired rows that were deleted.
    pub(crate) expired: u64,
    /// Unexpired rows that are left: the new database did not have them, or they came behind where it looked.
    pub(crate) kept: u64,
}

impl Emptied {
    /// All rows that were deleted.
    pub(crate) fn deleted(&self) -> u64 {
        self.in_both + self.expired
    }
}

/// Deletes until nothing is left that may go, or until it is asked to stop. `emptied` is right also after an error.
pub(crate) async fn empty(
    old: &dyn Database,
    new: &dyn Database,
    batches: Batches,
    stop: &Stop,
    emptied: &mut Emptied,
    rows_deleted: &(dyn Fn(u64) + Sync),
) -> Result<()> {
    let mut after = None;
    while !stop.is_asked() {
        let page = old.scan(after, batches.rows, read_deadline()).await.with_context(|| old.summary())?;
        let keys: Vec<_> = page.sessions.into_iter().map(|session| session.key).collect();
        let found = load(new, &keys).await?;
        let rows = keys.len();
        let deletes: Vec<_> = keys.into_iter().filter(|key| found.contains_key(key)).map(Write::Delete).collect();
        emptied.kept += (rows - deletes.len()) as u64;
        if !deletes.is_empty() {
            let outcomes = old.write(deletes, None, write_deadline()).await.with_context(|| old.summary())?;
            let deleted = outcomes.iter().filter(|outcome| matches!(outcome, WriteOutcome::Done(_))).count() as u64;
            emptied.in_both += deleted;
            rows_deleted(deleted);
        }
        after = page.next;
        if after.is_none() || !stop.pause(batches).await {
            break;
        }
    }
    let mut count = |rows| {
        emptied.expired += rows;
        rows_deleted(rows);
    };
    delete_expired(old, None, batches, stop, &mut count).await?;
    let left = left(old, batches, stop).await.context("it cannot be told whether rows came meanwhile: run it again")?;
    emptied.kept = left.unwrap_or(emptied.kept);
    Ok(())
}

/// How many rows there are that are unexpired, or cannot be read. `None`: it was asked to stop before it knew.
async fn left(old: &dyn Database, batches: Batches, stop: &Stop) -> Result<Option<u64>> {
    let (mut left, mut after) = (0, None);
    while !stop.is_asked() {
        let page = old.scan(after, batches.rows, read_deadline()).await.with_context(|| old.summary())?;
        left += (page.sessions.len() + page.corrupt.len()) as u64;
        after = page.next;
        if after.is_none() {
            return Ok(Some(left));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use switchover::backends::MemoryDatabase;
    use switchover::{Payload, Session, SessionKey, Timestamp, expires_in};
    use tokio::runtime::Handle;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn batch_is_checked_again_and_what_only_the_old_one_has_stays() {
        let (old, new) = (MemoryDatabase::new(), MemoryDatabase::new());
        let far = expires_in(Duration::from_secs(600));
        let session = |number: u64, expires_at| Session {
            key: SessionKey::parse(&format!("key{number:05}")).unwrap(),
            payload: Payload::parse("v1").unwrap(),
            expires_at,
        };
        let put = |sessions: Vec<Session>| sessions.into_iter().map(Write::Upsert).collect::<Vec<_>>();
        let olds = (0..25).map(|number| session(number, far)).chain([session(99, Timestamp::from_micros(1))]);
        old.write(put(olds.collect()), None, read_deadline()).await.unwrap();
        let mut news: Vec<_> = (0..25).filter(|number| *number != 7).map(|number| session(number, far)).collect();
        // One that has ended in the new database is one that it does not have.
        news[3].expires_at = Timestamp::from_micros(1);
        new.write(put(news), None, read_deadline()).await.unwrap();

        let mut emptied = Emptied::default();
        // One comes back behind where it looked.
        let write_behind = |_| {
            let write = old.write(put(vec![session(0, far)]), None, read_deadline());
            tokio::task::block_in_place(|| Handle::current().block_on(write)).unwrap();
        };
        empty(&old, &new, Batches::of(4), &Stop::never(), &mut emptied, &write_behind).await.unwrap();
        assert_eq!(emptied, Emptied { in_both: 23, expired: 1, kept: 3 });
        let left = old.scan(None, 100, read_deadline()).await.unwrap().sessions;
        let left: Vec<_> = left.iter().map(|session| session.key.expose()).collect();
        assert_eq!(left, ["key00000", "key00003", "key00007"]);
    }
}
