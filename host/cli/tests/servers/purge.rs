//! `switchover purge`: it empties a table on a server only when nothing is lost by that.

use std::process::{Command, Stdio};

use crate::place::{LIVING, Place, config, json, said, switchover, until};

async fn purge(old: Place, new: Place) {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), &old, &new);
    let purge = |more: &[&str]| {
        let which = ["purge", "default", "--against", "new_session_store", "--config", &config];
        switchover(&[&which[..], more].concat())
    };
    let only = "onlyintheoldone";
    old.insert(&["samesamesame", "changedchanged", only].map(|key| (key, "v1", LIVING))).await;
    old.insert_ended(1_200, "v1").await;
    let news = [("samesamesame", "v1", LIVING), ("changedchanged", "v2", LIVING), ("onlyinthenewone", "v1", LIVING)];
    new.insert(&news).await;

    for more in [&["--dry-run"][..], &["--yes"]] {
        let refused = purge(more);
        assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
        let said = said(&refused);
        assert!(said.contains("refused") && said.contains("1 unexpired rows that only the old one has"), "{said}");
        assert!(!said.contains(only), "a key was printed: {said}");
    }
    let told = json(&purge(&["--yes", "--json"]));
    assert_eq!((&told["ok"], &told["only_old"], &told["deleted"]), (&false.into(), &1.into(), &0.into()), "{told}");
    assert_eq!((old.rows().await, new.rows().await), (1_203, 3));

    new.insert(&[(only, "v1", LIVING)]).await;
    let dry = purge(&["--dry-run", "--json"]);
    assert!(dry.status.success(), "{}", said(&dry));
    let told = json(&dry);
    let counts = ["rows", "expired_rows", "only_old", "deleted"].map(|name| told[name].as_u64().unwrap());
    assert_eq!(counts, [3, 1_200, 0, 0], "{told}");
    assert_eq!((old.rows().await, new.rows().await), (1_203, 4), "dry, and deleted");

    let done = purge(&["--yes", "--batch", "100", "--pause", "0", "--watch", "1", "--json"]);
    assert!(done.status.success(), "{}", said(&done));
    let told = json(&done);
    assert_eq!((&told["ok"], &told["deleted"], &told["kept"]), (&true.into(), &1_203.into(), &0.into()), "{told}");
    assert_eq!((old.rows().await, new.rows().await), (0, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn purge_empties_postgres_once_mariadb_has_every_living_session() {
    purge(Place::postgres("purge").await.with_table(), Place::mariadb("purge_new").await.with_table()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn purge_empties_mariadb_once_sqlite_has_every_living_session() {
    let folder = tempfile::tempdir().unwrap();
    purge(Place::mariadb("purge").await.with_table(), Place::sqlite(folder.path()).with_table()).await;
}

/// Rows that a reference, a trigger or a lock protects are kept and counted, and the others go.
async fn purge_past_protected_rows(old: Place, new: Place, silent: &str) {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), &old, &new);
    let text = std::fs::read_to_string(&config).unwrap() + "[limits]\nwrite_deadline_ms = 300\n";
    std::fs::write(&config, text).unwrap();
    let purge = || {
        let which = ["purge", "default", "--against", "new_session_store", "--config", &config];
        switchover(&[&which[..], &["--yes", "--batch", "50", "--pause", "0", "--watch", "1", "--json"]].concat())
    };
    let keys: Vec<_> = (0..120).map(|number| format!("row{number:05}")).collect();
    let rows: Vec<_> = keys.iter().map(|key| (key.as_str(), "v1", LIVING)).collect();
    old.insert(&rows).await;
    new.insert(&rows).await;
    old.insert_ended(30, "v1").await;
    old.execute("CREATE TABLE refers (session_key varchar(40))").await;
    old.execute("ALTER TABLE refers ADD FOREIGN KEY (session_key) REFERENCES django_session (session_key)").await;
    old.execute("INSERT INTO refers VALUES ('row00003'), ('row00070'), ('row00071')").await;
    let locked = old.lock("row00090").await;
    let done = purge();
    let told = json(&done);
    assert_eq!(done.status.code(), Some(1), "{told}");
    assert_eq!((&told["deleted"], &told["kept"], &told["ok"]), (&146.into(), &4.into(), &false.into()), "{told}");
    assert!(told["kept_because"].as_str().is_some_and(|reason| !reason.contains("row000")), "{told}");
    locked.release().await;

    let told = json(&purge());
    assert_eq!((&told["deleted"], &told["kept"]), (&1.into(), &3.into()), "{told}");
    // Only protected rows are left: whether a deletion comes to the new database cannot be tried.
    let refused = purge();
    assert!(!refused.status.success() && said(&refused).contains("could be deleted"), "{}", said(&refused));
    if !silent.is_empty() {
        old.execute("DROP TABLE refers").await;
        old.execute(silent).await;
        // The row that the program writes for a test is kept as well.
        let refused = purge();
        assert!(!refused.status.success() && said(&refused).contains("not be deleted again"), "{}", said(&refused));
        assert_eq!(old.rows().await, 4);
    }
    assert_eq!(new.rows().await, 120);
}

#[tokio::test(flavor = "multi_thread")]
async fn purge_of_postgres_keeps_protected_rows_and_counts_them() {
    let silent = "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$; \
                  CREATE TRIGGER keep BEFORE DELETE ON django_session FOR EACH ROW EXECUTE FUNCTION keep()";
    let (old, new) = (Place::postgres("purge_refers").await, Place::mariadb("purge_refers_new").await);
    purge_past_protected_rows(old.with_table(), new.with_table(), silent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn purge_of_mariadb_keeps_protected_rows_and_counts_them() {
    let (old, new) = (Place::mariadb("purge_refers").await, Place::postgres("purge_refers_new").await);
    purge_past_protected_rows(old.with_table(), new.with_table(), "").await;
}

/// A row that is written between the check and its deletion is kept.
async fn purge_keeps_what_changes(old: Place, new: Place) {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), &old, &new);
    let keys: Vec<_> = (0..60).map(|number| format!("row{number:05}")).collect();
    let rows: Vec<_> = keys.iter().map(|key| (key.as_str(), "v1", LIVING)).collect();
    old.insert(&rows).await;
    new.insert(&rows).await;
    let locked = old.lock("row00050").await;
    let child = Command::new(env!("CARGO_BIN_EXE_switchover"))
        .args(["purge", "default", "--against", "new_session_store", "--config", &config])
        .args(["--yes", "--watch", "1", "--batch", "10", "--pause", "0", "--json"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // The batch of the locked row waits.
    until("the batches before are deleted", async || old.rows().await <= 10).await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    locked.write("UPDATE django_session SET session_data = 'v2' WHERE session_key = 'row00050'").await;
    let done = child.wait_with_output().unwrap();
    let told = json(&done);
    assert_eq!((done.status.code(), &told["deleted"], &told["kept"]), (Some(1), &59.into(), &1.into()), "{told}");
    assert_eq!(old.number("SELECT count(*) FROM django_session WHERE session_data = 'v2'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn purge_of_postgres_keeps_a_row_that_changes() {
    let (old, new) = (Place::postgres("purge_changes").await, Place::mariadb("purge_changes_new").await);
    purge_keeps_what_changes(old.with_table(), new.with_table()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn purge_of_mariadb_keeps_a_row_that_changes() {
    let (old, new) = (Place::mariadb("purge_changes").await, Place::postgres("purge_changes_new").await);
    purge_keeps_what_changes(old.with_table(), new.with_table()).await;
}

/// Few, so that a statement that reads the whole table instead of its keys would seem cheap.
const ROWS: u64 = 40;

/// The second batch waits for a lock, so that what is written then is written in the middle.
async fn write_meanwhile(old: Place, new: Place) {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), &old, &new);
    let keys: Vec<_> = (0..ROWS).map(|number| format!("row{number:05}")).collect();
    let rows: Vec<_> = keys.iter().map(|key| (key.as_str(), "v1", LIVING)).collect();
    old.insert(&rows).await;
    new.insert(&rows).await;
    let locked = old.lock("row00015").await;
    let child = Command::new(env!("CARGO_BIN_EXE_switchover"))
        .args(["purge", "default", "--against", "new_session_store", "--config", &config])
        .args(["--yes", "--batch", "10", "--pause", "0", "--json"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until("the first batch is deleted", async || old.rows().await == 30).await;
    // Where it has been, and where it is yet to come.
    let late = ["aaaaaaaa", "zzzzzzzz"];
    old.insert(&late.map(|key| (key, "v1", LIVING))).await;
    new.insert(&[("brandnewsession", "v1", LIVING)]).await;
    new.execute("UPDATE django_session SET session_data = 'v2' WHERE session_key = 'row00030'").await;
    locked.release().await;

    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let told = json(&output);
    assert_eq!((&told["ok"], &told["deleted"], &told["kept"]), (&false.into(), &ROWS.into(), &2.into()), "{told}");
    assert_eq!((old.rows().await, old.rows_of(&late).await), (2, 2), "what only the old table has stays");
    assert_eq!((new.rows().await, new.rows_of(&["brandnewsession"]).await), (41, 1));
    let written = new.number("SELECT count(*) FROM django_session WHERE session_data = 'v2'").await;
    assert_eq!(written, 1, "the new database is only read");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_come_while_purge_empties_postgres_are_kept() {
    let (old, new) = (Place::postgres("meanwhile").await, Place::mariadb("meanwhile_new").await);
    write_meanwhile(old.with_table(), new.with_table()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_come_while_purge_empties_mariadb_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    write_meanwhile(Place::mariadb("meanwhile").await.with_table(), Place::sqlite(folder.path()).with_table()).await;
}

/// The role decides in which schema a name is looked up; the printed address does not show it.
#[tokio::test(flavor = "multi_thread")]
async fn tables_of_two_schemas_under_one_name_are_two() {
    let place = Place::postgres("schemas").await;
    place
        .execute(
            "CREATE SCHEMA fresh; \
             CREATE ROLE mover LOGIN SUPERUSER; \
             ALTER ROLE mover IN DATABASE schemas SET search_path = fresh",
        )
        .await;
    let (old, new) = (place.address(), place.address().replace("postgres://postgres@", "postgres://mover@"));
    assert_ne!(old, new);
    for address in [&old, &new] {
        assert!(switchover(&["init", address]).status.success());
    }
    for table in ["public.django_session", "fresh.django_session"] {
        place.execute(&format!("INSERT INTO {table} VALUES ('goodgoodgood', 'v1', '{LIVING}')")).await;
    }
    let output = switchover(&["verify", &old, &new]);
    assert!(output.status.success(), "{}", said(&output));
    let output = switchover(&["purge", &old, "--against", &new, "--yes", "--watch", "1"]);
    assert!(output.status.success(), "{}", said(&output));
    let left = async |table: &str| place.number(&format!("SELECT count(*) FROM {table}")).await;
    assert_eq!((left("public.django_session").await, left("fresh.django_session").await), (0, 1));
}

/// Neither names nor rows tell: one has none that live, the other is reached in another way.
#[tokio::test(flavor = "multi_thread")]
async fn table_against_itself_under_another_address_is_refused() {
    for place in [Place::postgres("itself").await, Place::mariadb("itself").await] {
        let place = place.with_table();
        place.insert_ended(30, "v1").await;
        let (Place::Postgres { address, other_address } | Place::MariaDb { address, other_address }) = &place else {
            unreachable!("both are servers")
        };
        for arguments in [
            &["purge", address, "--against", other_address, "--yes"][..],
            &["purge", address, "--against", other_address, "--dry-run"],
            &["verify", address, other_address],
        ] {
            let output = switchover(arguments);
            let said = said(&output);
            assert!(output.status.code() == Some(1) && said.contains("are the same table"), "{said}");
        }
        assert_eq!(place.rows().await, 30);
    }
    let folder = tempfile::tempdir().unwrap();
    let place = Place::sqlite(folder.path()).with_table();
    let link = folder.path().join("link.sqlite3");
    std::fs::hard_link(folder.path().join("sessions.sqlite3"), &link).unwrap();
    let output = switchover(&["purge", &place.address(), "--against", &format!("sqlite:{}", link.display()), "--yes"]);
    assert!(said(&output).contains("are the same table"), "{}", said(&output));
}
