//! Empties a table in batches, and checks each batch against the new database right before it deletes the batch.

use std::collections::HashSet;
use std::time::Instant;

use anyhow::{Context, Result};
use switchover::capabilities::Database;
use switchover::migration::tool_deadline;
use switchover::migration::{Stride, look};
use switchover::{Limits, Session, SessionKey};

use super::check::print_of;
use super::delete::delete;
use crate::batches::{Batches, COUNT_WAIT, Stop, delete_expired};

/// The progress so far.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Emptied {
    /// The deleted unexpired rows, which the new database had.
    pub(crate) in_both: u64,
    /// The deleted expired rows.
    pub(crate) expired: u64,
    /// The rows that are left: the new database did not have them, they were not there at the check, the database
    /// refuses to delete them, or others hold them.
    pub(crate) kept: u64,
    /// Why a row could not be deleted, the last one of them.
    pub(crate) reason: Option<String>,
}

impl Emptied {
    /// All deleted rows.
    pub(crate) fn deleted(&self) -> u64 {
        self.in_both + self.expired
    }
}

/// Deletes until no deletable row is left, or until a stop is asked for. `prints`: the checked rows; no other living
/// row is deleted. `emptied` is correct even after an error.
pub(crate) async fn empty(
    (old, new): (&dyn Database, &dyn Database),
    prints: &HashSet<u64>,
    (batches, limits): (Batches, &Limits),
    stop: &Stop,
    emptied: &mut Emptied,
    rows_deleted: &(dyn Fn(u64) + Sync),
) -> Result<()> {
    let (mut after, mut stride) = (None, Stride::default());
    while !stop.is_asked() {
        let page = old.upkeep().scan(after, batches.rows, tool_deadline(limits.read_deadline)).await;
        let page = page.with_context(|| old.summary())?;
        let checked = |session: &&Session| prints.contains(&print_of(session));
        let keys: Vec<_> = page.sessions.iter().filter(checked).map(|session| session.key.clone()).collect();
        let mut deletes = Vec::with_capacity(keys.len());
        let mut left = &keys[..];
        while let Some(these) = stride.take(&mut left) {
            let found = look(new, these, &mut stride, limits).await?;
            let has = |key: &&SessionKey| matches!(found.get(*key), Some(Ok(_)));
            deletes.extend(these.iter().filter(has).cloned());
        }
        let mut deleted = Vec::with_capacity(deletes.len());
        let done = delete(old, &deletes, prints, limits, &mut deleted).await;
        emptied.kept += (page.sessions.len() - deleted.len()) as u64;
        emptied.in_both += deleted.len() as u64;
        rows_deleted(deleted.len() as u64);
        emptied.reason = done?.or(emptied.reason.take());
        after = page.next;
        if after.is_none() || !stop.pause(batches).await {
            break;
        }
    }
    let mut count = |rows| {
        emptied.expired += rows;
        rows_deleted(rows);
    };
    let expired = old.upkeep().expired_left(None, Instant::now() + COUNT_WAIT).await;
    let expired = expired.with_context(|| old.summary())?.expired;
    let refused = delete_expired(old, (None, expired), batches, limits, stop, &mut count).await?;
    emptied.reason = refused.reason.or(emptied.reason.take());
    let left = left(old, batches, limits, stop).await;
    let left = left.context("cannot check whether rows came during the run: run it again")?;
    emptied.kept = left.unwrap_or(emptied.kept);
    Ok(())
}

/// Counts all rows of any kind. `None`: a stop was asked for before the count ended.
async fn left(old: &dyn Database, batches: Batches, limits: &Limits, stop: &Stop) -> Result<Option<u64>> {
    let (mut left, mut after) = (0, None);
    while !stop.is_asked() {
        let page = old.upkeep().scan(after, batches.rows, tool_deadline(limits.read_deadline)).await;
        let page = page.with_context(|| old.summary())?;
        left += (page.sessions.len() + page.unreadable.len()) as u64 + page.expired;
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
    use switchover::capabilities::{Terms, Write};
    use switchover::{Payload, SessionKey, Timestamp, expires_in};
    use tokio::runtime::Handle;

    use super::*;

    fn deadline() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn batch_is_checked_again_and_what_only_the_old_one_has_stays() {
        let (old, new) = (MemoryDatabase::new(), MemoryDatabase::new());
        let far = expires_in(Duration::from_secs(600));
        let session = |number: u64, expires_at| {
            let key = SessionKey::parse(&format!("key{number:05}")).unwrap();
            Session::new(key, Payload::from("v1"), expires_at)
        };
        let put = |sessions: Vec<Session>| sessions.into_iter().map(Write::Upsert).collect::<Vec<_>>();
        let olds = (0..25).map(|number| session(number, far)).chain([session(99, Timestamp::from_micros(1))]);
        // A row that was not checked stays, although the new database has it.
        let prints = (0..25).filter(|number| *number != 11).map(|number| print_of(&session(number, far))).collect();
        old.write(put(olds.collect()), Terms::by(deadline())).await.unwrap();
        let mut news: Vec<_> = (0..25).filter(|number| *number != 7).map(|number| session(number, far)).collect();
        // A row that has ended in the new database counts as missing there.
        news[3].expires_at = Timestamp::from_micros(1);
        new.write(put(news), Terms::by(deadline())).await.unwrap();

        let mut emptied = Emptied::default();
        // A row comes back behind the cursor.
        let write_behind = |_| {
            let write = old.write(put(vec![session(0, far)]), Terms::by(deadline()));
            tokio::task::block_in_place(|| Handle::current().block_on(write)).unwrap();
        };
        let how = (Batches::of(4), &Limits::default());
        empty((&old, &new), &prints, how, &Stop::never(), &mut emptied, &write_behind).await.unwrap();
        assert_eq!(emptied, Emptied { in_both: 22, expired: 1, kept: 4, reason: None });
        let left = old.upkeep().scan(None, 100, deadline()).await.unwrap().sessions;
        let left: Vec<_> = left.iter().map(|session| session.key.expose()).collect();
        assert_eq!(left, ["key00000", "key00003", "key00007", "key00011"]);
    }
}
