//! When a session has ended: a load sees it at once and to the microsecond, other operations when the row is deleted.

use std::time::Duration;

use anyhow::Result;
use switchover_core::capabilities::{Terms, Write, WriteOutcome};
use switchover_core::{Session, Timestamp};

use super::fixture::{Fixture, SECOND, exists, key, load, row, session, soon, write};

claims! {
    session_ends_to_the_microsecond,
    ended_session_is_absent_for_load_alone,
    last_instant_of_all_is_kept,
    delete_expired_takes_what_is_strictly_earlier,
    delete_expired_stops_at_its_limit,
    delete_expired_without_an_instant_takes_the_database_clock,
}

/// Around a whole second, where Django's text has no fraction.
const FRACTIONS: [u64; 6] = [0, 1, 10, 500_000, 999_999, 1_000_000];

async fn session_ends_to_the_microsecond(f: Fixture) -> Result<()> {
    for fraction in FRACTIONS {
        let end = SECOND + fraction;
        let ends = session("aaaaaaaa", "payload", Timestamp::from_micros(end));
        write(&*f.database, Write::Upsert(ends.clone())).await?;
        for (now, there) in [(end - 1, true), (end, false), (end + 1, false), (end - 1_000_000, true)] {
            f.clock.set(Timestamp::from_micros(now));
            let found = load(&*f.database, &ends.key).await?;
            assert_eq!(found.as_ref(), there.then_some(&ends), "ends at {end}, now {now}");
            let scanned = f.database.upkeep().scan(None, 10, soon()).await?.sessions;
            assert_eq!(scanned.first(), there.then_some(&ends), "ends at {end}, now {now}");
        }
    }
    Ok(())
}

async fn ended_session_is_absent_for_load_alone(f: Fixture) -> Result<()> {
    let ended = session("aaaaaaaa", "payload", f.now());
    write(&*f.database, Write::Insert(ended.clone())).await?;
    assert_eq!(load(&*f.database, &ended.key).await?, None);
    assert!(exists(&*f.database, &ended.key).await?);
    assert_eq!(write(&*f.database, Write::Insert(ended.clone())).await?, WriteOutcome::Exists);
    assert_eq!(row(&*f.database, &ended.key).await?, Some(ended.clone()));
    assert_eq!(write(&*f.database, Write::Update(ended.clone())).await?, WriteOutcome::Done(Some(ended.clone())));

    let later = Session { expires_at: f.now().plus(Duration::from_secs(1)), ..ended };
    let touched = write(&*f.database, Write::Touch(later.key.clone(), later.expires_at)).await?;
    assert_eq!(touched, WriteOutcome::Done(Some(later.clone())));
    assert_eq!(load(&*f.database, &later.key).await?, Some(later));
    Ok(())
}

async fn last_instant_of_all_is_kept(f: Fixture) -> Result<()> {
    let last = session("aaaaaaaa", "payload", Timestamp::MAX);
    let first = session("bbbbbbbb", "payload", Timestamp::from_micros(0));
    write(&*f.database, Write::Insert(last.clone())).await?;
    write(&*f.database, Write::Insert(first.clone())).await?;
    assert_eq!(load(&*f.database, &last.key).await?, Some(last));
    assert_eq!(row(&*f.database, &first.key).await?, Some(first));
    Ok(())
}

async fn delete_expired_takes_what_is_strictly_earlier(f: Fixture) -> Result<()> {
    f.clock.set(Timestamp::from_micros(SECOND + 60_000_000));
    for before in FRACTIONS.map(|fraction| SECOND + fraction) {
        let sessions = FRACTIONS.map(|fraction| {
            session(&format!("key{fraction:07}"), "payload", Timestamp::from_micros(SECOND + fraction))
        });
        f.database.write(sessions.iter().cloned().map(Write::Upsert).collect(), Terms::by(soon())).await?;
        let earlier = sessions.iter().filter(|session| session.expires_at.as_micros() < before).count();
        let deleted = f.database.upkeep().delete_expired(Some(Timestamp::from_micros(before)), 100, soon()).await?;
        assert_eq!(deleted as usize, earlier, "before {before}");
        for session in &sessions {
            let kept = session.expires_at.as_micros() >= before;
            assert_eq!(
                exists(&*f.database, &session.key).await?,
                kept,
                "before {before}, {}",
                session.payload.as_text().unwrap_or_default()
            );
        }
    }
    Ok(())
}

async fn delete_expired_stops_at_its_limit(f: Fixture) -> Result<()> {
    let ended = (0..25).map(|at| session(&format!("key{at:05}"), "payload", Timestamp::from_micros(SECOND - 1 - at)));
    f.database.write(ended.map(Write::Insert).collect(), Terms::by(soon())).await?;
    let alive = f.session("alivealive", "payload");
    write(&*f.database, Write::Insert(alive.clone())).await?;
    for deleted in [0, 10, 10, 5, 0] {
        let limit = if deleted == 0 { 0 } else { 10 };
        assert_eq!(f.database.upkeep().delete_expired(None, limit, soon()).await?, deleted);
    }
    assert_eq!(f.database.upkeep().delete_expired(None, u32::MAX, soon()).await?, 0);
    assert_eq!(load(&*f.database, &alive.key).await?, Some(alive));
    Ok(())
}

async fn delete_expired_without_an_instant_takes_the_database_clock(f: Fixture) -> Result<()> {
    write(&*f.database, Write::Insert(session("aaaaaaaa", "payload", Timestamp::from_micros(SECOND + 10)))).await?;
    for (now, deleted) in [(SECOND + 9, 0), (SECOND + 10, 0), (SECOND + 11, 1)] {
        f.clock.set(Timestamp::from_micros(now));
        // A time in the future deletes no more than `None`.
        assert_eq!(f.database.upkeep().delete_expired(Some(Timestamp::MAX), 10, soon()).await?, deleted);
        assert_eq!(f.database.upkeep().delete_expired(None, 10, soon()).await?, 0);
    }
    assert!(!exists(&*f.database, &key("aaaaaaaa")).await?);
    Ok(())
}
