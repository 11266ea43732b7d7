//! The API as a client sees it, byte for byte, over real sockets.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod admin;
mod client;

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use switchover::backends::{Fault, Faulty, FlagSwitch, MemoryCache, MemoryDatabase, Operation};
use switchover::capabilities::{Database, DatabaseError};
use switchover::{Builtin, Layout, Limits, Policy, Switchover};
use switchover_harness::Certificates;
use switchover_server::{Doors, METRICS, Server, Tls, Tokens, UnixDoor};
use tokio::net::TcpStream;

use crate::client::{Answer, Client};

const FAR: &str = "Session-Expires: 2099-12-31T23:59:59.123456Z\r\n";
const BYTES: &str = "Content-Type: application/octet-stream\r\n";
/// What nothing may repeat.
const SECRET: &str = "s3cr3t-0123456789abcdef";

struct Site {
    database: Faulty<MemoryDatabase>,
    switchover: Switchover,
    doors: Doors,
    server: Server,
}

impl Site {
    async fn new() -> Self {
        Self::with_deadline(Duration::from_millis(200)).await
    }

    async fn with_deadline(deadline: Duration) -> Self {
        let database = Faulty::new(MemoryDatabase::with_layout(Layout::SWITCHOVER));
        let mut limits = Limits::default();
        (limits.read_deadline, limits.write_deadline) = (deadline, deadline);
        limits.payload_bytes_max = 1_000;
        let switchover = Switchover::builder()
            .database("default", Arc::new(database.clone()) as Arc<dyn Database>)
            .cache(MemoryCache::default())
            .limits(limits)
            .policy(Policy::builtin(Builtin::CachedDb))
            .build()
            .await
            .unwrap();
        let doors = Doors::new(&switchover);
        let server = Server::new(doors.clone());
        Self { database, switchover, doors, server }
    }

    /// With a port that anyone may call.
    async fn open() -> (Self, Client) {
        let mut site = Self::new().await;
        let bound = site.server.tcp(any_port(), site.doors.routes(), None).unwrap();
        (site, Client::plain(bound))
    }
}

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// An error in the one form that there is, which repeats nothing.
fn ensure_problem(what: &str, answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.header("switchover-error")), (status, Some(code)), "{what}: {answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{what}");
    let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(problem["status"], status, "{what}");
    assert_eq!(problem["code"], code, "{what}");
    assert_eq!(problem["type"], format!("urn:switchover:error:{code}"), "{what}");
    assert!(problem["title"].is_string() && problem["detail"].is_string(), "{what}: {problem}");
    assert_eq!(problem["retryable"].as_bool(), Some(problem["retry_after_ms"].is_u64()), "{what}: {problem}");
    assert!(!format!("{answer:?}").contains(SECRET), "{what}: {answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn committed_document_is_that_of_the_routes() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    if std::env::var_os("UPDATE_GOLDENFILES").is_some() {
        std::fs::write(&path, switchover_server::document()).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    assert_eq!(
        committed,
        switchover_server::document(),
        "write it anew with UPDATE_GOLDENFILES=1, and read the difference"
    );
    let (_site, client) = Site::open().await;
    assert_eq!(client.ask("GET", "/v1/openapi.json", "", b"").await.body, committed.as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn session_lives_from_its_create_to_its_delete() {
    let (_site, client) = Site::open().await;
    let created = client.ask("POST", "/v1/sessions", &[FAR, BYTES].concat(), b"\0one\xff").await;
    assert_eq!(created.status, 201, "{created:?}");
    let key = serde_json::from_slice::<serde_json::Value>(&created.body).unwrap()["key"].as_str().unwrap().to_owned();
    let path = format!("/v1/sessions/{key}");

    let loaded = client.ask("GET", &path, "", b"").await;
    assert_eq!((loaded.status, &loaded.body[..]), (200, &b"\0one\xff"[..]));
    assert_eq!(loaded.header("session-expires"), Some("2099-12-31T23:59:59.123456Z"));
    assert_eq!(loaded.header("content-type"), Some("application/octet-stream"));
    assert_eq!(loaded.header("cache-control"), Some("no-store"));
    assert_eq!(client.ask("HEAD", &path, "", b"").await.status, 200);

    let sooner = "Session-Expires: 2098-01-01T01:00:00+01:00\r\n";
    let saved = client.ask("PUT", &format!("{path}?mode=update"), &[sooner, BYTES].concat(), b"two").await;
    assert_eq!(saved.status, 204, "{saved:?}");
    let taken = client.ask("PUT", &format!("{path}?mode=create"), FAR, b"three").await;
    ensure_problem("create of a taken key", &taken, 409, "exists");
    let loaded = client.ask("GET", &path, "", b"").await;
    assert_eq!(
        (&loaded.body[..], loaded.header("session-expires")),
        (&b"two"[..], Some("2098-01-01T00:00:00.000000Z"))
    );
    assert_eq!(client.ask("PATCH", &path, FAR, b"").await.status, 204);
    let touched = client.ask("GET", &path, "", b"").await;
    assert_eq!(touched.header("session-expires"), Some("2099-12-31T23:59:59.123456Z"));

    let cycled = client.ask("POST", &format!("{path}/cycle"), "", b"").await;
    let cycled: serde_json::Value = serde_json::from_slice(&cycled.body).unwrap();
    assert_eq!(cycled["old_key_deleted"], true);
    ensure_problem("load of the old key", &client.ask("GET", &path, "", b"").await, 404, "no-session");
    let path = format!("/v1/sessions/{}", cycled["key"].as_str().unwrap());
    assert_eq!(client.ask("GET", &path, "", b"").await.body, b"two");

    for _ in 0..2 {
        assert_eq!(client.ask("DELETE", &path, "", b"").await.status, 204);
    }
    let late = client.ask("PUT", &format!("{path}?mode=update"), FAR, b"late").await;
    ensure_problem("save after a logout", &late, 404, "no-session");
    ensure_problem("touch after a logout", &client.ask("PATCH", &path, FAR, b"").await, 404, "no-session");
    let cycled = client.ask("POST", &format!("{path}/cycle"), "", b"").await;
    ensure_problem("new key after a logout", &cycled, 404, "no-session");
    assert_eq!(client.ask("HEAD", &path, "", b"").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn ended_sessions_are_not_found_and_are_cleared() {
    let (_site, client) = Site::open().await;
    for name in ["a", "b", "c"] {
        let past = "Session-Expires: 1901-01-01T00:00:00Z\r\n";
        let path = format!("/v1/sessions/ended-{name}?mode=create");
        assert_eq!(client.ask("PUT", &path, past, b"x").await.status, 204);
    }
    ensure_problem("an ended one", &client.ask("GET", "/v1/sessions/ended-a", "", b"").await, 404, "no-session");
    assert_eq!(client.ask("HEAD", "/v1/sessions/ended-a", "", b"").await.status, 200);
    let cleared =
        async |query: &str| client.ask("POST", &format!("/v1/sessions/clear-expired{query}"), "", b"").await.body;
    assert_eq!(cleared("?limit=2").await, br#"{"deleted":2}"#);
    assert_eq!(cleared("").await, br#"{"deleted":1}"#);
    assert_eq!(cleared("").await, br#"{"deleted":0}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_request_is_a_problem_that_repeats_nothing() {
    let (_site, client) = Site::open().await;
    let path = format!("/v1/sessions/{SECRET}");
    let create = format!("{path}?mode=create");
    let long = format!("/v1/sessions/{}", SECRET.repeat(20));
    let json = "Content-Type: application/json\r\n";
    let question = "/v1/router/db-for-read";
    let model = format!("{{\"model\":{{\"app_label\":\"{SECRET}\"}}}}");
    type Case<'c> = (&'c str, &'c str, &'c str, &'c str, &'c [u8], u16, &'c str);
    let cases: &[Case<'_>] = &[
        ("no such path", "GET", &format!("/v2/{SECRET}"), "", b"", 404, "no-route"),
        ("no such method", "POST", &path, "", b"", 405, "method-not-allowed"),
        ("a key that is too long", "GET", &long, "", b"", 400, "invalid"),
        ("a key with a space", "GET", &format!("{path}%20x"), "", b"", 400, "invalid"),
        ("a key that is not UTF-8", "GET", &format!("{path}%ff"), "", b"", 400, "invalid"),
        ("no mode", "PUT", &path, FAR, b"x", 400, "invalid"),
        ("another mode", "PUT", &format!("{path}?mode={SECRET}"), FAR, b"x", 400, "invalid"),
        ("more in the query", "PUT", &format!("{create}&x={SECRET}"), FAR, b"x", 400, "invalid"),
        ("no end", "PUT", &create, "", b"x", 400, "invalid"),
        ("an end that is no instant", "PUT", &create, &format!("Session-Expires: {SECRET}\r\n"), b"x", 400, "invalid"),
        ("two ends", "PUT", &create, &[FAR, FAR].concat(), b"x", 400, "invalid"),
        ("an end after 9999", "PUT", &create, "Session-Expires: +10000-01-01T00:00:00Z\r\n", b"x", 400, "invalid"),
        ("another type", "PUT", &create, &[FAR, json].concat(), b"x", 415, "unsupported-media-type"),
        ("too long", "PUT", &create, FAR, &[b'x'; 1_001], 413, "too-large"),
        ("no limit", "POST", &format!("/v1/sessions/clear-expired?limit={SECRET}"), "", b"", 400, "invalid"),
        ("no JSON", "POST", question, json, SECRET.as_bytes(), 422, "invalid"),
        ("other JSON", "POST", question, json, model.as_bytes(), 422, "invalid"),
        ("a list for an object", "POST", question, json, br#"{"model":["a","b"]}"#, 422, "invalid"),
        ("nothing to delete", "POST", "/v1/sessions/clear-expired?limit=0", "", b"", 400, "invalid"),
        ("too much to delete", "POST", "/v1/sessions/clear-expired?limit=10001", "", b"", 400, "invalid"),
        ("JSON of another type", "POST", question, BYTES, b"{}", 415, "unsupported-media-type"),
        ("long JSON", "POST", question, json, &[b' '; 70_000], 413, "too-large"),
    ];
    for (what, method, path, headers, body, status, code) in cases {
        ensure_problem(what, &client.ask(method, path, headers, body).await, *status, code);
    }
    let chunked = [FAR, "Transfer-Encoding: chunked\r\n"].concat();
    let body = [b"3e9\r\n", &[b'x'; 1_001][..], b"\r\n0\r\n\r\n"].concat();
    ensure_problem("long chunks", &client.raw("PUT", &create, &chunked, &body).await, 413, "too-large");
    ensure_problem("nothing was written", &client.ask("GET", &path, "", b"").await, 404, "no-session");
}

#[tokio::test(flavor = "multi_thread")]
async fn outage_is_never_no_session_and_an_unknown_outcome_is_never_a_failure() {
    let (site, client) = Site::open().await;
    let path = format!("/v1/sessions/{SECRET}");
    let update = format!("{path}?mode=update");
    assert_eq!(client.ask("PUT", &format!("{path}?mode=create"), FAR, b"x").await.status, 204);
    // What the cache has is found all the same.
    site.database
        .inject(Operation::Read, Fault::Before(DatabaseError::Unavailable { message: "it is away".to_owned() }));
    let other = format!("{path}-other");
    ensure_problem("load", &client.ask("GET", &other, "", b"").await, 503, "unavailable");
    let away = client.ask("GET", &other, "", b"").await;
    assert_eq!(away.header("retry-after"), Some("1"));
    site.database.heal();
    for effect in [true, false] {
        site.database.inject_times(1, Operation::Write, Fault::Silent { effect });
        ensure_problem("save", &client.ask("PUT", &update, FAR, b"y").await, 504, "unknown-outcome");
        site.database.inject_times(1, Operation::Write, Fault::Silent { effect });
        ensure_problem("delete", &client.ask("DELETE", &other, "", b"").await, 504, "unknown-outcome");
        site.database.heal();
    }
    assert_eq!(client.ask("PUT", &update, FAR, b"z").await.status, 204);
    assert_eq!(client.ask("GET", &path, "", b"").await.body, b"z");
    site.switchover.close().await;
    ensure_problem("closed", &client.ask("GET", &path, "", b"").await, 503, "unavailable");
    assert_eq!(client.ask("GET", "/livez", "", b"").await.status, 200);
    assert_eq!(client.ask("GET", "/readyz", "", b"").await.status, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn router_has_no_opinion_or_one_of_the_policy() {
    let (site, client) = Site::open().await;
    let json = "Content-Type: application/json\r\n";
    let model = r#"{"app_label":"sessions","model_name":"session"}"#;
    let of_model = format!(r#"{{"model":{model},"hints":{{"instance_database":"x","context":{{"a":"b"}}}}}}"#);
    let relation = format!(r#"{{"a":{{"model":{model},"database":"x"}},"b":{{"model":{model}}}}}"#);
    let migrate = r#"{"database":"elsewhere","app_label":"sessions"}"#;
    let questions = [
        ("db-for-read", of_model.as_str()),
        ("db-for-write", &of_model),
        ("allow-relation", &relation),
        ("allow-migrate", migrate),
    ];
    for (question, body) in questions {
        let answer = client.ask("POST", &format!("/v1/router/{question}"), json, body.as_bytes()).await;
        assert_eq!((answer.status, &answer.body[..]), (200, &b"null"[..]), "{question}: {answer:?}");
    }
    drop(site);

    let flags = FlagSwitch::new([("migration_flag", "true"), ("new_db_router_flag", "true")]);
    let moved = Switchover::builder()
        .database("default", MemoryDatabase::new())
        .database("new_session_store", MemoryDatabase::new())
        .flags(flags)
        .policy(Policy::builtin(Builtin::Fallback));
    let moved = moved.build().await.unwrap();
    let doors = Doors::new(&moved);
    let mut server = Server::new(doors.clone());
    let client = Client::plain(server.tcp(any_port(), doors.routes(), None).unwrap());
    for question in ["db-for-read", "db-for-write"] {
        let answer = client.ask("POST", &format!("/v1/router/{question}"), json, of_model.as_bytes()).await;
        assert_eq!(answer.body, br#""new_session_store""#, "{question}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn port_with_tokens_knows_who_calls_and_health_is_for_everyone() {
    let mut site = Site::new().await;
    let made = Tokens::make().unwrap();
    let tokens = Tokens::parse(&made.line).unwrap();
    let client = Client::plain(site.server.tcp(any_port(), site.doors.routes_with_tokens(&tokens), None).unwrap());
    let path = format!("/v1/sessions/{SECRET}");
    let with = |token: &str| format!("Authorization: Bearer {token}\r\n");
    for (what, headers) in [
        ("none", String::new()),
        ("another", with(SECRET)),
        ("its hash", with(&made.line)),
        ("another scheme", format!("Authorization: Basic {}\r\n", made.token)),
        ("an empty one", with("")),
    ] {
        let refused = client.ask("GET", &path, &headers, b"").await;
        ensure_problem(what, &refused, 401, "unauthorized");
        assert_eq!(refused.header("www-authenticate"), Some("Bearer"), "{what}");
    }
    ensure_problem("the token", &client.ask("GET", &path, &with(&made.token), b"").await, 404, "no-session");
    assert_eq!(client.ask("GET", "/livez", "", b"").await.status, 200);
    assert_eq!(client.ask("GET", "/readyz", "", b"").await.status, 200);
    let next = Tokens::make().unwrap();
    tokens.replace(&next.line).unwrap();
    ensure_problem("the old one", &client.ask("GET", &path, &with(&made.token), b"").await, 401, "unauthorized");
    assert_eq!(client.ask("GET", &path, &with(&next.token), b"").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_and_its_files_are_read_again() {
    let mut site = Site::new().await;
    let folder = tempfile::tempdir().unwrap();
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
    let write = |certificates: &Certificates| {
        std::fs::write(&cert, certificates.certificate()).unwrap();
        std::fs::write(&key, certificates.key()).unwrap();
    };
    let (first, second) = (Certificates::generate().unwrap(), Certificates::generate().unwrap());
    write(&first);
    let tls = Tls { cert: cert.clone(), key: key.clone(), client_ca: None };
    let bound = site.server.tcp(any_port(), site.doors.routes(), Some(&tls)).unwrap();
    let answers = async |certificates: &Certificates| {
        Client::tls(bound, certificates.authority()).try_ask("GET", "/livez", "", b"").await.is_ok()
    };
    assert!(answers(&first).await && !answers(&second).await);
    assert!(Client::plain(bound).try_ask("GET", "/livez", "", b"").await.is_err());
    std::fs::write(&key, "nonsense").unwrap();
    assert!(site.server.reload_tls().unwrap_err().to_string().contains("key.pem"));
    assert!(answers(&first).await);
    write(&second);
    site.server.reload_tls().unwrap();
    assert!(answers(&second).await && !answers(&first).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn port_with_an_authority_of_callers_lets_in_those_it_certified() {
    let mut site = Site::new().await;
    let folder = tempfile::tempdir().unwrap();
    let [cert, key, client_ca] = ["cert.pem", "key.pem", "ca.pem"].map(|name| folder.path().join(name));
    let [own, callers, others] = [(); 3].map(|()| Certificates::generate().unwrap());
    std::fs::write(&cert, own.certificate()).unwrap();
    std::fs::write(&key, own.key()).unwrap();
    std::fs::write(&client_ca, callers.authority()).unwrap();
    let tls = Tls { cert, key, client_ca: Some(client_ca) };
    let bound = site.server.tcp(any_port(), site.doors.routes(), Some(&tls)).unwrap();
    let ask = async |client: Client| client.try_ask("GET", "/v1/sessions/nobody", "", b"").await;
    let known = ask(Client::tls_as(bound, own.authority(), &callers)).await.unwrap();
    ensure_problem("a known caller", &known, 404, "no-session");
    assert!(ask(Client::tls_as(bound, own.authority(), &others)).await.is_err());
    assert!(ask(Client::tls(bound, own.authority())).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn socket_has_its_mode_and_replaces_a_dead_one_only() {
    let mut site = Site::new().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "a dead server leaves its socket");
    let door = UnixDoor { path: path.clone(), mode: 0o620, group: None };
    site.server.unix(&door, site.doors.routes()).unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o620);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    UnixStream::connect(&path).unwrap();
    let mut second = Site::new().await;
    assert!(second.server.unix(&door, second.doors.routes()).unwrap_err().to_string().contains("another server"));
    let file = folder.path().join("file");
    std::fs::write(&file, "of somebody").unwrap();
    let error = second
        .server
        .unix(&UnixDoor { path: file.clone(), mode: 0o600, group: None }, second.doors.routes())
        .unwrap_err();
    assert!(error.to_string().contains("not a socket"), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), b"of somebody");
    site.server.end(Duration::ZERO, Duration::from_secs(5)).await.unwrap();
    assert!(!path.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_beyond_the_bound_is_closed_and_a_place_is_given_back() {
    let Site { switchover, doors, .. } = Site::new().await;
    let mut server = Server::new(doors.clone()).with_connections_max(2);
    let bound = server.tcp(any_port(), doors.routes(), None).unwrap();
    let client = Client::plain(bound);
    let held = [TcpStream::connect(bound).await.unwrap(), TcpStream::connect(bound).await.unwrap()];
    while server.connections() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(client.try_ask("GET", "/livez", "", b"").await.is_err());
    drop(held);
    let give_up = Instant::now() + Duration::from_secs(20);
    while client.try_ask("GET", "/livez", "", b"").await.is_err() {
        assert!(Instant::now() < give_up, "no place was given back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    switchover.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_for_callers_and_every_route_is_counted_under_a_known_name() {
    let mut site = Site::new().await;
    let made = Tokens::make().unwrap();
    let tokens = Tokens::parse(&made.line).unwrap();
    let without = site.doors.routes_with_tokens(&tokens);
    let with = site.doors.clone().with_metrics(|| "page 1\n".to_owned()).routes_with_tokens(&tokens);
    let known = format!("Authorization: Bearer {}\r\n", made.token);
    let client = Client::plain(site.server.tcp(any_port(), without, None).unwrap());
    ensure_problem("none", &client.ask("GET", "/metrics", &known, b"").await, 404, "no-metrics");
    let client = Client::plain(site.server.tcp(any_port(), with, None).unwrap());
    ensure_problem("a stranger", &client.ask("GET", "/metrics", "", b"").await, 401, "unauthorized");
    let page = client.ask("GET", "/metrics", &known, b"").await;
    assert_eq!((page.status, &page.body[..]), (200, &b"page 1\n"[..]));
    assert!(page.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));

    let document: serde_json::Value = serde_json::from_str(&switchover_server::document()).unwrap();
    let counted = METRICS.iter().find(|metric| metric.name == "switchover_http_requests_total").unwrap();
    let [(_, methods), (_, routes), _] = counted.labels else { panic!("{counted:?}") };
    for (path, operations) in document["paths"].as_object().unwrap() {
        assert!(routes.contains(&path.as_str()), "{path} would be counted as `none`");
        for method in operations.as_object().unwrap().keys().map(|method| method.to_uppercase()) {
            assert!(method == "PARAMETERS" || methods.contains(&method.as_str()), "{method}");
        }
    }
    let page = include_str!("../../../docs/metrics.md");
    for metric in METRICS {
        let is_there = page.contains(&format!("| `{}`", metric.name)) && page.contains(metric.what);
        assert!(is_there, "docs/metrics.md lacks {}: {}", metric.name, metric.what);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn server_ends_without_an_error_for_anybody() {
    let mut site = Site::with_deadline(Duration::from_secs(30)).await;
    let client = Client::plain(site.server.tcp(any_port(), site.doors.routes(), None).unwrap());
    let path = "/v1/sessions/kept";
    assert_eq!(client.ask("PUT", &format!("{path}?mode=create"), FAR, b"x").await.status, 204);
    site.database.hold(Operation::Write);
    let update = format!("{path}?mode=update");
    let under_way = {
        let client = client.clone();
        tokio::spawn(async move { client.ask("PUT", &update, FAR, b"y").await })
    };
    while site.database.held(Operation::Write) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let ending = tokio::spawn(site.server.end(Duration::from_secs(1), Duration::from_secs(30)));
    tokio::time::sleep(Duration::from_millis(50)).await;
    // Load balancers see it, and what they still send is answered.
    let ready = client.ask("GET", "/readyz", "", b"").await;
    assert_eq!(ready.status, 503);
    assert!(String::from_utf8(ready.body).unwrap().contains("[-]serving failed: the server ends"));
    assert_eq!(client.ask("GET", path, "", b"").await.status, 200);
    site.database.release();
    assert_eq!(under_way.await.unwrap().status, 204);
    ending.await.unwrap().unwrap();
    assert!(client.try_ask("GET", "/livez", "", b"").await.is_err());
}
