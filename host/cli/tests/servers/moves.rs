//! `switchover move`: the commands of an operator, while a program that knows nothing of Switchover writes the table.

use std::process::{Child, Command, Stdio};

use serde_json::Value;
use sqlx::{Connection as _, PgConnection};

use crate::place::{ENDED, LIVING, Place, json, said, switchover, until};

/// A copier that runs beside the test. It is killed when this is dropped.
struct Copier(Child);

impl Copier {
    fn start(place: &Place) -> Self {
        let mut program = Command::new(env!("CARGO_BIN_EXE_switchover"));
        program.args(["move", "run", &place.address(), "--json"]).stdout(Stdio::null()).stderr(Stdio::null());
        Self(program.spawn().unwrap())
    }
}

impl Drop for Copier {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn moved(place: &Place, command: &[&str]) -> (Option<i32>, Value) {
    let output = switchover(&[&["move", command[0], &place.address(), "--json"], &command[1..]].concat());
    let lines = String::from_utf8_lossy(&output.stdout).lines().count();
    let told = if lines == 0 { Value::String(said(&output)) } else { json(&output) };
    (output.status.code(), told)
}

fn state(place: &Place) -> Value {
    moved(place, &["status"]).1
}

#[tokio::test]
async fn table_is_built_again_and_goes_back_while_it_is_written() {
    let place = Place::postgres("moves").await.with_table();
    place.insert(&[("aliveandwell", "v1", LIVING), ("toberemoved", "v1", LIVING)]).await;
    place.insert_ended(3_000, "payload of a session that has ended").await;
    let (code, plan) = moved(&place, &["preflight"]);
    assert_eq!((code, &plan["living"]), (Some(0), &"expire_date > now()".into()), "{plan}");
    let (code, refused) = moved(&place, &["cut"]);
    assert!(code == Some(1) && refused.to_string().contains("switchover move run"), "{refused}");

    let (code, told) = moved(&place, &["run", "--until-verified"]);
    assert_eq!((code, &told["rounds"], &told["different"]), (Some(0), &1.into(), &0.into()), "{told}");
    assert_eq!((&told["scanned"], &told["copied"]), (&3_002.into(), &2.into()), "{told}");
    let (code, told) = moved(&place, &["cut", "--dry-run"]);
    assert_eq!((code, &told["made"], &state(&place)["counts"]), (Some(0), &false.into(), &"old".into()), "{told}");

    let copier = Copier::start(&place);
    let mut program = PgConnection::connect(&place.address()).await.unwrap();
    let mut write = async |sql: &str| {
        sqlx::raw_sql(sql).execute(&mut program).await.unwrap();
    };
    write("DELETE FROM django_session WHERE session_key = 'toberemoved'").await;
    write(&format!("INSERT INTO django_session VALUES ('begunsince', 'v1', '{LIVING}')")).await;
    until("the writes are carried", async || state(&place)["carried"] == 2 && state(&place)["waiting"] == 0).await;
    let (code, told) = moved(&place, &["cut"]);
    assert_eq!((code, &told["made"]), (Some(0), &true.into()), "{told}");
    assert_eq!(place.number("SELECT count(*) FROM django_session").await, 2, "ended rows stay behind");
    write("UPDATE django_session SET session_data = 'v2' WHERE session_key = 'aliveandwell'").await;
    until("the new table is compared", async || state(&place)["may_exchange"] == true).await;
    let (code, told) = moved(&place, &["back"]);
    assert_eq!(code, Some(0), "{told}");
    let kept = "SELECT count(*) FROM django_session WHERE session_data = 'v2' OR session_key = 'begunsince'";
    assert_eq!(place.number(kept).await, 2, "the old table has what was written since the cut");
    assert_eq!(place.number("SELECT count(*) FROM django_session WHERE session_key = 'toberemoved'").await, 0);

    until("the old table is compared", async || state(&place)["may_exchange"] == true).await;
    let (code, _) = moved(&place, &["cut"]);
    assert_eq!(code, Some(0));
    let (code, evidence) = moved(&place, &["evidence"]);
    let log = evidence["log"].to_string();
    assert!(code == Some(0) && log.contains("the scan has reached the last key: 3002 rows, 2 copied"), "{evidence}");
    assert_eq!(log.matches("the cut: ").count(), 3, "{log}");
    let (code, told) = moved(&place, &["abort"]);
    assert!(code == Some(1) && told.to_string().contains("go back first"), "{told}");
    let (code, told) = moved(&place, &["finish", "--drop-old"]);
    assert_eq!(code, Some(0), "{told}");
    drop(copier);
    let left = "SELECT count(*) FROM pg_class WHERE relname LIKE '%move%'";
    assert_eq!(place.number(left).await, 0);
    let indexes = "SELECT count(*) FROM pg_class WHERE relname IN ('django_session_expire_date_a5c62663', \
                   'django_session_session_key_c0390e0f_like', 'django_session_pkey')";
    assert_eq!(place.number(indexes).await, 3, "the names of the indexes are those that Django knows");
}

#[tokio::test]
async fn table_is_carried_to_another_server_and_sealed() {
    let (old, new) = (Place::postgres("leaves").await.with_table(), Place::postgres("arrives").await);
    old.insert(&[("aliveandwell", "v1", LIVING), ("toberemoved", "v1", LIVING), ("endedlongago", "v1", ENDED)]).await;
    let to = new.address();
    let moved = |command: &[&str]| moved(&old, &[command, &["--to", &to]].concat());
    let (code, plan) = moved(&["preflight"]);
    let statements = plan["statements"].to_string();
    assert!(code == Some(0) && statements.contains("CREATE INDEX") && statements.contains("_move_fence"), "{plan}");
    let (code, told) = moved(&["run", "--until-verified"]);
    assert_eq!((code, &told["form"], &told["copied"]), (Some(0), &"seal".into(), &2.into()), "{told}");
    let (code, told) = self::moved(&old, &["cut"]);
    assert!(code == Some(1) && told.to_string().contains("seal"), "it says what is missing: {told}");
    old.execute("DELETE FROM django_session WHERE session_key = 'toberemoved'").await;
    let (code, told) = moved(&["cut"]);
    assert_eq!((code, &told["made"], &told["carried"]), (Some(0), &true.into(), &0.into()), "{told}");
    assert_eq!((&state(&old)["counts"], &state(&old)["form"]), (&"new".into(), &"seal".into()));
    assert_eq!(new.number("SELECT count(*) FROM django_session").await, 1);
    let (code, told) = moved(&["back"]);
    assert!(code == Some(2) || code == Some(1), "{told}");
    let (code, told) = moved(&["run"]);
    assert_eq!(code, Some(0), "it ends, since nothing is left to carry: {told}");
    let (code, told) = moved(&["finish", "--drop-old"]);
    assert_eq!(code, Some(0), "{told}");
    let left = "SELECT count(*) FROM pg_class WHERE relname LIKE '%move%'";
    assert_eq!((old.number(left).await, new.number(left).await), (0, 0));
}

#[tokio::test]
async fn brake_holds_the_scan_and_what_is_written_is_carried() {
    let place = Place::postgres("brakes").await.with_table();
    place.insert(&[("aliveandwell", "v1", LIVING), ("ended", "v1", ENDED)]).await;
    let folder = tempfile::tempdir().unwrap();
    let brake = folder.path().join("rest");
    std::fs::write(&brake, "").unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_switchover"));
    program.args(["move", "run", &place.address(), "--json", "--brake", brake.to_str().unwrap()]);
    let mut copier = Copier(program.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    until("it has begun", async || state(&place)["counts"] == "old").await;
    place.execute("UPDATE django_session SET session_data = 'v2' WHERE session_key = 'aliveandwell'").await;
    until("the write is carried", async || state(&place)["carried"] == 1).await;
    assert_eq!(state(&place)["scanned"], 0);
    std::fs::remove_file(&brake).unwrap();
    until("the scan has ended", async || state(&place)["scan_ended"] == true).await;
    let (code, _) = moved(&place, &["abort"]);
    assert_eq!(code, Some(0));
    let output = copier.0.stdout.take().unwrap();
    assert_eq!(copier.0.wait().unwrap().code(), Some(0), "it ends when the move was ended");
    let told = std::io::read_to_string(output).unwrap();
    assert!(told.contains("rest is there") && !told.contains("aliveandwell"), "{told}");
}

#[tokio::test]
async fn what_cannot_be_moved_is_said_and_nothing_is_made() {
    let place = Place::postgres("refused").await.with_table();
    place.execute("CREATE TABLE unknown (id int PRIMARY KEY, whatever text)").await;
    place.execute("CREATE VIEW readers AS SELECT session_key FROM django_session").await;
    for (command, named) in [
        (&["run"][..], "readers is a view"),
        (&["run", "--table", "nowhere"], "no table nowhere"),
        (&["run", "--table", "unknown"], "--living"),
        (&["run", "--table", "unknown", "--living", "ends > now()"], "living"),
        (&["status", "--table", "unknown"], "switchover move run"),
    ] {
        let (code, told) = moved(&place, command);
        assert!(code == Some(1) && told.to_string().contains(named), "{command:?}: {told}");
    }
    let (code, plan) = moved(&place, &["preflight"]);
    assert!(code == Some(2) && plan["obstacles"][0].to_string().contains("readers"), "{plan}");
    assert_eq!(place.number("SELECT count(*) FROM pg_class WHERE relname LIKE '%move%'").await, 0);
    for address in ["mysql://user:secret@db-1/site", "default", "sqlite:secret"] {
        let output = switchover(&["move", "run", address]);
        let said = said(&output);
        assert!(output.status.code() == Some(1) && said.contains("postgres://") && !said.contains("secret"), "{said}");
    }
}
