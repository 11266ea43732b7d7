//! A table that one of them made is the other's own: in every column, type and index.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use switchover::capabilities::{Read, ReadOutcome, Terms, Write, WriteOutcome};
use switchover::expires_in;

use super::peer::{Peer, Zone};
use super::place::{Kind, Place, soon};
use super::samples::{COOKIE_AGE, instants};

claims! {
    table_of_switchover_is_taken_by_fake_initial,
    table_of_django_has_nothing_missing,
    tables_and_indexes_are_the_same,
    missing_index_is_noticed_and_made_as_django_makes_it,
}

const INDEX: &str = "django_session_expire_date_a5c62663";

async fn table_of_switchover_is_taken_by_fake_initial(kind: Kind) -> Result<()> {
    let place = Place::with_table(kind).await?;
    let mut django = Peer::start(Zone::UTC, &[("default", &place)])?;
    let before = django.raw_schema("default")?;
    let unapplied = django.manage("default", &["migrate", "--check"])?;
    assert!(!unapplied.succeeded, "Django knows nothing of a table that it did not make: {}", unapplied.printed);
    let without = django.manage("default", &["migrate", "sessions"]);
    assert!(without.is_err(), "without --fake-initial Django makes the table again: {without:?}");

    let faked = django.manage("default", &["migrate", "sessions", "--fake-initial", "--database=default"])?;
    assert!(faked.succeeded && faked.printed.contains("sessions.0001_initial... FAKED"), "{}", faked.printed);
    for check in [&["migrate", "--check"][..], &["makemigrations", "--check"]] {
        let checked = django.manage("default", check)?;
        assert!(checked.succeeded, "{check:?}: {}", checked.printed);
    }
    assert_eq!(django.raw_schema("default")?, before, "nothing was changed");

    let data = json!({ "_auth_user_id": "7" });
    let key = django.create("default", &data, instants()[1])?.key;
    assert_eq!(django.load("default", &key)?.context("a session that was created is there")?.data, data);
    Ok(())
}

async fn table_of_django_has_nothing_missing(kind: Kind) -> Result<()> {
    let place = Place::new(kind).await?;
    let mut django = Peer::start(Zone::UTC, &[("default", &place)])?;
    django.migrate("default")?;
    let before = django.raw_schema("default")?;
    let database = place.open().await?;
    assert_eq!(database.upkeep().missing_schema(soon()).await?, Vec::<String>::new());
    assert_eq!(database.upkeep().create_schema(soon()).await?, Vec::<String>::new());
    assert_eq!(django.raw_schema("default")?, before, "nothing was changed");

    let (payload, _) = django.encode(&json!({ "_auth_user_id": "7" }), instants()[1])?;
    let session = switchover::Session::new(switchover::SessionKey::random(), payload, expires_in(COOKIE_AGE));
    let written = database.write(vec![Write::Insert(session.clone())], Terms::by(soon())).await?;
    assert!(matches!(written.as_slice(), [WriteOutcome::Done(_)]), "{written:?}");
    let read = database.read(vec![Read::Load(session.key.clone())], Terms::by(soon())).await?;
    assert_eq!(read, [ReadOutcome::Session(Some(session))]);
    database.close().await;
    Ok(())
}

async fn tables_and_indexes_are_the_same(kind: Kind) -> Result<()> {
    let (ours, theirs) = (Place::with_table(kind).await?, Place::new(kind).await?);
    let mut django = Peer::start(Zone::UTC, &[("default", &ours), ("theirs", &theirs)])?;
    django.migrate("theirs")?;
    let schema = django.raw_schema("theirs")?;
    assert!(Value::from(schema.clone()).to_string().contains(INDEX), "{schema:?}");
    assert_eq!(django.raw_schema("default")?, schema);
    Ok(())
}

async fn missing_index_is_noticed_and_made_as_django_makes_it(kind: Kind) -> Result<()> {
    let place = Place::new(kind).await?;
    let mut django = Peer::start(Zone::UTC, &[("default", &place)])?;
    django.migrate("default")?;
    let whole = django.raw_schema("default")?;
    let of_table = if kind == Kind::MariaDb { " ON django_session" } else { "" };
    django.ask("execute", "default", json!({ "sql": format!("DROP INDEX {INDEX}{of_table}") }))?;
    assert_ne!(django.raw_schema("default")?, whole);
    let database = place.open().await?;
    let made = database.upkeep().create_schema(soon()).await?;
    assert!(made.len() == 1 && made[0].contains(INDEX), "{made:?}");
    assert_eq!(django.raw_schema("default")?, whole);
    database.close().await;
    Ok(())
}
