//! Checks whether the old table may be emptied: every living session of it lives in the new table, and nobody writes
//! it.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use switchover::capabilities::{Database, DatabaseError, Terms, Unreadable, Write};
use switchover::migration::tool_deadline;
use switchover::migration::{PAGE, SHOWN_MAX, SUSPECTS_MAX, Stride, look};
use switchover::{Limits, Payload, Session, SessionKey, Timestamp, expires_in};

/// How long the new database may take to insert a row that nobody holds, and how often to try.
const LOCK_WAIT: Duration = Duration::from_millis(500);
const LOCK_TRIES: usize = 3;
/// How long the count of expired rows may take. It reads the whole table, and only informs the operator.
const COUNT_WAIT: Duration = Duration::from_secs(600);
const MINUTE: u64 = 60_000_000;
/// The minutes of a year. A later end counts as this one.
const MINUTES_MAX: u64 = 366 * 24 * 60;

/// The result of a check.
#[derive(Debug, Default)]
pub(crate) struct Check {
    /// The unexpired rows of the old table.
    pub(crate) rows: u64,
    /// The expired rows of the old table. `None`: the count would have taken too long; they may be deleted in any case.
    pub(crate) expired_rows: Option<u64>,
    /// The unexpired rows that the new database lacked both times.
    pub(crate) only_old: u64,
    /// The latest end of these rows.
    pub(crate) last_only_old: Option<Timestamp>,
    /// Unreadable rows of the old table, and its living rows whose row in the new table is unreadable.
    pub(crate) unreadable: u64,
    /// The first unreadable rows.
    pub(crate) shown: Vec<Unreadable>,
    /// A print of each unexpired row. Only these rows count as checked.
    pub(crate) prints: HashSet<u64>,
    /// Whether rows came, went or changed during the check.
    pub(crate) written: bool,
    /// Whether locks show that both are one database.
    pub(crate) same: bool,
}

impl Check {
    /// Why the table must not be emptied. `None`: it may be emptied.
    pub(crate) fn refusal(&self) -> Option<&'static str> {
        if self.same {
            return Some(
                "an insert in one database makes the other wait: they are the same database, or one file, or somebody \
                 else locks the new one all the time",
            );
        }
        if self.written {
            return Some("the old table is being written: let the service use only the new one first");
        }
        if self.only_old > 0 {
            return Some(
                "sessions live only there: they were not carried over, or were deleted in the new database afterwards; \
                 carry them over, or wait until they expire",
            );
        }
        (self.unreadable > 0).then_some("rows cannot be read, so it is unknown whether they live: check them by hand")
    }
}

/// Looks twice, a write deadline apart. Reports each further number of read rows to `rows_read`.
pub(crate) async fn check(
    old: &dyn Database,
    new: &dyn Database,
    limits: &Limits,
    rows_read: &mut (dyn FnMut(u64) + Send),
) -> Result<Check> {
    let same = are_same(old, new, limits).await?;
    // Both looks use the same value. Otherwise a row of the far future would seem to change.
    let latest = expires_in(Duration::ZERO).as_micros() / MINUTE + MINUTES_MAX;
    let first = Look::at(old, new, None, latest, limits, rows_read).await?;
    tokio::time::sleep(limits.write_deadline).await;
    let second = Look::at(old, new, Some(&first.only_old), latest, limits, rows_read).await?;
    let expired_rows = match old.upkeep().statistics(Instant::now() + COUNT_WAIT).await {
        Ok(counted) => Some(counted.expired_rows),
        Err(DatabaseError::Timeout) => None,
        Err(error) => return Err(error).with_context(|| old.summary()),
    };
    Ok(Check {
        rows: second.rows,
        expired_rows,
        only_old: second.only_old.len() as u64,
        last_only_old: second.last_only_old,
        unreadable: second.unreadable.max(first.unreadable),
        written: first.differs_from(&second, expires_in(Duration::ZERO)),
        shown: if second.unreadable > 0 { second.shown } else { first.shown },
        prints: second.prints,
        same,
    })
}

/// The print of a row, which identifies it later.
pub(crate) fn print_of(session: &Session) -> u64 {
    let mut hasher = DefaultHasher::new();
    (session.key.expose(), session.payload.expose(), session.expires_at.as_micros(), &session.others).hash(&mut hasher);
    hasher.finish()
}

/// One look at the whole old table.
#[derive(Default)]
struct Look {
    rows: u64,
    only_old: HashSet<SessionKey>,
    last_only_old: Option<Timestamp>,
    unreadable: u64,
    shown: Vec<Unreadable>,
    prints: HashSet<u64>,
    /// For each minute, a sum over the rows that end in it, from key, payload and end.
    sums: BTreeMap<u64, u64>,
}

impl Look {
    /// `suspects`: asks the new database only for these keys. `None`: asks for every row. `latest`: the minute that
    /// stands for all later minutes.
    async fn at(
        old: &dyn Database,
        new: &dyn Database,
        suspects: Option<&HashSet<SessionKey>>,
        latest: u64,
        limits: &Limits,
        rows_read: &mut (dyn FnMut(u64) + Send),
    ) -> Result<Self> {
        let (mut look, mut after, mut stride) = (Self::default(), None, Stride::default());
        loop {
            let page = old.upkeep().scan(after, PAGE, tool_deadline(limits.read_deadline)).await;
            let page = page.with_context(|| old.summary())?;
            rows_read(page.sessions.len() as u64);
            page.unreadable.into_iter().for_each(|row| look.add_unreadable(row));
            page.sessions.iter().for_each(|session| look.add(session, latest));
            let asked = page.sessions.iter().filter(|session| suspects.is_none_or(|keys| keys.contains(&session.key)));
            let asked: Vec<_> = asked.map(|session| (session.key.clone(), session.expires_at)).collect();
            look.ask(new, &asked, &mut stride, limits).await?;
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

    async fn ask(
        &mut self,
        new: &dyn Database,
        mut asked: &[(SessionKey, Timestamp)],
        stride: &mut Stride,
        limits: &Limits,
    ) -> Result<()> {
        while let Some(these) = stride.take(&mut asked) {
            let keys: Vec<_> = these.iter().map(|(key, _)| key.clone()).collect();
            let mut found = look(new, &keys, stride, limits).await?;
            for (key, expires_at) in these {
                match found.remove(key) {
                    Some(Ok(_)) => {}
                    Some(Err(row)) => self.add_unreadable(row),
                    None => {
                        self.last_only_old = self.last_only_old.max(Some(*expires_at));
                        self.only_old.insert(key.clone());
                    }
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, session: &Session, latest: u64) {
        self.rows += 1;
        let print = print_of(session);
        self.prints.insert(print);
        let sum = self.sums.entry((session.expires_at.as_micros() / MINUTE).min(latest)).or_default();
        *sum = sum.wrapping_add(print);
    }

    fn add_unreadable(&mut self, row: Unreadable) {
        self.unreadable += 1;
        if self.shown.len() < SHOWN_MAX {
            self.shown.push(row);
        }
    }

    /// Whether the two looks differ in a row that has not ended at `now`.
    fn differs_from(&self, other: &Self, now: Timestamp) -> bool {
        let alive = now.as_micros() / MINUTE + 1..;
        self.sums.range(alive.clone()).ne(other.sums.range(alive))
    }
}

/// Whether an uncommitted insert in the old database makes an insert of the same key in the new one wait. Then both are
/// the same. Names and addresses cannot show that, but locks can, and this lock needs no existing row.
async fn are_same(old: &dyn Database, new: &dyn Database, limits: &Limits) -> Result<bool> {
    for _ in 0..LOCK_TRIES {
        let probe = probe(Duration::from_secs(1))?;
        let insert = || vec![Write::Insert(probe.clone())];
        let mut at_old = old.begin(Terms::by(tool_deadline(limits.write_deadline))).await?;
        at_old.write(insert()).await.with_context(|| old.summary())?;
        let mut at_new = new.begin(Terms::by(Instant::now() + LOCK_WAIT)).await?;
        let probed = at_new.write(insert()).await;
        at_old.roll_back().await;
        at_new.roll_back().await;
        match probed {
            Ok(_) => return Ok(false),
            Err(DatabaseError::Conflict { .. } | DatabaseError::Timeout) => {}
            Err(error) => return Err(error).with_context(|| new.summary()),
        }
    }
    Ok(true)
}

/// A row of the program's own, under a new key that nobody else knows.
pub(crate) fn probe(lifetime: Duration) -> Result<Session> {
    let payload = Payload::from("a row of `switchover purge`, which takes it away again");
    Ok(Session::new(SessionKey::random(), payload, expires_in(lifetime)))
}

#[cfg(test)]
mod tests {
    use switchover::backends::MemoryDatabase;

    use super::*;

    fn session(key: &str, payload: &str, seconds: u64) -> Session {
        let (key, payload) = (SessionKey::parse(key).unwrap(), Payload::from(payload));
        Session::new(key, payload, expires_in(Duration::from_secs(seconds)))
    }

    async fn put(database: &MemoryDatabase, sessions: &[Session]) {
        let writes = sessions.iter().cloned().map(Write::Upsert).collect();
        database.write(writes, Terms::by(Instant::now() + Duration::from_secs(10))).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_in_both_may_go_whatever_the_new_one_made_of_it() {
        let (old, new) = (MemoryDatabase::new(), MemoryDatabase::new());
        put(&old, &[session("aaaaaaaa", "v1", 600)]).await;
        put(&new, &[session("aaaaaaaa", "v2", 900), session("bbbbbbbb", "v1", 600)]).await;
        let checked = check(&old, &new, &Limits::default(), &mut |_| {}).await.unwrap();
        assert!(checked.refusal().is_none(), "{checked:?}");
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
        let (mut ignore, limits) = (|_| {}, Limits::default());
        let (checked, ()) = tokio::join!(check(&old, &new, &limits, &mut ignore), write);
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
            let (mut ignore, limits) = (|_| {}, Limits::default());
            let (checked, ()) = tokio::join!(check(&old, &new, &limits, &mut ignore), write);
            assert!(checked.unwrap().refusal().unwrap().contains("being written"));
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_database_under_two_names_is_found_by_its_locks_without_a_row() {
        let old = MemoryDatabase::new();
        let checked = check(&old, &old.clone(), &Limits::default(), &mut |_| {}).await.unwrap();
        assert!(checked.refusal().unwrap().contains("the same"), "{checked:?}");
    }
}
