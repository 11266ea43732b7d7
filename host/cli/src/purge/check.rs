//! Whether the old table may be emptied: every session that lives in it lives in the new one, and nobody writes it.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use switchover::capabilities::{Database, DatabaseError, Write, WriteOutcome};
use switchover::{Limits, Session, SessionKey, Timestamp, expires_in};

use crate::compare::{PAGE, SUSPECTS_MAX, load, read_deadline};

/// How long the new database may take to lock a row that nobody holds; and how often it is asked.
const LOCK_WAIT: Duration = Duration::from_millis(500);
const LOCK_TRIES: usize = 3;
/// How long the count of expired rows may take, which is for the operator's eyes alone: it reads the whole table.
const COUNT_WAIT: Duration = Duration::from_secs(600);
const MINUTE: u64 = 60_000_000;
/// Minutes of a year: what ends later counts as ending then.
const MINUTES_MAX: u64 = 366 * 24 * 60;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Check {
    /// Unexpired rows of the old table.
    pub(crate) rows: u64,
    /// Rows of it that have expired. `None`: counting them would have taken too long, and they go in any case.
    pub(crate) expired_rows: Option<u64>,
    /// Unexpired rows that the new database did not have, twice.
    pub(crate) only_old: u64,
    /// When the last of them ends.
    pub(crate) last_only_old: Option<Timestamp>,
    /// Rows that could not be read.
    pub(crate) unreadable: u64,
    /// Rows came, went or changed while it was checked.
    pub(crate) written: bool,
    /// Both are one database, as far as locks tell.
    pub(crate) same: bool,
}

impl Check {
    /// Why it must not be emptied. `None`: it may.
    pub(crate) fn refusal(&self) -> Option<&'static str> {
        if self.same {
            return Some(
                "a lock in one database holds in the other: they are the same, or one file, or the new one is locked by \
                 somebody else all the time",
            );
        }
        if self.written {
            return Some("the old table is being written: point the service at the new one alone first");
        }
        if self.only_old > 0 {
            return Some(
                "sessions live only there: they were not carried over, or were deleted in the new database since; carry them \
                 over, or wait until they expire",
            );
        }
        (self.unreadable > 0).then_some("rows cannot be read, so nobody knows whether they live: look at them by hand")
    }

    /// Whether it may be emptied.
    pub(crate) fn is_safe(&self) -> bool {
        self.refusal().is_none()
    }
}

/// Looks twice, with a write deadline in between. `rows_read` is told how many more rows were read.
pub(crate) async fn check(
    old: &dyn Database,
    new: &dyn Database,
    rows_read: &mut (dyn FnMut(u64) + Send),
) -> Result<Check> {
    // One and the same for both looks, or a row of the far future would seem to move.
    let latest = expires_in(Duration::ZERO).as_micros() / MINUTE + MINUTES_MAX;
    let first = look(old, new, None, latest, rows_read).await?;
    let same = are_same(old, new, &first.samples).await?;
    tokio::time::sleep(Limits::default().write_deadline).await;
    let second = look(old, new, Some(&first.only_old), latest, rows_read).await?;
    let expired_rows = match old.statistics(Instant::now() + COUNT_WAIT).await {
        Ok(counted) => Some(counted.expired_rows),
        Err(DatabaseError::Timeout) => None,
        Err(error) => return Err(error).with_context(|| old.summary()),
    };
    Ok(Check {
        rows: second.rows,
        expired_rows,
        only_old: second.only_old.len() as u64,
        last_only_old: second.last_only_old,
        unreadable: second.unreadable,
        written: first.differs_from(&second, expires_in(Duration::ZERO)),
        same,
    })
}

/// One look at the whole old table.
#[derive(Default)]
struct Look {
    rows: u64,
    only_old: HashSet<SessionKey>,
    last_only_old: Option<Timestamp>,
    unreadable: u64,
    /// A sum over the rows that end in each minute, from key, payload and end.
    prints: BTreeMap<u64, u64>,
    samples: Vec<SessionKey>,
}

impl Look {
    fn add(&mut self, session: &Session, latest: u64) {
        self.rows += 1;
        let mut hasher = DefaultHasher::new();
        (session.key.expose(), session.payload.expose(), session.expires_at.as_micros()).hash(&mut hasher);
        let print = self.prints.entry((session.expires_at.as_micros() / MINUTE).min(latest)).or_default();
        *print = print.wrapping_add(hasher.finish());
        if self.samples.len() < LOCK_TRIES {
            self.samples.push(session.key.clone());
        }
    }

    /// Whether a row that has not ended at `now` is in one look and not the same in the other.
    fn differs_from(&self, other: &Self, now: Timestamp) -> bool {
        let alive = now.as_micros() / MINUTE + 1..;
        self.prints.range(alive.clone()).ne(other.prints.range(alive))
    }
}

/// `suspects`: ask the new database for these alone; without them for every row. `latest`: the minute that stands for all later ones.
async fn look(
    old: &dyn Database,
    new: &dyn Database,
    suspects: Option<&HashSet<SessionKey>>,
    latest: u64,
    rows_read: &mut (dyn FnMut(u64) + Send),
) -> Result<Look> {
    let mut look = Look::default();
    let mut after = None;
    loop {
        let page = old.scan(after, PAGE, read_deadline()).await.with_context(|| old.summary())?;
        rows_read(page.sessions.len() as u64);
        look.unreadable += page.corrupt.len() as u64;
        page.sessions.iter().for_each(|session| look.add(session, latest));
        let asked = page.sessions.iter().filter(|session| suspects.is_none_or(|keys| keys.contains(&session.key)));
        let asked: Vec<_> = asked.collect();
        let keys: Vec<_> = asked.iter().map(|session| session.key.clone()).collect();
        let found = load(new, &keys).await?;
        for session in asked.into_iter().filter(|session| !found.contains_key(&session.key)) {
            look.last_only_old = look.last_only_old.max(Some(session.expires_at));
            look.only_old.insert(session.key.clone());
        }
        ensure!(
            look.only_old.len() <= SUSPECTS_MAX,
            "more than {SUSPECTS_MAX} unexpired rows are only in the old database: the migration has hardly begun"
        );
        after = page.next;
        if after.is_none() {
            return Ok(look);
        }
    }
}

/// Whether a row that is locked in the old database is locked in the new one. Names and addresses cannot tell that; locks do.
async fn are_same(old: &dyn Database, new: &dyn Database, samples: &[SessionKey]) -> Result<bool> {
    let mut conflicts = false;
    for key in samples {
        let lock = || vec![Write::Lock(key.clone())];
        let held = old.hold(lock(), None, read_deadline()).await.with_context(|| old.summary())?;
        if !matches!(held.outcomes(), [WriteOutcome::Done(_)]) {
            // It has gone meanwhile, and what is not there is not locked everywhere.
            held.roll_back().await;
            continue;
        }
        let probed = new.hold(lock(), None, Instant::now() + LOCK_WAIT).await;
        held.roll_back().await;
        match probed {
            Ok(held) => {
                held.roll_back().await;
                return Ok(false);
            }
            Err(DatabaseError::Conflict { .. } | DatabaseError::Timeout) => conflicts = true,
            Err(error) => return Err(error).with_context(|| new.summary()),
        }
    }
    Ok(conflicts)
}

#[cfg(test)]
mod tests {
    use switchover::Payload;
    use switchover::backends::MemoryDatabase;

    use super::*;

    fn session(key: &str, payload: &str, seconds: u64) -> Session {
        let (key, payload) = (SessionKey::parse(key).unwrap(), Payload::parse(payload).unwrap());
        Session { key, payload, expires_at: expires_in(Duration::from_secs(seconds)) }
    }

    async fn put(database: &MemoryDatabase, sessions: &[Session]) {
        let writes = sessions.iter().cloned().map(Write::Upsert).collect();
        database.write(writes, None, read_deadline()).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_in_both_may_go_whatever_the_new_one_made_of_it() {
        let (old, new) = (MemoryDatabase::new(), MemoryDatabase::new());
        put(&old, &[session("aaaaaaaa", "v1", 600)]).await;
        put(&new, &[session("aaaaaaaa", "v2", 900), session("bbbbbbbb", "v1", 600)]).await;
        let checked = check(&old, &new, &mut |_| {}).await.unwrap();
        assert!(checked.is_safe(), "{checked:?}");
        assert_eq!((checked.rows, checked.only_old), (1, 0));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn row_that_is_only_there_twice_refuses_and_one_that_comes_in_between_does_not() {
        let (old, new) = (MemoryDatabase::new(), MemoryDatabase::new());
        let (late, lost) = (session("aaaaaaaa", "v1", 600), session("bbbbbbbb", "v1", 700));
        put(&old, &[late.clone(), lost.clone()]).await;
        let write = async {
            tokio::time::sleep(Limits::default().write_deadline / 2).await;
            put(&new, &[late]).await;
        };
        let mut ignore = |_| {};
        let (checked, ()) = tokio::join!(check(&old, &new, &mut ignore), write);
        let checked = checked.unwrap();
        assert_eq!((checked.only_old, checked.last_only_old), (1, Some(lost.expires_at)));
        assert!(checked.refusal().unwrap().contains("live only there"), "{checked:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn table_that_is_written_meanwhile_is_not_emptied() {
        for change in [session("aaaaaaaa", "v2", 600), session("bbbbbbbb", "v1", 600)] {
            let (old, new) = (MemoryDatabase::new(), MemoryDatabase::new());
            let both = [session("aaaaaaaa", "v1", 600), session("bbbbbbbb", "v1", 6_000)];
            put(&old, &both[..1]).await;
            put(&new, &both).await;
            let write = async {
                tokio::time::sleep(Limits::default().write_deadline / 2).await;
                put(&old, &[change]).await;
            };
            let mut ignore = |_| {};
            let (checked, ()) = tokio::join!(check(&old, &new, &mut ignore), write);
            assert!(checked.unwrap().refusal().unwrap().contains("being written"));
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_database_under_two_names_is_found_by_its_locks() {
        let old = MemoryDatabase::new();
        put(&old, &[session("aaaaaaaa", "v1", 600)]).await;
        let checked = check(&old, &old.clone(), &mut |_| {}).await.unwrap();
        assert!(checked.refusal().unwrap().contains("the same"), "{checked:?}");
    }
}
