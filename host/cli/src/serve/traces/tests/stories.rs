//! One claim each about the spans of a request.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use axum::http::Method;
use opentelemetry::trace::{Span as _, Tracer as _, TracerProvider as _};
use switchover::backends::{Fault, Faulty, FlagSwitch, MemoryCache, MemoryDatabase, Operation, Sqlite};
use switchover::capabilities::DatabaseError;
use switchover::{Builtin, Layout, Limits, Policy, SessionKey, Switchover};

use super::collector::{COLLECTOR, Seen, hex};
use super::door::{CALLER, Door, PAYLOAD};
use crate::serve::traces::Traces;
use crate::serve::traces::environment::Environment;

/// A trace's id, that of no other test.
fn trace(number: u8) -> String {
    format!("4bf92f3577b34da6a3ce929d0e0e47{number:02x}")
}

/// The spans of a trace once there are as many as these, by their names in the order of their beginning.
async fn spans(trace: &str, wanted: usize) -> Vec<Seen> {
    for _ in 0..100 {
        let id = trace.to_owned();
        let mut seen = tokio::task::spawn_blocking(move || COLLECTOR.trace(&id)).await.unwrap();
        if seen.len() >= wanted {
            seen.sort_by_key(|span| span.0.start_time_unix_nano);
            return seen;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("fewer than {wanted} spans came")
}

fn named<'a>(spans: &'a [Seen], name: &str) -> &'a Seen {
    let names: Vec<_> = spans.iter().map(Seen::name).collect();
    spans.iter().find(|span| span.name() == name).unwrap_or_else(|| panic!("no `{name}` in {names:?}"))
}

fn is_child(child: &Seen, parent: &Seen) -> bool {
    child.0.parent_span_id == parent.0.span_id
}

fn map<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

async fn on(database: impl switchover::capabilities::IntoDatabase) -> Switchover {
    let builder = Switchover::builder().database("default", database).cache(MemoryCache::default());
    builder.policy(Policy::builtin(Builtin::CachedDb)).build().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn trace_goes_on_from_the_caller_through_the_policy_to_the_database() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.sqlite3");
    let database = Sqlite::builder(path.clone()).layout(Layout::SWITCHOVER).create_if_missing(true).open();
    let database = database.await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    switchover::capabilities::Database::upkeep(&database).create_schema(deadline).await.unwrap();
    let host = on(database).await;
    let (door, key) = (Door::open(&host), SessionKey::random());

    let (saved, loaded) = (trace(1), trace(2));
    let session = format!("/v1/sessions/{}", key.expose());
    let answer = door.ask(&saved, Method::PUT, &format!("{session}?mode=create")).await;
    assert_eq!(answer.status(), 204);
    assert_eq!(door.ask(&loaded, Method::GET, &session).await.body(), PAYLOAD);

    let spans = spans(&loaded, 6).await;
    let [request, call, policy] =
        ["GET /v1/sessions/{key}", "session load", "policy cached-db"].map(|name| named(&spans, name));
    let (look, read) = (named(&spans, "cache get"), named(&spans, "SELECT switchover_session"));
    assert_eq!(hex(&request.0.parent_span_id), CALLER);
    assert!(is_child(call, request) && is_child(policy, call) && is_child(look, policy) && is_child(read, policy));

    // 2: server, 3: client, 1: internal.
    assert_eq!([request, call, policy, look, read].map(|span| span.0.kind), [2, 1, 1, 1, 3]);
    let wanted = map([
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("http.route", "/v1/sessions/{key}"),
        ("network.protocol.version", "1.1"),
        ("url.scheme", "http"),
    ]);
    assert_eq!(request.attributes(), wanted);
    let wanted = map([
        ("db.collection.name", "switchover_session"),
        ("db.namespace", path.to_str().unwrap()),
        ("db.operation.name", "SELECT"),
        ("db.system.name", "sqlite"),
    ]);
    assert_eq!(read.attributes(), wanted);
    assert_eq!(call.attributes(), map([("switchover.operation", "load")]));
    let version = host.policy().version;
    let wanted = map([
        ("switchover.policy.call", "load"),
        ("switchover.policy.digest", &version.digest),
        ("switchover.policy.name", "cached-db"),
        ("switchover.policy.version", &version.version),
    ]);
    assert_eq!(policy.attributes(), wanted);
    assert!(!spans.iter().any(Seen::is_error));

    let flag = &policy.flags()["switchover.policy"];
    assert_eq!(flag["feature_flag.provider.name"], "switchover");
    assert_eq!(flag["feature_flag.result.variant"], format!("cached-db {}", version.version));
    assert_eq!(flag["feature_flag.result.reason"], "static");
    assert_eq!(flag["feature_flag.version"], version.digest);

    let saved = self::spans(&saved, 6).await;
    let write = named(&saved, "INSERT switchover_session");
    assert!(is_child(write, named(&saved, "policy cached-db")), "a write has a task of its own");
    assert_eq!(COLLECTOR.service()["service.name"], "switchover");
}

#[tokio::test(flavor = "multi_thread")]
async fn write_of_two_databases_is_in_the_trace_with_the_phase() {
    let flags = FlagSwitch::new([("migration_phase", "strict"), ("migration_profile", "backfill")]);
    let settings = [("old", "default"), ("new", "new_session_store")];
    let policy = Policy::builtin(Builtin::Phased);
    let policy = settings.into_iter().fold(policy, |policy, (name, value)| policy.setting(name, value));
    let built = Switchover::builder()
        .database("default", MemoryDatabase::new())
        .database("new_session_store", MemoryDatabase::new())
        .flags(flags)
        .policy(policy)
        .build()
        .await;
    let host = built.unwrap();
    let (door, id) = (Door::open(&host), trace(3));
    let status = door.ask(&id, Method::PUT, "/v1/sessions/0123456789abcdef0123456789abcdef?mode=create").await.status();
    assert_eq!(status, 204);
    let spans = spans(&id, 7).await;
    let (policy, batch) = (named(&spans, "policy phased"), named(&spans, "switchover.batch"));
    assert!(is_child(batch, policy));
    for name in ["INSERT memory", "UPSERT memory", "COMMIT memory"] {
        assert!(is_child(named(&spans, name), batch), "{name}");
    }
    let flag = &policy.flags()["migration_phase"];
    assert_eq!(flag["feature_flag.result.variant"], "strict");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_outcome_and_timeout_are_errors_in_every_span_down_to_the_database() {
    let database = Faulty::new(MemoryDatabase::new());
    let mut limits = Limits::default();
    limits.read_deadline = Duration::from_millis(100);
    let builder = Switchover::builder().database("default", database.clone()).limits(limits);
    let host = builder.policy(Policy::builtin(Builtin::CachedDb)).build().await.unwrap();
    let (door, session) = (Door::open(&host), format!("/v1/sessions/{}", SessionKey::random().expose()));

    let lost = DatabaseError::UnknownOutcome { message: format!("lost {PAYLOAD}") };
    database.inject(Operation::Write, Fault::After(lost));
    database.inject(Operation::Read, Fault::Silent { effect: false });
    let asked = [
        (trace(4), Method::DELETE, 504, "unknown-outcome", "DELETE"),
        (trace(5), Method::GET, 503, "timeout", "SELECT"),
    ];
    for (id, method, status, error_type, operation) in asked {
        assert_eq!(door.ask(&id, method, &session).await.status(), status);
        let spans = spans(&id, 4).await;
        assert_eq!(
            named(&spans, &format!("{operation} memory")).attribute("db.operation.name").as_deref(),
            Some(operation)
        );
        for span in spans {
            assert!(span.is_error(), "{}", span.name());
            assert_eq!(span.attribute("error.type").as_deref(), Some(error_type), "{}", span.name());
            assert_eq!(span.0.status.unwrap().message, "");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_and_no_payload_is_sent_whatever_is_asked() {
    let database = Faulty::new(MemoryDatabase::new());
    let host = on(database.clone()).await;
    let (door, id) = (Door::open(&host), trace(6));
    // One as Switchover makes them, and one that looks like nothing known.
    let keys = [SessionKey::random().expose().to_owned(), "Some.Other~Key-1".to_owned()];
    let mut secrets = vec![PAYLOAD.to_owned()];
    for round in 0..2 {
        for key in &keys {
            let path = format!("/v1/sessions/{key}");
            for (method, path) in [
                (Method::PUT, format!("{path}?mode=create")),
                (Method::PUT, format!("{path}?mode=update")),
                (Method::PUT, format!("{path}?mode={key}")),
                (Method::GET, path.clone()),
                (Method::HEAD, path.clone()),
                (Method::PATCH, path.clone()),
                (Method::DELETE, path.clone()),
                (Method::OPTIONS, path.clone()),
                (Method::GET, format!("/nothing/{key}?key={key}")),
                (Method::GET, format!("/v1/sessions/{key}{key}%00")),
                (Method::POST, format!("/v1/sessions/clear-expired?limit={key}")),
                (Method::POST, "/v1/sessions/clear-expired?limit=10".to_owned()),
            ] {
                let _any = door.ask(&id, method, &path).await;
            }
            let _any = door.ask(&id, Method::PUT, &format!("{path}?mode=create")).await;
            for path in [format!("{path}/cycle"), "/v1/sessions".to_owned()] {
                let answer = door.ask(&id, Method::POST, &path).await;
                let answer: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
                secrets.extend(answer["key"].as_str().map(str::to_owned));
            }
            let question =
                format!(r#"{{"model": {{"app_label": "{key}", "model_name": "m"}}, "hints": {{"key": "{key}"}}}}"#);
            let _any = door.ask_with(&id, "/v1/router/db-for-read", question).await;
            let _any = door.order(&id, Method::GET, &format!("/v1/admin/policy?{key}")).await;
        }
        if round == 0 {
            let told = |what: &str| DatabaseError::Unavailable { message: format!("{what} {} {PAYLOAD}", keys[0]) };
            database.inject(Operation::Read, Fault::After(told("read")));
            database.inject(Operation::Write, Fault::After(told("write")));
        }
    }
    assert!(secrets.len() >= 4, "new keys came in the first round: {secrets:?}");
    secrets.extend(keys);
    assert!(spans(&id, 100).await.iter().any(Seen::is_error));
    let bytes = tokio::task::spawn_blocking(|| COLLECTOR.bytes()).await.unwrap();
    let has = |secret: &str| bytes.windows(secret.len()).any(|at| at == secret.as_bytes());
    assert!(has("/v1/sessions/{key}") && has("feature_flag.evaluation"), "they are looked for where they would be");
    for secret in secrets {
        assert!(!has(&secret), "{secret} was sent");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn change_of_the_policy_is_in_the_trace_of_its_operator() {
    let host = on(MemoryDatabase::new()).await;
    let (door, id) = (Door::open(&host), trace(7));
    let answer = door.order(&id, Method::POST, "/v1/admin/policy/swap?builtin=cached-db").await;
    assert_eq!(answer.status(), 200, "{:?}", answer.body());
    let spans = spans(&id, 2).await;
    let change = named(&spans, "change swap");
    assert!(is_child(change, named(&spans, "POST /v1/admin/policy/swap")));
    assert_eq!(change.flags()["switchover.policy"]["feature_flag.version"], host.policy().version.digest);
}

#[tokio::test(flavor = "multi_thread")]
async fn end_does_not_wait_for_a_collector_that_is_away() {
    let environment = Environment { timeout: Duration::from_secs(10), certificate: None, has_service_name: true };
    // A listener that never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}/v1/traces", silent.local_addr().unwrap());
    let traces = Traces::start(&environment, Some(&endpoint)).unwrap();
    traces.0.tracer("test").start("span").end();
    let began = Instant::now();
    traces.end().await;
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn health_checks_have_no_spans() {
    let host = on(MemoryDatabase::new()).await;
    let (door, id) = (Door::open(&host), trace(8));
    for path in ["/livez", "/readyz", "/metrics"] {
        let _any = door.ask(&id, Method::GET, path).await;
    }
    let _any = door.ask(&id, Method::GET, "/v1/openapi.json").await;
    let spans = spans(&id, 1).await;
    assert_eq!(spans.iter().map(Seen::name).collect::<Vec<_>>(), ["GET /v1/openapi.json"]);
}
