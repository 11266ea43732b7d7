//! A row is the same session to both, whoever wrote it.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;
use switchover::{Builtin, Policy, SaveOutcome, Session, SessionKey};

use super::peer::{Peer, Zone};
use super::place::{Kind, Place, host};
use super::samples::{COOKIE_AGE, dictionaries, instants};

claims! {
    rows_of_django_are_read_updated_touched_and_deleted,
    rows_of_switchover_are_read_updated_and_deleted,
    request_of_django_that_is_under_way_brings_nothing_back,
}

const ZONES: [Zone; 3] = [Zone::UTC, Zone::of("America/New_York"), Zone::of("Asia/Kathmandu")];
const HOUR: Duration = Duration::from_secs(3_600);

async fn rows_of_django_are_read_updated_touched_and_deleted(kind: Kind) -> Result<()> {
    let place = Place::new(kind).await?;
    Peer::start(Zone::UTC, &[("default", &place)])?.migrate("default")?;
    let switchover = host(Policy::builtin(Builtin::CachedDb)).database("default", place.open().await?).build().await?;
    let sessions = switchover.sessions();
    for zone in ZONES {
        let mut django = Peer::start(zone, &[("default", &place)])?;
        for data in dictionaries() {
            for now in instants() {
                let written = django.create("default", &data, now)?;
                let key = &written.key;
                assert_eq!(written.expires_at, now.plus(COOKIE_AGE), "{zone:?}");
                assert_eq!(
                    stored(&mut django, key)?,
                    written.payload.as_text().unwrap_or_default(),
                    "what Django says is what is stored"
                );
                assert_eq!(sessions.load(key).await?, Some(written.clone()), "{zone:?}");
                assert!(sessions.exists(key).await?);

                let mut changed = data.clone();
                changed["changed"] = json!("zurück");
                let (payload, expires_at) = django.encode(&changed, now.plus(HOUR))?;
                assert_eq!(sessions.save(key, payload.clone(), expires_at).await?, SaveOutcome::Saved);
                let found = django.load("default", key)?.context("a session that Switchover saved is there")?;
                assert_eq!(found.session, Session::new(key.clone(), payload, expires_at), "{zone:?}");
                assert_eq!(found.data, changed);

                let later = expires_at.plus(Duration::from_micros(1_500_001));
                assert_eq!(sessions.touch(key, later).await?, SaveOutcome::Saved);
                assert_eq!(sessions.touch(key, expires_at).await?, SaveOutcome::Saved);
                let found = django.load("default", key)?.context("a session that Switchover touched is there")?;
                assert_eq!((found.session.expires_at, found.data), (later, changed), "{zone:?}");

                assert!(sessions.delete(key).await?);
                assert!(django.load("default", key)?.is_none(), "back after logout");
                assert!(!django.exists("default", key)?);
            }
        }
    }
    switchover.close().await;
    Ok(())
}

async fn rows_of_switchover_are_read_updated_and_deleted(kind: Kind) -> Result<()> {
    let place = Place::with_table(kind).await?;
    let switchover = host(Policy::builtin(Builtin::CachedDb)).database("default", place.open().await?).build().await?;
    let sessions = switchover.sessions();
    for zone in ZONES {
        let mut django = Peer::start(zone, &[("default", &place)])?;
        for data in dictionaries() {
            for now in instants() {
                let (payload, expires_at) = django.encode(&data, now)?;
                let key = &sessions.create(payload.clone(), expires_at).await?;
                let found = django.load("default", key)?.context("a session that Switchover created is there")?;
                assert_eq!(found.session, Session::new(key.clone(), payload.clone(), expires_at), "{zone:?}");
                assert_eq!(found.data, data);

                let updated = django.update("default", key, &json!({ "changed": "zurück" }), now.plus(HOUR))?;
                assert_eq!(updated.expires_at, expires_at.plus(HOUR));
                assert_eq!(sessions.load(key).await?, Some(updated), "{zone:?}");

                django.delete("default", key)?;
                assert!(sessions.load(key).await?.is_none(), "back after logout");
                assert!(!sessions.exists(key).await?);
                assert_eq!(sessions.save(key, payload, expires_at).await?, SaveOutcome::Missing);
            }
        }
    }
    switchover.close().await;
    Ok(())
}

/// A request of Django's loads a session, a logout at Switchover deletes it, and the request saves it.
async fn request_of_django_that_is_under_way_brings_nothing_back(kind: Kind) -> Result<()> {
    let place = Place::with_table(kind).await?;
    let mut django = Peer::start(Zone::UTC, &[("default", &place)])?;
    let switchover = host(Policy::builtin(Builtin::CachedDb)).database("default", place.open().await?).build().await?;
    let sessions = switchover.sessions();
    let change = json!({ "changed": "zurück" });
    for now in instants() {
        let key = django.create("default", &json!({ "n": 1 }), now)?.key;
        django.begin("default", &key)?;
        let (payload, expires_at) = django.encode(&json!({ "n": 2 }), now)?;
        assert_eq!(sessions.save(&key, payload, expires_at).await?, SaveOutcome::Saved);
        assert!(django.finish("default", &key, &change)?);
        let found = django.load("default", &key)?.context("a session that was saved twice is there")?;
        assert_eq!(found.data, json!({ "n": 1, "changed": "zurück" }), "the later of two saves wins as a whole");
        assert_eq!(sessions.load(&key).await?, Some(found.session));

        django.begin("default", &key)?;
        assert!(sessions.delete(&key).await?);
        assert!(!django.finish("default", &key, &change)?, "a save after a logout is refused");
        assert!(!sessions.exists(&key).await?, "back after logout");
    }
    switchover.close().await;
    Ok(())
}

/// The payload as the driver gives it.
fn stored(django: &mut Peer, key: &SessionKey) -> Result<String> {
    let mut rows = django.raw_rows("default")?.into_iter();
    let row = rows.find(|row| row[0] == key.expose()).context("a row that Django wrote is there")?;
    Ok(row[1].clone())
}
