//! The admin API as an operator's program sees it, over real sockets.

mod begin;
mod documented;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use switchover::backends::{Address, FlagSwitch, MemoryCache, MemoryDatabase};
use switchover::capabilities::{Control, Database, IntoDatabase as _};
use switchover::migration::{Beginning, Brakes, Controller, Migration};
use switchover::{Builtin, Payload, Policy, Switchover, expires_in};
use switchover_server::{Admin, Audit, Doors, Server, Tokens};
use tempfile::TempDir;

use crate::client::Client;

const PATIENCE: Duration = Duration::from_secs(30);
const JSON: &str = "Content-Type: application/json\r\n";
const WASM: &str = "Content-Type: application/wasm\r\n";

/// An operator's program with a token whose name is `alice`.
struct Operator {
    client: Client,
    headers: String,
    audit: std::path::PathBuf,
    _server: Server,
    _folder: TempDir,
}

impl Operator {
    fn of(switchover: &Switchover) -> Self {
        Self::with(switchover, |admin| admin)
    }

    fn with(switchover: &Switchover, more: impl FnOnce(Admin) -> Admin) -> Self {
        let folder = TempDir::new().unwrap();
        let audit = folder.path().join("audit.jsonl");
        let made = Tokens::make().unwrap();
        let tokens = Tokens::parse(&format!("{} alice", made.line)).unwrap();
        let admin = more(Admin::new(switchover, Audit::to_file(&audit).unwrap()));
        let mut server = Server::new(Doors::new(switchover));
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let client = Client::plain(server.tcp(any_port, admin.routes_with_tokens(&tokens), None).unwrap());
        let headers = format!("Authorization: Bearer {}\r\nFrom: alice@example.org\r\n", made.token);
        Self { client, headers, audit, _server: server, _folder: folder }
    }

    async fn ask(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> (u16, Value) {
        let headers = [self.headers.as_str(), headers].concat();
        let path = format!("/v1/admin/{path}");
        let answer = self.client.ask(method, &path, &headers, body).await;
        documented::ensure(method, &path, &answer);
        (answer.status, serde_json::from_slice(&answer.body).unwrap())
    }

    async fn get(&self, path: &str) -> Value {
        let (status, told) = self.ask("GET", path, "", b"").await;
        assert_eq!(status, 200, "{path}: {told}");
        told
    }

    async fn order(&self, path: &str, order: &Value) -> (u16, Value) {
        self.ask("POST", path, JSON, order.to_string().as_bytes()).await
    }

    /// The command, the operator and the status of each line of the audit log.
    fn audited(&self) -> Vec<(String, String, Option<u64>)> {
        let text = std::fs::read_to_string(&self.audit).unwrap();
        let line = |line: &str| {
            let line: Value = serde_json::from_str(line).unwrap();
            let word = |name: &str| line[name].as_str().unwrap().to_owned();
            (word("command"), word("by"), line["status"].as_u64())
        };
        text.lines().map(line).collect()
    }
}

async fn alone() -> Switchover {
    let flags = FlagSwitch::new([("migration_flag", "false")]);
    let builder = Switchover::builder()
        .database("default", MemoryDatabase::new())
        .database("new_session_store", MemoryDatabase::new())
        .cache(MemoryCache::default())
        .flags(flags);
    builder.policy(Policy::builtin(Builtin::CachedDb)).build().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn policy_is_tried_swapped_and_taken_back_and_each_command_is_in_the_audit_log() {
    let switchover = alone().await;
    let operator = Operator::of(&switchover);
    let running = async || operator.get("policy").await["running"]["name"].as_str().unwrap().to_owned();
    let key = switchover.sessions().create(Payload::from("a basket"), expires_in(PATIENCE)).await.unwrap();

    let (status, tried) = operator.ask("POST", "policy/try", WASM, Builtin::Fallback.component()).await;
    assert_eq!((status, &tried["policy"]["name"]), (200, &json!("fallback")), "{tried}");
    assert_eq!(running().await, "cached-db", "a trial changes nothing");
    let (status, swapped) = operator.ask("POST", "policy/swap", WASM, Builtin::Fallback.component()).await;
    assert_eq!((status, &swapped["policy"]["name"]), (200, &json!("fallback")), "{swapped}");
    assert_eq!(running().await, "fallback");
    assert!(switchover.sessions().load(&key).await.unwrap().is_some());

    let (status, refused) = operator.ask("POST", "policy/swap", WASM, b"no component").await;
    assert_eq!((status, &refused["code"]), (422, &json!("policy-rejected")), "{refused}");
    let secret = "Policy-Settings: {\"databases\": \"default\", \"previous\": 7}\r\n";
    let (status, refused) = operator.ask("POST", "policy/swap?builtin=shards", secret, b"").await;
    assert_eq!((status, &refused["code"]), (400, &json!("invalid")), "{refused}");
    let settings = "Policy-Settings: {\"databases\": \"default,new_session_store\"}\r\n";
    let (status, tried) = operator.ask("POST", "policy/try?builtin=shards", settings, b"").await;
    assert_eq!((status, &tried["databases"]), (200, &json!(["default", "new_session_store"])), "{tried}");
    for wrong in ["policy/swap?builtin=nonsense", "policy/swap", "policy/swap?bultin=shards"] {
        assert_eq!(operator.ask("POST", wrong, "", b"").await.0, 400, "{wrong}");
    }
    assert_eq!(running().await, "fallback");

    assert_eq!(operator.ask("POST", "policy/roll-back", "", b"").await.0, 200);
    assert_eq!(running().await, "cached-db");
    let (status, flags) = operator.ask("POST", "flags/apply", "", b"").await;
    assert_eq!((status, &flags["flags"]["migration_flag"]), (200, &json!("false")));
    let whole = operator.get("status").await;
    assert_eq!(whole["ok"], true, "{whole}");
    assert_eq!(whole["databases"].as_array().unwrap().len(), 2);
    assert!(!whole.to_string().contains(key.expose()));

    let long = format!("From: (bob) {}\r\n", "b".repeat(200));
    let headers = [operator.headers.replace("From: alice@example.org\r\n", &long).as_str(), WASM].concat();
    let answer = operator.client.ask("POST", "/v1/admin/policy/swap", &headers, b"nothing").await;
    assert_eq!(answer.status, 422);
    let told = operator.audited().pop().unwrap().1;
    assert!(told.starts_with("bob b") && told.ends_with(" (alice)"), "the token's name is always there: {told}");

    let audited = operator.audited();
    let by = "alice@example.org (alice)".to_owned();
    let of = |command: &str, status| (command.to_owned(), by.clone(), status);
    assert_eq!(
        &audited[..4],
        [of("policy/try", None), of("policy/try", Some(200)), of("policy/swap", None), of("policy/swap", Some(200))]
    );
    assert_eq!(audited.len(), 2 * 11, "two lines for each command, none for what only looks: {audited:#?}");
    assert!(!std::fs::read_to_string(&operator.audit).unwrap().contains("previous"), "a setting is in the audit log");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_token_learns_nothing_and_too_many_commands_are_refused() {
    let switchover = alone().await;
    let operator = Operator::of(&switchover);
    for (method, path) in [("GET", "status"), ("POST", "policy/roll-back"), ("GET", "migration"), ("GET", "nothing")] {
        let answer = operator.client.ask(method, &format!("/v1/admin/{path}"), "", b"").await;
        let expected = if path == "nothing" { 404 } else { 401 };
        assert_eq!(answer.status, expected, "{method} {path}");
    }
    assert!(operator.audited().is_empty());
    for path in ["migration", "migration/hosts", "migration/evidence", "migration/diff"] {
        let (status, told) = operator.ask("GET", path, "", b"").await;
        assert_eq!((status, &told["code"]), (404, &json!("no-migration")), "{path}: {told}");
    }
    let mut refused = None;
    for _ in 0..200 {
        let (status, told) = operator.ask("GET", "policy", "", b"").await;
        if status == 429 {
            refused = Some(told);
            break;
        }
        assert_eq!(status, 200, "{told}");
    }
    let refused = refused.expect("200 commands at once are too many");
    assert_eq!(refused["code"], "rate-limited");
    let wait = Duration::from_millis(refused["retry_after_ms"].as_u64().unwrap() + 1);
    tokio::time::sleep(wait).await;
    assert_eq!(operator.ask("GET", "policy", "", b"").await.0, 200, "it says how long to wait");
}

#[tokio::test(flavor = "multi_thread")]
async fn command_that_cannot_be_audited_is_not_made() {
    let switchover = alone().await;
    let mut server = Server::new(Doors::new(&switchover));
    // The disk is full.
    let admin = Admin::new(&switchover, Audit::to_file("/dev/full").unwrap());
    let client = Client::plain(server.tcp(SocketAddr::from(([127, 0, 0, 1], 0)), admin.routes(), None).unwrap());
    let refused = client.ask("POST", "/v1/admin/policy/swap?builtin=fallback", "", b"").await;
    assert_eq!((refused.status, refused.header("switchover-error")), (500, Some("no-audit")));
    assert_eq!(switchover.policy().version.name, "cached-db");
    assert_eq!(client.ask("GET", "/v1/admin/policy", "", b"").await.status, 200, "looking is not written");
}

/// A database in a file of this folder, with its table.
async fn opened(folder: &TempDir, name: &str) -> Arc<dyn Database> {
    let file = switchover::backends::Sqlite::builder(folder.path().join(name)).create_if_missing(true);
    let database = file.open().await.unwrap().into_database();
    let deadline = || Instant::now() + PATIENCE;
    if !database.upkeep().missing_schema(deadline()).await.unwrap().is_empty() {
        database.upkeep().create_schema(deadline()).await.unwrap();
    }
    database
}

fn control_in(folder: &TempDir) -> Arc<dyn Control> {
    let address = format!("sqlite:{}", folder.path().join("control.sqlite3").display());
    Address::parse(&address).unwrap().control().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn fleet_of_one_is_moved_held_and_brought_back_through_the_api() {
    let folder = TempDir::new().unwrap();
    let (old, new) = (opened(&folder, "old.sqlite3").await, opened(&folder, "new.sqlite3").await);
    let (rest, control) = (folder.path().join("rest"), control_in(&folder));
    let begin = Controller::new("to-new", Arc::clone(&control), Arc::clone(&old), Arc::clone(&new), "the test");
    begin.init(Beginning::default()).await.unwrap();
    let switchover = Switchover::builder()
        .database("default", old)
        .database("new_session_store", new)
        .cache(MemoryCache::default())
        .migration(Migration::new("to-new", "web-1", control).brakes(Brakes::new().file(&rest)))
        .build()
        .await
        .unwrap();
    let operator = Operator::of(&switchover);
    for number in 0..20 {
        let payload = Payload::from(format!("session {number}").as_str());
        switchover.sessions().create(payload, expires_in(PATIENCE * 10)).await.unwrap();
    }
    let (status, told) = operator.ask("POST", "policy/swap?builtin=cached-db", "", b"").await;
    assert_eq!((status, &told["code"]), (409, &json!("in-migration")), "{told}");

    // What is wrong, or only asked, changes nothing.
    let before = operator.get("migration").await;
    for (path, order, status, code) in [
        ("advance", json!({"to": "reverse"}), 409, "no-step"),
        ("advance", json!({"to": "nonsense"}), 400, "invalid"),
        ("advance", json!({"two": "mirror"}), 422, "invalid"),
        ("advance", json!(["mirror"]), 422, "invalid"),
        ("settle", json!({"to": "mirror"}), 422, "invalid"),
        ("settle", json!({}), 409, "no-step"),
        ("rollback", json!({}), 409, "no-step"),
        ("complete", json!({}), 409, "no-step"),
        ("hold", json!(null), 422, "invalid"),
        ("hold", json!({"why": " "}), 400, "invalid"),
        ("rate", json!({"rows": 0}), 400, "invalid"),
        ("evict", json!({"host": "nobody"}), 422, "invalid"),
        ("evict", json!({"host": "web-1", "dry_run": true}), 422, "invalid"),
        ("policy", json!({"policy": "../x"}), 422, "invalid"),
        ("policy", json!({"policy": "phased", "flags": {"a=b": "c"}}), 422, "invalid"),
        ("repair", json!({}), 422, "invalid"),
    ] {
        let (answered, told) = operator.order(&format!("migration/{path}"), &order).await;
        assert_eq!((answered, &told["code"]), (status, &json!(code)), "{path} {order}: {told}");
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    for (path, order) in [
        ("advance", json!({"dry_run": true})),
        ("hold", json!({"why": "to see", "dry_run": true})),
        ("rate", json!({"rows": 10, "dry_run": true})),
    ] {
        let (status, told) = operator.order(&format!("migration/{path}"), &order).await;
        assert_eq!((status, &told["ok"]), (200, &json!(true)), "{path}: {told}");
    }
    let after = operator.get("migration").await;
    for member in ["phase", "held", "rate", "epoch"] {
        assert_eq!(before[member], after[member], "{member}");
    }

    // There, as far as `strict`, with everything that an operator does on the way.
    let order = async |path: &str, order: Value| {
        let path = format!("migration/{path}");
        let give_up = Instant::now() + PATIENCE;
        loop {
            let (status, told) = operator.order(&path, &order).await;
            match status {
                200 => return told,
                // A guard is not green yet, the epoch is not sealed yet, or too many commands.
                202 | 409 | 429 if Instant::now() < give_up => tokio::time::sleep(Duration::from_millis(300)).await,
                _ => panic!("{path} {order}: {status} {told}"),
            }
        }
    };
    assert_eq!(order("hold", json!({"why": "a backup runs"})).await["held"], "a backup runs");
    assert_eq!(order("resume", json!({})).await["held"], Value::Null);
    assert_eq!(order("rate", json!({"rows": 10_000})).await["rate"], 10_000);
    assert_eq!(order("rate", json!({})).await["rate"], Value::Null);
    // A host whose jobs rest says why.
    std::fs::write(&rest, "").unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(order("advance", json!({})).await["sealed"], true);
    let note = async || {
        let status = operator.get("migration").await;
        let job = status["jobs"].as_array().unwrap().iter().find(|job| job["job"] == "backfill").cloned();
        job.map(|job| (job["note"].as_str().unwrap().to_owned(), job["done"].as_u64().unwrap()))
    };
    let give_up = Instant::now() + PATIENCE;
    while !note().await.is_some_and(|(note, done)| note.contains("rests: the file") && done == 0) {
        assert!(Instant::now() < give_up, "{:?}", note().await);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    std::fs::remove_file(&rest).unwrap();
    assert_eq!(operator.get("migration").await["phase"], "mirror");
    order("policy", json!({"policy": "phased", "flags": {"colour": "blue"}, "dry_run": true})).await;
    assert_eq!(order("policy", json!({"policy": "phased", "flags": {"colour": "blue"}})).await["sealed"], true);
    assert_eq!(switchover.flags().value("colour"), Some("blue"));
    order("settle", json!(null)).await;
    order("advance", json!({})).await;
    let there = operator.get("migration").await;
    assert_eq!(there["phase"], "strict", "{there}");
    for dry_run in [true, false] {
        let told = order("advance", json!({"to": "strict", "dry_run": dry_run})).await;
        assert_eq!((&told["ok"], &told["guards"]), (&json!(true), &json!([])), "there is nothing to do: {told}");
    }
    assert_eq!(operator.get("migration").await["epoch"], there["epoch"]);
    assert!(there["log"].to_string().contains("alice@example.org (alice)"), "the log names who decided: {there}");
    let compared = operator.get("migration/diff").await;
    assert_eq!((&compared["ok"], &compared["equal"]), (&json!(true), &json!(20)), "{compared}");
    assert_eq!(operator.get("migration/hosts").await["hosts"].as_array().unwrap().len(), 1);
    assert_eq!(operator.get("migration/marks").await["ok"], true);
    assert_eq!(operator.get("migration/preflight").await["statements"], json!([]));
    let again = order("init", json!({"profile": "lazy"})).await;
    assert_eq!((&again["phase"], &again["statements"]), (&json!("strict"), &json!([])), "{again}");
    assert_eq!(operator.get("migration").await["profile"], "backfill", "nothing that is there was changed");
    assert!(operator.get("migration/evidence").await["log"].as_array().unwrap().len() >= 6);

    // And back.
    assert_eq!(order("rollback", json!({})).await["sealed"], true);
    for _ in 0..2 {
        assert_eq!(order("abort", json!({})).await["ok"], true, "it may be repeated");
        assert_eq!(operator.get("migration").await["phase"], "off");
    }
    switchover.close().await;
}
