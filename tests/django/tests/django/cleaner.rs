//! Django and Switchover agree on what has ended, and clear away the same rows.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use switchover::capabilities::{Database, Read, ReadOutcome, Terms};
use switchover::{Builtin, Policy, SessionKey, Timestamp};

use super::peer::{Peer, Zone};
use super::place::{Kind, Place, host, soon};
use super::samples::instants;

claims! { same_rows_have_ended_at_the_same_instant, clearsessions_and_the_cleaner_leave_the_same_rows, }

const DAY_US: i64 = 86_400_000_000;
/// From an instant to ends around it. Of the rows at whole seconds SQLite's text has no fraction.
const OFFSETS_US: [i64; 13] = [
    -400 * DAY_US,
    -DAY_US,
    -3_600_000_000,
    -1_000_000,
    -1_000,
    -1,
    0,
    1,
    1_000,
    1_000_000,
    3_600_000_000,
    DAY_US,
    400 * DAY_US,
];

/// At a clock that stands still: to the microsecond.
async fn same_rows_have_ended_at_the_same_instant(kind: Kind) -> Result<()> {
    let (cleared_by_django, cleared_by_us) = (Place::with_table(kind).await?, Place::with_table(kind).await?);
    let places = [("default", &cleared_by_django), ("other", &cleared_by_us)];
    let mut django = Peer::start(Zone::of("America/New_York"), &places)?;
    for now in instants() {
        let ends = fill(&mut django, now)?;
        let database = cleared_by_us.open_at(now).await?;
        for (key, end) in &ends {
            let theirs = django.load_at("default", key, now)?.is_some();
            assert_eq!(theirs, *end > now, "Django shows a session that ends {end:?} at {now:?}");
            assert_eq!(shows(&*database, key).await?, theirs, "a session that ends {end:?} at {now:?}");
        }

        let cleared = django.manage_at("default", &["clearsessions"], now)?;
        assert!(cleared.succeeded, "{}", cleared.printed);
        let ended = ends.iter().filter(|(_, end)| *end < now).count();
        assert_eq!(usize::try_from(database.upkeep().delete_expired(None, 1_000, soon()).await?)?, ended);
        let left = keys(&mut django, "default")?;
        assert_eq!(left.len(), ends.len() - ended, "what ends at this very instant is left to the next time by both");
        assert_eq!(keys(&mut django, "other")?, left);
        database.close().await;
        for place in ["default", "other"] {
            django.ask("execute", place, json!({ "sql": "DELETE FROM django_session" }))?;
        }
    }
    Ok(())
}

/// By the clocks that run: Django's, and the one of Switchover's database. The offsets are far longer than the test.
async fn clearsessions_and_the_cleaner_leave_the_same_rows(kind: Kind) -> Result<()> {
    let (cleared_by_django, cleared_by_us) = (Place::with_table(kind).await?, Place::with_table(kind).await?);
    let places = [("default", &cleared_by_django), ("other", &cleared_by_us)];
    let mut django = Peer::start(Zone::of("Asia/Kathmandu"), &places)?;
    let mut ends = Vec::new();
    for now in instants() {
        ends.extend(fill_at(&mut django, now, |offset| offset.abs() >= 3_600_000_000)?);
    }
    let ended = ends.iter().filter(|(_, end)| *end < instants()[0]).count();

    let switchover = host(Policy::builtin(Builtin::CachedDb)).database("default", cleared_by_us.open().await?);
    let switchover = switchover.build().await?;
    let mut cleared = 0;
    while cleared < ended {
        // In batches, as the operator's command does.
        let batch = switchover.sessions().clear_expired(5).await?;
        assert!(batch > 0, "{cleared} of {ended} rows were cleared away, and then none");
        cleared += usize::try_from(batch)?;
    }
    assert_eq!(switchover.sessions().clear_expired(1_000).await?, 0);
    let printed = django.manage("default", &["clearsessions"])?;
    assert!(printed.succeeded, "{}", printed.printed);
    let left = keys(&mut django, "default")?;
    assert_eq!(left.len(), ends.len() - ended);
    assert_eq!(keys(&mut django, "other")?, left);
    switchover.close().await;
    Ok(())
}

/// The same rows in both databases, written by Django; those at whole seconds of their own.
fn fill(django: &mut Peer, now: Timestamp) -> Result<Vec<(SessionKey, Timestamp)>> {
    let mut ends = fill_at(django, now, |_| true)?;
    let second = now.minus(Duration::from_micros(now.as_micros() % 1_000_000));
    ends.extend(fill_at(django, second, |offset| offset % 1_000_000 == 0)?);
    Ok(ends)
}

fn fill_at(django: &mut Peer, now: Timestamp, wanted: impl Fn(i64) -> bool) -> Result<Vec<(SessionKey, Timestamp)>> {
    let mut ends = Vec::new();
    for offset in OFFSETS_US.into_iter().filter(|offset| wanted(*offset)) {
        let end = Timestamp::from_micros(now.as_micros().saturating_add_signed(offset));
        let key = SessionKey::random();
        for database in ["default", "other"] {
            django.create_as(database, &key, &json!({ "n": 1 }), now)?;
            django.move_end(database, &key, end)?;
        }
        ends.push((key, end));
    }
    Ok(ends)
}

fn keys(django: &mut Peer, database: &str) -> Result<BTreeSet<String>> {
    Ok(django.raw_rows(database)?.into_iter().map(|mut row| row.swap_remove(0)).collect())
}

async fn shows(database: &dyn Database, key: &SessionKey) -> Result<bool> {
    let found = database.read(vec![Read::Load(key.clone())], Terms::by(soon())).await?;
    Ok(matches!(found.as_slice(), [ReadOutcome::Session(Some(_))]))
}
