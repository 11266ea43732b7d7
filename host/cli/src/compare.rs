//! What differs between two databases that are in use: a difference counts only if it outlives every write that may be under way.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use switchover::capabilities::{Database, Read, ReadOutcome};
use switchover::{Limits, Session, SessionKey, Timestamp};

/// Rows of one page. A page is one statement and holds no lock.
pub(crate) const PAGE: u32 = 500;
/// So many differences are remembered for the second look; beyond it the two are simply not alike.
pub(crate) const SUSPECTS_MAX: usize = 100_000;
/// Looks at a session that is being written all the while, and the pause between two of them.
const LOOKS_MAX: u32 = 10;
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// In what way two databases differ on a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Difference {
    /// The new one does not have it.
    OnlyOld,
    /// The old one does not have it.
    OnlyNew,
    /// Both have it, with other contents.
    Payload,
    /// Both have it, and it ends at other times.
    Expiry,
    /// It was written all the while, and never seen alike.
    Unsettled,
}

impl Difference {
    /// In words.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::OnlyOld => "only in the old database",
            Self::OnlyNew => "only in the new database",
            Self::Payload => "payload differs",
            Self::Expiry => "expiry differs",
            Self::Unsettled => "written too often to compare",
        }
    }
}

/// What a comparison found.
#[derive(Default)]
pub(crate) struct Comparison {
    /// Rows that were read in the old database.
    pub(crate) old_rows: u64,
    /// Rows that were read in the new database.
    pub(crate) new_rows: u64,
    /// Sessions that are the same in both.
    pub(crate) equal: u64,
    /// The others.
    pub(crate) different: Vec<(SessionKey, Difference)>,
    /// When the last of those that only the old database has ends.
    pub(crate) last_only_old: Option<Timestamp>,
}

impl Comparison {
    /// How many sessions differ.
    pub(crate) fn differences(&self) -> u64 {
        self.different.len() as u64
    }

    /// How many differ in this way.
    pub(crate) fn count(&self, kind: Difference) -> u64 {
        self.different.iter().filter(|(_, difference)| *difference == kind).count() as u64
    }
}

/// Compares two databases. `rows_read` is told how many more rows were read.
pub(crate) async fn compare(
    old: &dyn Database,
    new: &dyn Database,
    rows_read: &mut (dyn FnMut(u64) + Send),
) -> Result<Comparison> {
    let mut comparison = Comparison::default();
    let mut suspects = Vec::new();
    for (from_old, scanned, other) in [(true, old, new), (false, new, old)] {
        let mut after = None;
        loop {
            let page = scanned.scan(after, PAGE, read_deadline()).await.with_context(|| scanned.summary())?;
            let rows = page.sessions.len() as u64;
            rows_read(rows);
            let counter = if from_old { &mut comparison.old_rows } else { &mut comparison.new_rows };
            *counter += rows;
            let keys: Vec<_> = page.sessions.iter().map(|session| session.key.clone()).collect();
            let mut found = load(other, &keys).await?;
            for session in page.sessions {
                let twin = found.remove(&session.key);
                // Rows that both have were compared the first way.
                let suspect = if from_old { twin.as_ref() != Some(&session) } else { twin.is_none() };
                if suspect {
                    suspects.push(session.key);
                } else if from_old {
                    comparison.equal += 1;
                }
            }
            ensure!(
                suspects.len() <= SUSPECTS_MAX,
                "more than {SUSPECTS_MAX} sessions differ: the migration has hardly begun; try again later"
            );
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    settle(old, new, suspects, &mut comparison).await?;
    Ok(comparison)
}

/// Looks a second time, when every write that was under way the first time has ended.
async fn settle(
    old: &dyn Database,
    new: &dyn Database,
    mut suspects: Vec<SessionKey>,
    comparison: &mut Comparison,
) -> Result<()> {
    suspects.sort_unstable();
    suspects.dedup();
    if suspects.is_empty() {
        return Ok(());
    }
    tokio::time::sleep(Limits::default().write_deadline).await;
    let mut before: HashMap<SessionKey, Pair> = HashMap::new();
    for look in 0..=LOOKS_MAX {
        let mut unsettled = Vec::new();
        for page in suspects.chunks(PAGE as usize) {
            let (mut olds, mut news) = (load(old, page).await?, load(new, page).await?);
            for key in page {
                let pair = Pair { old: olds.remove(key), new: news.remove(key) };
                match pair.difference() {
                    None => comparison.equal += u64::from(pair.old.is_some()),
                    // Twice the same difference: nobody is writing it, so it is one.
                    Some(difference) if before.get(key) == Some(&pair) => comparison.add(key, difference, &pair),
                    Some(_) if look == LOOKS_MAX => comparison.add(key, Difference::Unsettled, &pair),
                    Some(_) => {
                        before.insert(key.clone(), pair);
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

impl Comparison {
    fn add(&mut self, key: &SessionKey, difference: Difference, pair: &Pair) {
        if difference == Difference::OnlyOld {
            self.last_only_old = self.last_only_old.max(pair.old.as_ref().map(|session| session.expires_at));
        }
        self.different.push((key.clone(), difference));
    }
}

/// What both databases hold under one key.
#[derive(PartialEq, Eq)]
struct Pair {
    old: Option<Session>,
    new: Option<Session>,
}

impl Pair {
    fn difference(&self) -> Option<Difference> {
        match (&self.old, &self.new) {
            (None, None) => None,
            (Some(_), None) => Some(Difference::OnlyOld),
            (None, Some(_)) => Some(Difference::OnlyNew),
            (Some(old), Some(new)) if old.payload != new.payload => Some(Difference::Payload),
            (Some(old), Some(new)) if old.expires_at != new.expires_at => Some(Difference::Expiry),
            (Some(_), Some(_)) => None,
        }
    }
}

/// The unexpired sessions that a database has under `keys`.
pub(crate) async fn load(database: &dyn Database, keys: &[SessionKey]) -> Result<HashMap<SessionKey, Session>> {
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let reads = keys.iter().cloned().map(Read::Load).collect();
    let outcomes = database.read(reads, None, read_deadline()).await.with_context(|| database.summary())?;
    let mut found = HashMap::with_capacity(outcomes.len());
    for outcome in outcomes {
        match outcome {
            ReadOutcome::Session(Some(session)) => {
                found.insert(session.key.clone(), session);
            }
            ReadOutcome::Session(None) => {}
            ReadOutcome::Exists(_) => bail!("{} answered another question", database.summary()),
        }
    }
    Ok(found)
}

/// When one page must have been answered.
pub(crate) fn read_deadline() -> Instant {
    // A tool may wait longer than a visitor.
    Instant::now() + Limits::default().read_deadline * 10
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use switchover::backends::MemoryDatabase;
    use switchover::capabilities::Write;
    use switchover::{Payload, expires_in};

    use super::*;

    fn session(key: &str, payload: &str, expires_at: Timestamp) -> Session {
        Session { key: SessionKey::parse(key).unwrap(), payload: Payload::parse(payload).unwrap(), expires_at }
    }

    async fn put(database: &dyn Database, sessions: &[Session]) {
        let writes = sessions.iter().cloned().map(Write::Upsert).collect();
        database.write(writes, None, read_deadline()).await.unwrap();
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
        let mut rows = 0;
        let comparison = compare(old.as_ref(), new.as_ref(), &mut |more| rows += more).await.unwrap();
        assert_eq!((comparison.old_rows, comparison.new_rows, comparison.equal, rows), (5, 4, 1, 9));
        let counts = [Difference::OnlyOld, Difference::OnlyNew, Difference::Payload, Difference::Expiry];
        assert_eq!(counts.map(|kind| comparison.count(kind)), [2, 1, 1, 1]);
        assert_eq!(comparison.last_only_old, Some(later));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_difference_that_does_not_last_is_none() {
        let far = expires_in(Duration::from_secs(60));
        let saved = session("saved000", "v2", far);
        let (old, new) = both(std::slice::from_ref(&saved), &[session("saved000", "v1", far)]).await;
        let write = async {
            tokio::time::sleep(Limits::default().write_deadline / 2).await;
            put(new.as_ref(), &[saved]).await;
        };
        let mut ignore = |_| {};
        let (comparison, ()) = tokio::join!(compare(old.as_ref(), new.as_ref(), &mut ignore), write);
        let comparison = comparison.unwrap();
        assert_eq!((comparison.differences(), comparison.equal), (0, 1));
    }
}
