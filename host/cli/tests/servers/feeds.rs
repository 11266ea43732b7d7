//! `switchover purge` against a new database that is still fed from the old one: what is deleted in one would be lost
//! in both.

use std::time::Duration;

use switchover_harness::{Builder, MariaDb, Postgres};

use crate::place::{LIVING, Place, json, said, switchover, until};

const ROWS: usize = 100;

fn rows() -> Vec<String> {
    (0..ROWS).map(|number| format!("row{number:05}")).collect()
}

async fn fill(place: &Place) {
    let keys = rows();
    place.insert(&keys.iter().map(|key| (key.as_str(), "v1", LIVING)).collect::<Vec<_>>()).await;
}

/// Nothing is lost anywhere, whatever it says.
async fn refused(old: &Place, new: &Place, more: &[&str], words: &str) {
    let (old_address, new_address) = (old.address(), new.address());
    let arguments = ["purge", &old_address, "--against", &new_address, "--yes", "--watch", "3"];
    let output = switchover(&[&arguments[..], more].concat());
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains(words), "{}", said(&output));
    let all = ROWS as i64;
    until("both have every row again", async || (old.rows().await, new.rows().await) == (all, all)).await;
    // Long enough for what replication may still bring.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((old.rows().await, new.rows().await), (all, all));
}

async fn postgres(name: &str) -> (switchover_harness::Server, Place) {
    let logical = |builder: Builder| builder.setting("wal_level", "logical");
    let server = logical(Postgres::builder()).start().await.unwrap();
    let address = server.create_database(name).await.unwrap();
    let place = Place::Postgres { address, other_address: server.socket_url_of(name) }.with_table();
    (server, place)
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriber_of_the_old_table_keeps_its_rows() {
    let ((server, old), (_new_server, new)) = (postgres("fed").await, postgres("fed").await);
    fill(&old).await;
    old.execute("CREATE PUBLICATION sessions FOR TABLE django_session").await;
    let address = server.address();
    let subscribe = |options: &str| {
        format!(
            "CREATE SUBSCRIPTION sessions CONNECTION 'host={} port={} user=postgres dbname=fed' \
             PUBLICATION sessions {options}",
            address.ip(),
            address.port()
        )
    };
    new.execute(&subscribe("")).await;
    until("the rows are there", async || new.rows().await == ROWS as i64).await;

    refused(&old, &new, &[], "fed by the subscription sessions").await;
    let dry = switchover(&["purge", &old.address(), "--against", &new.address(), "--dry-run", "--json"]);
    let told = json(&dry);
    assert!(!dry.status.success() && told["refused"].as_str().unwrap().contains("subscription sessions"), "{told}");
    assert!(told["notes"].to_string().contains("the publication sessions"), "{told}");
    // Who insists meets the row that comes.
    refused(&old, &new, &["--fed-from-elsewhere"], "came to the new one").await;

    // Deletions alone: only the first sessions show it.
    new.execute("DROP SUBSCRIPTION sessions").await;
    old.execute("ALTER PUBLICATION sessions SET (publish = 'delete')").await;
    new.execute(&subscribe("WITH (copy_data = false)")).await;
    refused(&old, &new, &["--fed-from-elsewhere"], "lost 10 of the 10 sessions").await;

    new.execute("DROP SUBSCRIPTION sessions").await;
    let done = switchover(&["purge", &old.address(), "--against", &new.address(), "--yes", "--watch", "1", "--json"]);
    assert!(done.status.success(), "{}", said(&done));
    assert_eq!((old.rows().await, new.rows().await), (0, ROWS as i64));
}

async fn mariadb(id: &str) -> (switchover_harness::Server, Place) {
    let builder = MariaDb::builder().setting("server-id", id).setting("log-bin", "binlog");
    let server = builder.start().await.unwrap();
    let address = server.create_database("fed").await.unwrap();
    let place = Place::MariaDb { address, other_address: server.socket_url_of("fed") }.with_table();
    (server, place)
}

#[tokio::test(flavor = "multi_thread")]
async fn writable_replica_of_the_old_server_keeps_its_rows() {
    let ((server, old), (_new_server, new)) = (mariadb("1").await, mariadb("2").await);
    let address = server.address();
    fill(&old).await;
    fill(&new).await;
    let position = "SET GLOBAL gtid_slave_pos = ''";
    let primary = format!(
        "CHANGE MASTER TO MASTER_HOST='{}', MASTER_PORT={}, MASTER_USER='root', MASTER_USE_GTID=slave_pos",
        address.ip(),
        address.port()
    );
    // What was before is on both sides already.
    old.execute("RESET MASTER").await;
    for sql in ["STOP SLAVE", "RESET MASTER", position, &primary, "START SLAVE"] {
        new.execute(sql).await;
    }
    old.insert(&[("replicated", "v1", LIVING)]).await;
    until("it replicates", async || new.rows_of(&["replicated"]).await == 1).await;
    old.execute("DELETE FROM django_session WHERE session_key = 'replicated'").await;
    until("it replicates", async || new.rows_of(&["replicated"]).await == 0).await;

    refused(&old, &new, &[], "primaries, which this server replicates").await;
    refused(&old, &new, &["--fed-from-elsewhere"], "came to the new one").await;
}

/// A trigger is no replication, and does the same.
#[tokio::test(flavor = "multi_thread")]
async fn trigger_that_deletes_in_both_is_found_by_the_first_sessions() {
    let (old, new) =
        (Place::mariadb("trigger_old").await.with_table(), Place::mariadb("trigger_new").await.with_table());
    fill(&old).await;
    fill(&new).await;
    old.execute(
        "CREATE TRIGGER gone AFTER DELETE ON django_session FOR EACH ROW \
         DELETE FROM trigger_new.django_session WHERE session_key = OLD.session_key",
    )
    .await;
    refused(&old, &new, &[], "lost 10 of the 10 sessions").await;
}

/// It spares some sessions, and deletes the others: those are written again, in both.
#[tokio::test(flavor = "multi_thread")]
async fn trigger_that_deletes_some_in_both_is_found_by_the_first_sessions() {
    let (old, new) = (Place::mariadb("some_old").await.with_table(), Place::mariadb("some_new").await.with_table());
    fill(&old).await;
    fill(&new).await;
    old.execute(
        "CREATE TRIGGER gone AFTER DELETE ON django_session FOR EACH ROW \
         DELETE FROM some_new.django_session WHERE session_key = OLD.session_key \
             AND ascii(substr(session_key, -1)) % 2 = 0",
    )
    .await;
    refused(&old, &new, &[], "of the 10 sessions").await;
}
