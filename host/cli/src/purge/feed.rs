//! Checks whether the new database is still fed from the old one. Then a row that is deleted in the old one is lost in
//! both.
//!
//! There are three tests, and each finds what the others may miss. The first asks the databases about replication. The
//! second writes a row of the program's own to the old database; it must not come to the new one. The third deletes the
//! first few sessions; the new database must keep them.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use switchover::capabilities::{Database, DatabaseError, Feeds, Read, ReadOutcome, Terms, Write};
use switchover::migration::tool_deadline;
use switchover::migration::{PAGE, Stride, look};
use switchover::{Limits, Session, SessionKey};

use super::check::{print_of, probe};
use super::delete::delete;

/// How many sessions are deleted first. As many again are only read beside them.
const FIRST_ROWS: usize = 10;
/// The pause between two reads of the program's own row.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// What both databases report about replication, each in a sentence.
pub(crate) struct Told {
    /// Why the table must not be emptied, unless the operator knows better.
    pub(crate) refusal: Option<String>,
    /// What else the operator should know.
    pub(crate) notes: Vec<String>,
}

/// Asks both databases about replication.
pub(crate) async fn ask(old: &dyn Database, new: &dyn Database, limits: &Limits) -> Result<Told> {
    let feeds = async |database: &dyn Database| {
        database.upkeep().feeds(tool_deadline(limits.read_deadline)).await.with_context(|| database.summary())
    };
    let (old, new): (Feeds, Feeds) = (feeds(old).await?, feeds(new).await?);
    let refusal = (!new.incoming.is_empty()).then(|| {
        format!(
            "the new database is fed by {}: if that comes from the old one, a row that is deleted there is lost in \
             both. End it first, or give --fed-from-elsewhere if it comes from another database",
            new.incoming.join(", ")
        )
    });
    let notes = [
        ("old", "carried elsewhere by", &old.outgoing),
        ("old", "fed by", &old.incoming),
        ("new", "carried elsewhere by", &new.outgoing),
    ];
    let notes = notes.into_iter().filter(|(.., told)| !told.is_empty());
    let notes = notes.map(|(which, how, told)| format!("the {which} table is {how} {}", told.join(", ")));
    let unknown = [("old", &old.unknown), ("new", &new.unknown)];
    let unknown = unknown
        .into_iter()
        .flat_map(|(which, told)| told.iter().map(move |what| format!("the {which} database: {what}")));
    Ok(Told { refusal, notes: notes.chain(unknown).collect() })
}

/// Writes a row of the program's own to the old database, and watches for `watch` whether it comes to the new one.
///
/// Returns why this could not be tried; `None`: it was.
///
/// # Errors
///
/// If the row comes to the new database. The row is deleted again in any case.
pub(crate) async fn try_row(
    old: &dyn Database,
    new: &dyn Database,
    watch: Duration,
    limits: &Limits,
) -> Result<Option<String>> {
    let deadline = || tool_deadline(limits.write_deadline);
    let row = probe(watch + limits.write_deadline * 30)?;
    let key = row.key.clone();
    let delete = || vec![Write::Delete(key.clone())];
    match old.write(vec![Write::Insert(row)], Terms::by(deadline())).await {
        Ok(_) => {}
        // A user who may only delete relies on the test with the first sessions.
        Err(DatabaseError::Corrupt { message }) => return Ok(Some(message)),
        Err(error) => return Err(error).with_context(|| old.summary()),
    }
    let exists = async || {
        let read = vec![Read::Exists(key.clone())];
        let found = old.read(read, Terms::by(tool_deadline(limits.read_deadline))).await;
        found.map(|found| found[..] == [ReadOutcome::Exists(true)]).with_context(|| old.summary())
    };
    // An error is returned only after the row was deleted again.
    let arrived = exists().await;
    if matches!(arrived, Ok(false)) {
        return Ok(Some("a trigger keeps rows out of the old table".to_owned()));
    }
    let came = comes(new, &key, watch, limits).await;
    let taken = old.write(delete(), Terms::by(deadline())).await;
    if !matches!(came, Ok(false)) {
        new.write(delete(), Terms::by(deadline())).await.with_context(|| new.summary())?;
    }
    let ends = "the row that was written for a test is left in it, and ends by itself within minutes";
    taken.with_context(|| format!("{}: {ends}", old.summary()))?;
    arrived?;
    if exists().await? {
        bail!(
            "a row that was written to the old database could not be deleted again: a trigger or a rule keeps it. \
             Nothing else was deleted, and {ends}. Remove what keeps rows first"
        );
    }
    if came? {
        bail!(
            "a row that was written to the old database came to the new one: it is fed from there, or both are one \
             table. Nothing was deleted. End the replication first"
        );
    }
    Ok(None)
}

async fn comes(new: &dyn Database, key: &SessionKey, watch: Duration, limits: &Limits) -> Result<bool> {
    let until = Instant::now() + watch;
    loop {
        let deadline = tool_deadline(limits.read_deadline);
        let found = new.read(vec![Read::Exists(key.clone())], Terms::by(deadline)).await;
        if found.with_context(|| new.summary())?[..] == [ReadOutcome::Exists(true)] {
            return Ok(true);
        }
        if Instant::now() >= until {
            return Ok(false);
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}

/// Deletes the first few checked sessions of the old database, waits for `watch`, and checks whether the new one still
/// has them.
///
/// Returns how many were deleted.
///
/// # Errors
///
/// If the new database lost any of them. If it lost more than one, they are written to both again first: one may have
/// logged out.
pub(crate) async fn try_first_rows(
    old: &dyn Database,
    new: &dyn Database,
    prints: &HashSet<u64>,
    watch: Duration,
    limits: &Limits,
) -> Result<u64> {
    let page =
        old.upkeep().scan(None, PAGE, tool_deadline(limits.read_deadline)).await.with_context(|| old.summary())?;
    let checked = |session: &&Session| prints.contains(&print_of(session));
    let olds: Vec<_> = page.sessions.iter().filter(checked).take(FIRST_ROWS * 2).cloned().collect();
    let news = living(new, &olds, limits).await?;
    let both: Vec<_> = olds.into_iter().filter(|session| news.contains_key(&session.key)).collect();
    if both.is_empty() {
        return Ok(0);
    }
    let wanted = (both.len() / 2).clamp(2, FIRST_ROWS);
    let (mut deleted, mut reason, mut left) = (Vec::with_capacity(wanted), None, &both[..]);
    while deleted.len() < wanted && !left.is_empty() {
        let (these, rest) = left.split_at((wanted - deleted.len()).min(left.len()));
        let keys: Vec<_> = these.iter().map(|session| session.key.clone()).collect();
        reason = delete(old, &keys, prints, limits, &mut deleted).await?.or(reason);
        left = rest;
    }
    if deleted.is_empty() {
        let reason = reason.unwrap_or_else(|| "a trigger keeps them, or others have just deleted them".to_owned());
        bail!(
            "none of the first {} sessions could be deleted ({reason}), so it is not known whether the new database is \
             fed from here. Nothing was deleted",
            both.len()
        );
    }
    let (first, beside): (Vec<_>, Vec<_>) = both.into_iter().partition(|session| deleted.contains(&session.key));
    tokio::time::sleep(watch).await;
    let (kept, kept_beside) = (living(new, &first, limits).await?, living(new, &beside, limits).await?);
    let lost: Vec<_> = first.iter().filter(|session| !kept.contains_key(&session.key)).cloned().collect();
    match (lost.len(), first.len()) {
        (0, _) => return Ok(deleted.len() as u64),
        (1, of) => bail!(
            "of {of} sessions that were deleted in the old database, the new one lost one: either its user has logged \
             out meanwhile, or the new database is fed from the old one. Nothing else was deleted. Run it again"
        ),
        // Everything is gone there: something deletes sessions, but not because of the old database.
        (all, of) if all == of && !beside.is_empty() && kept_beside.is_empty() => return Ok(deleted.len() as u64),
        _ => {}
    }
    let back = |sessions: &[Session]| sessions.iter().cloned().map(Write::Insert).collect::<Vec<_>>();
    let news: Vec<_> = lost.iter().filter_map(|session| news.get(&session.key).cloned()).collect();
    for (database, sessions) in [(new, &news), (old, &first)] {
        let restored = database.write(back(sessions), Terms::by(tool_deadline(limits.write_deadline))).await;
        restored.with_context(|| format!("{}: {} sessions are lost there", database.summary(), sessions.len()))?;
        let missing = sessions.len() - living(database, sessions, limits).await?.len();
        if missing > 0 {
            bail!(
                "{}: {missing} of {} sessions are lost there and could not be written again. The new database is fed \
                 from the old one: end the replication first",
                database.summary(),
                sessions.len()
            );
        }
    }
    let names: Vec<_> = lost.iter().map(|session| session.key.short_hash()).collect();
    bail!(
        "the new database lost {} of the {} sessions that were deleted in the old one: it is fed from there. They were \
         written to both again ({}), and nothing else was deleted. End the replication first",
        lost.len(),
        first.len(),
        names.join(", ")
    )
}

/// The readable living sessions of a database under the same keys.
async fn living(database: &dyn Database, of: &[Session], limits: &Limits) -> Result<HashMap<SessionKey, Session>> {
    let keys: Vec<_> = of.iter().map(|session| session.key.clone()).collect();
    let found = look(database, &keys, &mut Stride::default(), limits).await?;
    Ok(found.into_iter().filter_map(|(key, row)| Some((key, row.ok()?))).collect())
}
