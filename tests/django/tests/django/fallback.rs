//! What the policy `fallback` writes under `migration_flag` is what Django's `db` engine would have written, in both
//! databases.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use switchover::backends::FlagSwitch;
use switchover::{Builtin, Payload, Policy, SaveOutcome, SessionKey, Timestamp};

use super::peer::{Peer, Zone};
use super::place::{Kind, Place, host};
use super::samples::{COOKIE_AGE, dictionaries, instants};

const OLD: &str = "default";
const NEW: &str = "new_session_store";
/// For each database of the host one that Django alone writes.
const TWINS: [(&str, &str); 2] = [(OLD, "django_old"), (NEW, "django_new")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_to_sqlite_is_byte_for_byte_djangos() -> Result<()> {
    writes_are_byte_for_byte_djangos(Kind::Sqlite, Kind::Sqlite).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_to_postgres_is_byte_for_byte_djangos() -> Result<()> {
    writes_are_byte_for_byte_djangos(Kind::Postgres, Kind::Postgres).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_to_mariadb_is_byte_for_byte_djangos() -> Result<()> {
    writes_are_byte_for_byte_djangos(Kind::MariaDb, Kind::MariaDb).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_to_mariadb_is_byte_for_byte_djangos() -> Result<()> {
    writes_are_byte_for_byte_djangos(Kind::Postgres, Kind::MariaDb).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_to_sqlite_is_byte_for_byte_djangos() -> Result<()> {
    writes_are_byte_for_byte_djangos(Kind::MariaDb, Kind::Sqlite).await
}

async fn writes_are_byte_for_byte_djangos(old: Kind, new: Kind) -> Result<()> {
    let (old_place, new_place) = (Place::with_table(old).await?, Place::with_table(new).await?);
    let (old_twin, new_twin) = (Place::new(old).await?, Place::new(new).await?);
    let places = [(OLD, &old_place), (NEW, &new_place), (TWINS[0].1, &old_twin), (TWINS[1].1, &new_twin)];
    let mut django = Peer::start(Zone::of("America/New_York"), &places)?;
    for (_, twin) in TWINS {
        django.migrate(twin)?;
    }
    let (old, new) = (old_place.open().await?, new_place.open().await?);
    let flags = FlagSwitch::new([("migration_flag", "true"), ("new_db_router_flag", "false")]);
    let builder = host(Policy::builtin(Builtin::Fallback)).database(OLD, old).database(NEW, new);
    let switchover = builder.flags(flags).build().await?;
    let sessions = switchover.sessions();

    let mut keys = Vec::new();
    for data in dictionaries() {
        for now in instants() {
            let (payload, expires_at) = django.encode(&data, now)?;
            let key = sessions.create(payload, expires_at).await?;
            for (_, twin) in TWINS {
                django.create_as(twin, &key, &data, now)?;
            }
            keys.push((key, now));
        }
        // One that the old database has from before the migration; its next save brings it to the new one.
        let now = instants()[1];
        let key = django.create(OLD, &data, now)?.key;
        for (_, twin) in TWINS {
            django.create_as(twin, &key, &data, now)?;
        }
        let later = now.plus(Duration::from_secs(5));
        save_both_ways(&sessions, &mut django, &key, later).await?;
        keys.push((key, later));
    }
    same_rows(&mut django, keys.len())?;

    for (at, (key, now)) in keys.iter().enumerate() {
        let later = now.plus(Duration::from_millis(70_500));
        match at % 3 {
            0 => save_both_ways(&sessions, &mut django, key, later).await?,
            1 => {
                let end = later.plus(COOKIE_AGE);
                assert_eq!(sessions.touch(key, end).await?, SaveOutcome::Saved);
                for (_, twin) in TWINS {
                    django.move_end(twin, key, end)?;
                }
            }
            _ => {
                assert!(sessions.delete(key).await?);
                for (_, twin) in TWINS {
                    django.delete(twin, key)?;
                }
            }
        }
    }
    same_rows(&mut django, keys.len() - keys.len() / 3)?;
    one_byte_is_noticed(&mut django, &keys[0].0)?;
    switchover.close().await;
    Ok(())
}

/// Changes a session by Switchover, and its twins by Django.
async fn save_both_ways(
    sessions: &switchover::Sessions,
    django: &mut Peer,
    key: &SessionKey,
    now: Timestamp,
) -> Result<()> {
    let change = json!({ "changed": "zurück" });
    let mut saved: Option<(Payload, Timestamp)> = None;
    for (_, twin) in TWINS {
        let twin = django.update(twin, key, &change, now)?;
        saved = Some((twin.payload, twin.expires_at));
    }
    if let Some((payload, expires_at)) = saved {
        assert_eq!(sessions.save(key, payload, expires_at).await?, SaveOutcome::Saved);
    }
    Ok(())
}

/// In key, payload and text of the expiry, as the drivers give them.
fn same_rows(django: &mut Peer, count: usize) -> Result<()> {
    for (database, twin) in TWINS {
        let (ours, theirs) = (django.raw_rows(database)?, django.raw_rows(twin)?);
        assert_eq!(theirs.len(), count, "{twin}");
        assert_eq!(ours, theirs, "{database} is not as Django would have written it");
    }
    Ok(())
}

/// The comparison could fail: one microsecond more is another row.
fn one_byte_is_noticed(django: &mut Peer, key: &SessionKey) -> Result<()> {
    for (database, twin) in TWINS {
        let end = django.load(twin, key)?.map(|found| found.session.expires_at).unwrap_or_default();
        django.move_end(twin, key, end.plus(Duration::from_micros(1)))?;
        assert_ne!(django.raw_rows(database)?, django.raw_rows(twin)?, "{database}");
    }
    Ok(())
}
