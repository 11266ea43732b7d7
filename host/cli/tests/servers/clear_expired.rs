//! `switchover clear-expired`: batch by batch, what has ended and nothing else.

use std::process::{Command, Stdio};

use crate::place::{LIVING, Place, json, said, switchover, until};

const ENDED_ROWS: usize = 2_500;

async fn clear_expired(place: Place) {
    let alive = ["aliveandwell", "zzzzzzzz"];
    place.insert(&alive.map(|key| (key, "v1", LIVING))).await;
    place.insert_ended(ENDED_ROWS, "v1").await;
    let address = place.address();
    let clear = |more: &[&str]| switchover(&[&["clear-expired", &address, "--pause", "0"], more].concat());

    let early = clear(&["--before", "2015-12-31T00:00:00+01:00", "--json"]);
    assert_eq!(json(&early)["deleted"], 0, "{}", said(&early));

    let child = Command::new(env!("CARGO_BIN_EXE_switchover"))
        .args(["clear-expired", &address, "--batch", "100", "--pause", "60000", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    until("the first batch is deleted", async || place.rows().await < 2_502).await;
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let stopped = child.wait_with_output().unwrap();
    assert_eq!(stopped.status.code(), Some(130));
    let told = json(&stopped);
    assert_eq!((&told["deleted"], &told["stopped"]), (&100.into(), &true.into()), "{told}");
    assert_eq!(place.rows().await, 2_402, "a batch is as large as it was asked to be");

    // An instant in the future deletes nothing that lives.
    let all = json(&clear(&["--before", "3000-01-01T00:00:00Z", "--batch", "700", "--json"]));
    assert_eq!((&all["deleted"], &all["ok"]), (&2_400.into(), &true.into()), "{all}");
    assert_eq!((place.rows().await, place.rows_of(&alive).await), (2, 2));
    let again = clear(&[]);
    assert!(again.status.success() && said(&again).contains(" 0 expired"), "{}", said(&again));
}

/// Rows that the database refuses to delete and rows that others hold are counted apart.
async fn clear_expired_past_protected_rows(place: Place) {
    place.insert_ended(100, "v1").await;
    let ended = ["protected01", "protected02", "locked0001"].map(|key| (key, "v1", "2015-01-01 00:00:00"));
    place.insert(&ended).await;
    place.execute("CREATE TABLE refers (session_key varchar(40))").await;
    place.execute("ALTER TABLE refers ADD FOREIGN KEY (session_key) REFERENCES django_session (session_key)").await;
    place.execute("INSERT INTO refers VALUES ('protected01'), ('protected02')").await;
    let locked = place.lock("locked0001").await;
    let clear = |more: &[&str]| {
        switchover(&[&["clear-expired", &place.address(), "--batch", "2", "--pause", "0"], more].concat())
    };
    let done = clear(&["--json"]);
    let told = json(&done);
    let counts = ["deleted", "left", "refused", "unreadable"].map(|name| told[name].as_u64().unwrap());
    assert_eq!((done.status.code(), counts), (Some(1), [100, 3, 2, 0]), "{told}");
    let done = clear(&[]);
    let text = said(&done);
    assert_eq!(done.status.code(), Some(1), "{text}");
    assert!(text.contains("2 expired rows are left because the database refuses"), "{text}");
    assert!(text.contains("1 expired rows are left because others hold locks"), "{text}");
    assert!(!text.contains("protected0"), "a key was printed: {text}");
    locked.release().await;
    assert_eq!(json(&clear(&["--json"]))["deleted"], 1);
}

/// Every deleted row comes again, so the table never has fewer rows.
#[tokio::test(flavor = "multi_thread")]
async fn trigger_that_writes_rows_again_does_not_keep_the_program_for_ever() {
    let place = Place::postgres("clear_again").await.with_table();
    place.insert_ended(50, "v1").await;
    place
        .execute(
            "CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS \
             'BEGIN INSERT INTO django_session VALUES (OLD.*); RETURN NULL; END'; \
             CREATE TRIGGER again AFTER DELETE ON django_session FOR EACH ROW EXECUTE FUNCTION again()",
        )
        .await;
    let done = switchover(&["clear-expired", &place.address(), "--batch", "7", "--pause", "0", "--json"]);
    let told = json(&done);
    assert_eq!((done.status.code(), &told["left"]), (Some(1), &50.into()), "{told}");
    assert_eq!(place.rows().await, 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn clear_expired_of_postgres_counts_what_it_could_not_delete() {
    clear_expired_past_protected_rows(Place::postgres("clear_protected").await.with_table()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clear_expired_of_mariadb_counts_what_it_could_not_delete() {
    clear_expired_past_protected_rows(Place::mariadb("clear_protected").await.with_table()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clear_expired_deletes_on_postgres_what_has_ended_in_batches() {
    clear_expired(Place::postgres("clear_expired").await.with_table()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clear_expired_deletes_on_mariadb_what_has_ended_in_batches() {
    clear_expired(Place::mariadb("clear_expired").await.with_table()).await;
}
