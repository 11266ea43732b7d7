//! Compares two databases that are in use. A difference counts only if it lasts longer than any write that may be under
//! way.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use switchover_core::capabilities::{Database, Unreadable};
use switchover_core::{Session, SessionKey, Timestamp};
use switchover_runtime::Limits;

use super::carried::ensure_carried;
use super::error::CompareError;
use super::look::{Stride, look, tool_deadline, tool_patience};

/// The most rows of one page. A page is one statement and holds no lock.
pub const PAGE: u32 = 500;
/// How many differences are kept for the second look. With more, the two databases are not alike.
pub const SUSPECTS_MAX: usize = 100_000;
/// How often a session that is written all the time is looked at again.
const LOOKS_MAX: u32 = 10;
/// The pause between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(50);
/// How many unreadable rows of each database are shown. All of them are counted.
pub const SHOWN_MAX: usize = 20;

/// How two databases differ on a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The new database does not have it.
    OnlyOld,
    /// The old database does not have it.
    OnlyNew,
    /// Both have it, with different contents.
    Payload,
    /// Both have it, with different ends.
    Expiry,
    /// Both have it, with something different in another column.
    Column,
    /// It changed between all looks, and was never the same in both.
    Unsettled,
}

impl Difference {
    /// The difference in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OnlyOld => "only in the old database",
            Self::OnlyNew => "only in the new database",
            Self::Payload => "payload differs",
            Self::Expiry => "expiry differs",
            Self::Column => "another column differs",
            Self::Unsettled => "written too often to compare",
        }
    }
}

/// The rows that were read from one database. Every row counts in exactly one of the three.
#[derive(Default)]
pub struct Seen {
    /// Unexpired rows.
    pub rows: u64,
    /// Rows that have expired.
    pub expired: u64,
    /// Rows that cannot be read.
    pub unreadable: u64,
    /// The first unreadable rows.
    pub shown: Vec<Unreadable>,
}

impl Seen {
    fn add_unreadable(&mut self, row: Unreadable) {
        self.unreadable += 1;
        if self.shown.len() < SHOWN_MAX {
            self.shown.push(row);
        }
    }
}

/// The result of a comparison.
#[derive(Default)]
pub struct Comparison {
    /// The rows of the old database.
    pub old: Seen,
    /// The rows of the new database.
    pub new: Seen,
    /// Sessions that are the same in both.
    pub equal: u64,
    /// Sessions that ended in both, or were deleted from both, while they were compared.
    pub gone: u64,
    /// Sessions that differ.
    pub different: Vec<(SessionKey, Difference)>,
    /// The latest end among the sessions that only the old database has.
    pub last_only_old: Option<Timestamp>,
}

impl Comparison {
    /// Whether every row was read and no session differs.
    pub fn is_alike(&self) -> bool {
        self.different.is_empty() && self.old.unreadable == 0 && self.new.unreadable == 0
    }

    /// How many sessions differ.
    pub fn differences(&self) -> u64 {
        self.different.len() as u64
    }

    /// How many sessions differ in this way.
    pub fn count(&self, kind: Difference) -> u64 {
        self.different.iter().filter(|(_, difference)| *difference == kind).count() as u64
    }

    fn add(&mut self, key: &SessionKey, difference: Difference, expires_at: Option<Timestamp>) {
        if difference == Difference::OnlyOld {
            self.last_only_old = self.last_only_old.max(expires_at);
        }
        self.different.push((key.clone(), difference));
    }
}

/// Compares two databases. Reports each further number of read rows to `rows_read`.
///
/// # Errors
///
/// [`CompareError::NotCarried`] before the first row is read, if the new table cannot hold everything that the old one
/// can; [`CompareError::Database`] if one of them does not answer; [`CompareError::TooManyDifferences`].
pub async fn compare(
    old: &dyn Database,
    new: &dyn Database,
    limits: &Limits,
    rows_read: &mut (dyn FnMut(u64) + Send),
) -> Result<Comparison, CompareError> {
    ensure_carried(old, new, tool_patience(limits.read_deadline)).await?;
    let mut comparison = Comparison::default();
    let mut suspects = Vec::new();
    for (from_old, scanned, other) in [(true, old, new), (false, new, old)] {
        let (mut after, mut stride) = (None, Stride::default());
        loop {
            let page = scanned.upkeep().scan(after, PAGE, tool_deadline(limits.read_deadline)).await;
            let page = page.map_err(|source| CompareError::Database { database: scanned.summary(), source })?;
            rows_read(page.sessions.len() as u64 + page.expired + page.unreadable.len() as u64);
            let seen = if from_old { &mut comparison.old } else { &mut comparison.new };
            seen.rows += page.sessions.len() as u64;
            seen.expired += page.expired;
            page.unreadable.into_iter().for_each(|row| seen.add_unreadable(row));
            let mut sessions = &page.sessions[..];
            while let Some(these) = stride.take(&mut sessions) {
                let keys: Vec<_> = these.iter().map(|session| session.key.clone()).collect();
                let mut found = look(other, &keys, &mut stride, limits).await?;
                for session in these {
                    match found.remove(&session.key) {
                        // Rows that both have were compared in the first direction.
                        Some(Ok(twin)) if from_old && twin == *session => comparison.equal += 1,
                        Some(Ok(_)) if !from_old => {}
                        // The other direction finds it.
                        Some(Err(_)) => {}
                        None | Some(Ok(_)) => suspects.push(session.key.clone()),
                    }
                }
            }
            if suspects.len() > SUSPECTS_MAX {
                return Err(CompareError::TooManyDifferences { max: SUSPECTS_MAX });
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    settle(old, new, limits, suspects, &mut comparison).await?;
    Ok(comparison)
}

/// Looks a second time, after every write that was under way at the first look has ended.
async fn settle(
    old: &dyn Database,
    new: &dyn Database,
    limits: &Limits,
    mut suspects: Vec<SessionKey>,
    comparison: &mut Comparison,
) -> Result<(), CompareError> {
    suspects.sort_unstable();
    suspects.dedup();
    if suspects.is_empty() {
        return Ok(());
    }
    tokio::time::sleep(limits.write_deadline).await;
    let mut before: HashMap<SessionKey, u64> = HashMap::new();
    for looks in 0..=LOOKS_MAX {
        let (mut unsettled, mut stride, mut left) = (Vec::new(), Stride::default(), &suspects[..]);
        while let Some(keys) = stride.take(&mut left) {
            let mut olds = look(old, keys, &mut stride, limits).await?;
            let mut news = look(new, keys, &mut stride, limits).await?;
            for key in keys {
                let (old, new) = match (olds.remove(key).transpose(), news.remove(key).transpose()) {
                    (Ok(old), Ok(new)) => (old, new),
                    (old, new) => {
                        old.err().into_iter().for_each(|row| comparison.old.add_unreadable(row));
                        new.err().into_iter().for_each(|row| comparison.new.add_unreadable(row));
                        continue;
                    }
                };
                let mut print = DefaultHasher::new();
                let parts = |session: &Session| (session.payload.clone(), session.expires_at, session.others.clone());
                (old.as_ref().map(parts), new.as_ref().map(parts)).hash(&mut print);
                let print = print.finish();
                let difference = match (&old, &new) {
                    (None, None) => None,
                    (Some(_), None) => Some(Difference::OnlyOld),
                    (None, Some(_)) => Some(Difference::OnlyNew),
                    (Some(old), Some(new)) if old.payload != new.payload => Some(Difference::Payload),
                    (Some(old), Some(new)) if old.expires_at != new.expires_at => Some(Difference::Expiry),
                    (Some(old), Some(new)) if old.others != new.others => Some(Difference::Column),
                    (Some(_), Some(_)) => None,
                };
                let expires_at = old.as_ref().map(|session| session.expires_at);
                match difference {
                    None if old.is_none() => comparison.gone += 1,
                    None => comparison.equal += 1,
                    // The same difference twice: nobody is writing the session, so the difference is real.
                    Some(difference) if before.get(key) == Some(&print) => comparison.add(key, difference, expires_at),
                    Some(_) if looks == LOOKS_MAX => comparison.add(key, Difference::Unsettled, expires_at),
                    Some(_) => {
                        before.insert(key.clone(), print);
                        unsettled.push(key.clone());
                    }
                }
            }
        }
        suspects = unsettled;
        if suspects.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
    Ok(())
}

#[cfg(test)]
#[cfg(feature = "memory")]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use switchover_backends::MemoryDatabase;
    use switchover_core::capabilities::{Terms, Write};
    use switchover_core::{Payload, expires_in};

    use super::*;

    fn session(key: &str, payload: &str, expires_at: Timestamp) -> Session {
        Session::new(SessionKey::parse(key).unwrap(), Payload::from(payload), expires_at)
    }

    async fn put(database: &dyn Database, sessions: &[Session]) {
        let writes = sessions.iter().cloned().map(Write::Upsert).collect();
        database.write(writes, Terms::by(Instant::now() + Duration::from_secs(10))).await.unwrap();
    }

    async fn both(old: &[Session], new: &[Session]) -> (Arc<MemoryDatabase>, Arc<MemoryDatabase>) {
        let databases = (Arc::new(MemoryDatabase::new()), Arc::new(MemoryDatabase::new()));
        put(databases.0.as_ref(), old).await;
        put(databases.1.as_ref(), new).await;
        databases
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_kind_of_difference_is_found() {
        let (far, later) = (expires_in(Duration::from_secs(60)), expires_in(Duration::from_secs(90)));
        let past = Timestamp::from_micros(1);
        let (old, new) = both(
            &[
                session("equal000", "v1", far),
                session("onlyold1", "v1", far),
                session("onlyold2", "v1", later),
                session("payload0", "v1", far),
                session("expiry00", "v1", far),
                session("expired0", "v1", past),
            ],
            &[
                session("equal000", "v1", far),
                session("payload0", "v2", far),
                session("expiry00", "v1", later),
                session("onlynew0", "v1", far),
            ],
        )
        .await;
        let (mut rows, limits) = (0, Limits::default());
        let comparison = compare(old.as_ref(), new.as_ref(), &limits, &mut |more| rows += more).await.unwrap();
        assert_eq!((comparison.old.rows, comparison.new.rows, comparison.equal, rows), (5, 4, 1, 10));
        assert_eq!((comparison.old.expired, comparison.new.expired), (1, 0));
        let counts = [Difference::OnlyOld, Difference::OnlyNew, Difference::Payload, Difference::Expiry];
        assert_eq!(counts.map(|kind| comparison.count(kind)), [2, 1, 1, 1]);
        assert_eq!(comparison.last_only_old, Some(later));
    }

    /// This waits for the configured deadline and not the default one, because a write may take that long.
    #[tokio::test(flavor = "multi_thread")]
    async fn difference_that_does_not_last_does_not_count() {
        let far = expires_in(Duration::from_secs(60));
        let saved = session("saved000", "v2", far);
        let mut limits = Limits::default();
        limits.write_deadline *= 2;
        let (old, new) = both(std::slice::from_ref(&saved), &[session("saved000", "v1", far)]).await;
        let write = async {
            tokio::time::sleep(limits.write_deadline * 3 / 4).await;
            put(new.as_ref(), &[saved]).await;
        };
        let mut ignore = |_| {};
        let (comparison, ()) = tokio::join!(compare(old.as_ref(), new.as_ref(), &limits, &mut ignore), write);
        let comparison = comparison.unwrap();
        assert_eq!((comparison.differences(), comparison.equal), (0, 1));
    }
}
