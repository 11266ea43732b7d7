//! Which settings of time zones share a table, and what the others mean.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;
use switchover::capabilities::{Read, ReadOutcome, Terms, Write};
use switchover::{Session, SessionKey};

use super::peer::{Peer, Zone};
use super::place::{Kind, Place, soon};
use super::samples::{COOKIE_AGE, instants};

claims! { local_times_are_right_on_postgres_alone, }

/// Nine hours before UTC all year round.
const TOKYO: &str = "Asia/Tokyo";
const TOKYOS_OFFSET: Duration = Duration::from_secs(9 * 3_600);

/// PostgreSQL stores instants, whatever Django's zone. In the others the column is a text, or a time without a zone:
/// where Django writes local time into it, Switchover takes that for UTC, and Django takes Switchover's UTC for local
/// time.
async fn local_times_are_right_on_postgres_alone(kind: Kind) -> Result<()> {
    let off = if kind == Kind::Postgres { Duration::ZERO } else { TOKYOS_OFFSET };
    let zones = [
        (Zone { use_tz: false, time_zone: TOKYO, of_databases: None }, off),
        (Zone { use_tz: true, time_zone: "UTC", of_databases: Some(TOKYO) }, off),
        (Zone { use_tz: true, time_zone: TOKYO, of_databases: None }, Duration::ZERO),
        (Zone { use_tz: false, time_zone: "UTC", of_databases: None }, Duration::ZERO),
    ];
    let place = Place::with_table(kind).await?;
    let database = place.open().await?;
    for (zone, off) in zones {
        let mut django = Peer::start(zone, &[("default", &place)])?;
        for now in instants() {
            let theirs = django.create("default", &json!({ "n": 1 }), now)?;
            assert_eq!(theirs.expires_at, now.plus(COOKIE_AGE), "{zone:?}");
            let read = database.read(vec![Read::Load(theirs.key.clone())], Terms::by(soon())).await?;
            let expected = Session { expires_at: theirs.expires_at.plus(off), ..theirs };
            assert_eq!(read, [ReadOutcome::Session(Some(expected.clone()))], "{zone:?}");

            let ours = Session { key: SessionKey::random(), ..expected };
            database.write(vec![Write::Insert(ours.clone())], Terms::by(soon())).await?;
            let found = django.load("default", &ours.key)?.context("a session of two weeks is there")?;
            assert_eq!(found.session.expires_at, ours.expires_at.minus(off), "{zone:?}");
        }
    }
    database.close().await;
    Ok(())
}
