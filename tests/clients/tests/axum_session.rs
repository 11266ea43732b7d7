//! The pool of axum_session through its own layer: logouts, outages, ends, and what it has in its memory.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{Request, Response, StatusCode};
use axum::routing::get;
use axum_session::{DatabasePool, IdGenerator, Session, SessionConfig, SessionStore};
use http_body_util::BodyExt;
use switchover::backends::{Fault, Faulty, MemoryCache, MemoryDatabase, Operation};
use switchover::capabilities::{Database, DatabaseError};
use switchover::{Builtin, Layout, Policy, SessionKey, Sessions, Switchover};
use switchover_axum_session::{SwitchoverPool, log_out, with_sessions};
use tokio::sync::Semaphore;
use tower::ServiceExt;

async fn sessions() -> (Sessions, Faulty<MemoryDatabase>) {
    let database = Faulty::new(MemoryDatabase::with_layout(Layout::SWITCHOVER));
    let switchover = Switchover::builder()
        .database("default", Arc::new(database.clone()) as Arc<dyn Database>)
        .cache(MemoryCache::default())
        .policy(Policy::builtin(Builtin::CachedDb))
        .build()
        .await
        .unwrap();
    (switchover.sessions(), database)
}

fn away() -> Fault {
    Fault::Before(DatabaseError::Unavailable { message: "it is away".to_owned() })
}

fn unknown() -> Fault {
    Fault::After(DatabaseError::UnknownOutcome { message: "no answer came".to_owned() })
}

/// An hour from now, as axum_session says it.
fn in_an_hour() -> i64 {
    (time::OffsetDateTime::now_utc() + time::Duration::HOUR).unix_timestamp()
}

mod the_pool {
    use super::*;

    const ID: &str = "0190b9f0-5c3e-4f43-9d3a-0123456789ab";

    async fn pool() -> (SwitchoverPool, Sessions, Faulty<MemoryDatabase>) {
        let (sessions, database) = sessions().await;
        (SwitchoverPool::new(sessions.clone()), sessions, database)
    }

    async fn created(pool: &SwitchoverPool) {
        assert!(!pool.exists(ID, "").await.unwrap());
        pool.store(ID, "first", in_an_hour(), "").await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn session_is_found_as_it_was_stored() {
        let (pool, sessions, _) = pool().await;
        created(&pool).await;
        assert!(pool.exists(ID, "").await.unwrap());
        assert_eq!(pool.load(ID, "").await.unwrap().as_deref(), Some("first"));
        pool.store(ID, r#"{"data":{"ü":"\u0000"},"longterm":false}"#, in_an_hour(), "another").await.unwrap();
        let session = sessions.load(&SessionKey::parse(ID).unwrap()).await.unwrap().unwrap();
        assert_eq!(session.payload.expose(), r#"{"data":{"ü":"\u0000"},"longterm":false}"#.as_bytes());
        assert_eq!(pool.load("another", "").await.unwrap(), None);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn id_is_created_once_and_never_again() {
        let (pool, sessions, _) = pool().await;
        assert!(pool.store(ID, "first", in_an_hour(), "").await.is_err(), "nobody asked whether it exists");
        created(&pool).await;
        pool.delete_one_by_id(ID, "").await.unwrap();
        pool.delete_one_by_id(ID, "").await.unwrap();
        assert!(pool.store(ID, "second", in_an_hour(), "").await.is_err());
        assert_eq!(pool.load(ID, "").await.unwrap(), None);
        assert!(pool.store(ID, "second", in_an_hour(), "").await.is_err(), "a load that finds none creates none");
        assert!(!sessions.exists(&SessionKey::parse(ID).unwrap()).await.unwrap());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn store_after_a_logout_elsewhere_fails_and_brings_nothing_back() {
        let (pool, sessions, _) = pool().await;
        created(&pool).await;
        sessions.delete(&SessionKey::parse(ID).unwrap()).await.unwrap();
        assert!(pool.store(ID, "second", in_an_hour(), "").await.is_err());
        assert_eq!(pool.load(ID, "").await.unwrap(), None);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn id_that_is_taken_in_the_meantime_is_an_error() {
        let (one, sessions, _) = pool().await;
        let two = SwitchoverPool::new(sessions);
        assert!(!one.exists(ID, "").await.unwrap());
        created(&two).await;
        assert!(one.store(ID, "second", in_an_hour(), "").await.is_err());
        assert!(one.store(ID, "second", in_an_hour(), "").await.is_err());
        assert_eq!(two.load(ID, "").await.unwrap().as_deref(), Some("first"));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn ended_sessions_are_not_found_and_are_deleted() {
        let (pool, sessions, _) = pool().await;
        for (id, end) in [("ended", 1), ("before-1970", -1), ("living", in_an_hour())] {
            assert!(!pool.exists(id, "").await.unwrap());
            pool.store(id, "first", end, "").await.unwrap();
        }
        assert_eq!(pool.load("ended", "").await.unwrap(), None);
        assert_eq!(pool.load("before-1970", "").await.unwrap(), None);
        assert!(pool.exists("ended", "").await.unwrap(), "its row is there");
        assert_eq!(pool.delete_by_expiry("").await.unwrap(), Vec::<String>::new());
        assert!(!pool.exists("ended", "").await.unwrap());
        assert_eq!(pool.load("living", "").await.unwrap().as_deref(), Some("first"));
        assert_eq!(sessions.clear_expired(10).await.unwrap(), 0);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn outage_is_an_error_that_repeats_nothing() {
        let (pool, _, database) = pool().await;
        created(&pool).await;
        database.inject(Operation::Read, away());
        database.inject(Operation::Write, away());
        let errors = [
            pool.load("another", "").await.map(|_| ()),
            pool.exists(ID, "").await.map(|_| ()),
            pool.store(ID, "second", in_an_hour(), "").await,
            pool.delete_one_by_id(ID, "").await,
        ];
        for error in errors.map(|result| result.unwrap_err().to_string()) {
            assert!(error.contains("it is away") && !error.contains(ID) && !error.contains("second"), "{error}");
        }
        database.heal();
        pool.store(ID, "second", in_an_hour(), "").await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn write_without_an_answer_is_an_error() {
        let (pool, _, database) = pool().await;
        assert!(!pool.exists("new", "").await.unwrap());
        created(&pool).await;
        for id in ["new", ID] {
            database.inject_times(1, Operation::Write, unknown());
            let error = pool.store(id, "second", in_an_hour(), "").await.unwrap_err().to_string();
            assert!(error.contains("no answer came"), "{error}");
        }
        database.inject_times(1, Operation::Write, unknown());
        assert!(pool.delete_one_by_id(ID, "").await.is_err());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn nothing_is_written_of_a_session_whose_load_failed() {
        let (one, sessions, database) = pool().await;
        created(&one).await;
        let pool = SwitchoverPool::new(sessions);
        // Not the cache's.
        one.store(ID, "second", in_an_hour(), "").await.unwrap();
        database.inject_times(1, Operation::Read, away());
        assert!(pool.load(ID, "").await.is_err());
        assert!(pool.store(ID, "empty", in_an_hour(), "").await.is_err());
        assert_eq!(one.load(ID, "").await.unwrap().as_deref(), Some("second"));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn ended_sessions_that_cannot_be_deleted_end_no_task() {
        let (pool, _, database) = pool().await;
        database.inject(Operation::Sweep, away());
        database.inject(Operation::Write, away());
        assert!(pool.delete_by_expiry("").await.is_ok());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_switchover_cannot_answer_says_what_to_do() {
        let (pool, _, _) = pool().await;
        assert!(pool.count("").await.unwrap_err().to_string().contains("switchover stats"));
        assert!(pool.get_ids("").await.unwrap_err().to_string().contains("with_bloom_filter(false)"));
        assert!(pool.delete_all("").await.unwrap_err().to_string().contains("empty its tables"));
        assert!(pool.initiate("any").await.is_ok() && pool.auto_handles_expiry());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn id_that_no_session_can_have_has_none() {
        let (pool, _, _) = pool().await;
        for id in ["", "two words", &"a".repeat(256)] {
            assert_eq!(pool.load(id, "").await.unwrap(), None);
            assert!(pool.store(id, "first", in_an_hour(), "").await.is_err());
            assert!(pool.exists(id, "").await.is_err());
            pool.delete_one_by_id(id, "").await.unwrap();
        }
    }
}

/// A host: an app with its own axum_session.
struct Host {
    app: Router,
    gate: Arc<Gate>,
}

/// Holds requests to `/wait` in their handler.
struct Gate {
    inside: AtomicU64,
    opened: Semaphore,
}

struct Answer {
    status: StatusCode,
    body: String,
    cookie: Option<String>,
}

impl Host {
    async fn new(sessions: &Sessions) -> Self {
        Self::with(sessions, SessionConfig::default()).await
    }

    async fn with(sessions: &Sessions, config: SessionConfig) -> Self {
        async fn wait(session: Session<SwitchoverPool>, State(gate): State<Arc<Gate>>) -> String {
            let visits = visit(session).await;
            gate.inside.fetch_add(1, Ordering::SeqCst);
            gate.opened.acquire().await.unwrap().forget();
            visits
        }
        async fn wait_and_renew(session: Session<SwitchoverPool>, gate: State<Arc<Gate>>) {
            wait(session.clone(), gate).await;
            session.renew();
        }
        let gate = Arc::new(Gate { inside: AtomicU64::new(0), opened: Semaphore::new(0) });
        let store = SessionStore::new(Some(SwitchoverPool::new(sessions.clone())), config).await.unwrap();
        let routes = Router::new()
            .route("/", get(visit))
            .route("/read", get(|session: Session<SwitchoverPool>| async move { visits(&session).to_string() }))
            .route("/renew", get(|session: Session<SwitchoverPool>| async move { session.renew() }))
            .route("/leave", get(leave))
            .route("/wait", get(wait))
            .route("/wait-renew", get(wait_and_renew))
            .with_state(Arc::clone(&gate));
        Self { app: with_sessions(routes, store), gate }
    }

    async fn ask(&self, path: &str, cookie: &Option<String>) -> Answer {
        answer(self.app.clone().oneshot(request(path, cookie)).await.unwrap()).await
    }

    /// A request that is in its handler. Ends when `go_on` is called.
    async fn begin(&self, path: &str, cookie: &Option<String>) -> tokio::task::JoinHandle<Answer> {
        let inside = self.gate.inside.load(Ordering::SeqCst);
        let (app, request) = (self.app.clone(), request(path, cookie));
        let task = tokio::spawn(async move { answer(app.oneshot(request).await.unwrap()).await });
        while self.gate.inside.load(Ordering::SeqCst) == inside {
            tokio::task::yield_now().await;
        }
        task
    }

    fn go_on(&self) {
        self.gate.opened.add_permits(1);
    }
}

fn visits(session: &Session<SwitchoverPool>) -> u64 {
    session.get("visits").unwrap_or_default()
}

async fn visit(session: Session<SwitchoverPool>) -> String {
    let visits = visits(&session) + 1;
    session.set("visits", visits);
    visits.to_string()
}

async fn leave(session: Session<SwitchoverPool>) -> Result<(), StatusCode> {
    log_out(&session).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
}

fn request(path: &str, cookie: &Option<String>) -> Request<Body> {
    let mut request = Request::get(path);
    if let Some(id) = cookie {
        request = request.header(COOKIE, format!("session={id}"));
    }
    request.body(Body::empty()).unwrap()
}

/// The cookie is the id that the answer sets, or nothing if it sets none or removes it.
async fn answer(response: Response<Body>) -> Answer {
    let cookies = response.headers().get_all(SET_COOKIE).iter().map(|cookie| cookie.to_str().unwrap());
    let mut set = cookies.filter_map(|cookie| cookie.strip_prefix("session=")?.split(';').next());
    let cookie = set.next().filter(|id| !id.is_empty()).map(str::to_owned);
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Answer { status, body: String::from_utf8(body.to_vec()).unwrap(), cookie }
}

async fn exists(sessions: &Sessions, cookie: &Option<String>) -> bool {
    sessions.exists(&SessionKey::parse(cookie.as_deref().unwrap()).unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn session_is_the_same_on_every_host() {
    let (sessions, _) = sessions().await;
    let (one, two) = (Host::new(&sessions).await, Host::new(&sessions).await);
    let first = one.ask("/", &None).await;
    assert_eq!((first.status, first.body.as_str()), (StatusCode::OK, "1"));
    assert_eq!(two.ask("/", &first.cookie).await.body, "2");
    assert_eq!(one.ask("/", &first.cookie).await.body, "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn logout_ends_the_session_everywhere() {
    let (sessions, _) = sessions().await;
    let (one, two) = (Host::new(&sessions).await, Host::new(&sessions).await);
    let cookie = one.ask("/", &None).await.cookie;
    let left = two.ask("/leave", &cookie).await;
    assert_eq!((left.status, left.cookie), (StatusCode::OK, None));
    assert!(!exists(&sessions, &cookie).await);
    let again = one.ask("/", &cookie).await;
    assert_eq!(again.body, "1");
    assert_ne!(again.cookie, cookie, "an id is never used again");
    assert!(!exists(&sessions, &cookie).await && exists(&sessions, &again.cookie).await);
    assert_eq!(one.ask("/leave", &cookie).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn request_that_ends_after_a_logout_elsewhere_fails_and_brings_nothing_back() {
    let (sessions, _) = sessions().await;
    let (one, two, three) = (Host::new(&sessions).await, Host::new(&sessions).await, Host::new(&sessions).await);
    for path in ["/wait", "/wait-renew"] {
        let cookie = one.ask("/", &None).await.cookie;
        let late = one.begin(path, &cookie).await;
        two.ask("/leave", &cookie).await;
        // A request with the old cookie must not make a row that the late one can update.
        assert_eq!(three.ask("/", &cookie).await.body, "1");
        one.go_on();
        let late = late.await.unwrap();
        assert_eq!((late.status, late.cookie), (StatusCode::INTERNAL_SERVER_ERROR, None), "{path}");
        assert!(!exists(&sessions, &cookie).await, "{path}");
        for host in [&one, &two, &three] {
            assert_eq!(host.ask("/read", &cookie).await.body, "0", "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logout_beside_another_request_of_the_process_holds_at_once() {
    let (sessions, _) = sessions().await;
    let (one, two) = (Host::new(&sessions).await, Host::new(&sessions).await);
    let cookie = one.ask("/", &None).await.cookie;
    let late = one.begin("/wait", &cookie).await;
    assert_eq!(one.ask("/leave", &cookie).await.cookie, None);
    assert!(!exists(&sessions, &cookie).await);
    assert_eq!(two.ask("/read", &cookie).await.body, "0");
    one.go_on();
    assert_eq!(late.await.unwrap().cookie, None);
    assert!(!exists(&sessions, &cookie).await);
    assert_eq!(one.ask("/read", &cookie).await.body, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn session_in_memory_that_was_logged_out_elsewhere_is_not_served() {
    let (sessions, _) = sessions().await;
    let (one, two) = (Host::new(&sessions).await, Host::new(&sessions).await);
    let cookie = one.ask("/", &None).await.cookie;
    let late = one.begin("/wait", &cookie).await;
    two.ask("/leave", &cookie).await;
    assert_eq!(one.ask("/read", &cookie).await.body, "0", "the first request has it in memory");
    one.go_on();
    late.await.unwrap();
    assert!(!exists(&sessions, &cookie).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn id_that_a_client_made_up_is_never_used() {
    let (sessions, _) = sessions().await;
    let host = Host::new(&sessions).await;
    for made_up in ["1b4e28ba-2fa1-41d2-883f-0016d3cca427", "x", "a+b", &"a".repeat(300)] {
        let answer = host.ask("/", &Some(made_up.to_owned())).await;
        assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, "1"), "{made_up}");
        assert_ne!(answer.cookie.as_deref(), Some(made_up));
        assert_eq!(host.ask("/", &answer.cookie).await.body, "2");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn renewal_takes_the_session_along_and_leaves_no_old_id() {
    let (sessions, _) = sessions().await;
    let host = Host::new(&sessions).await;
    let old = host.ask("/", &None).await.cookie;
    let new = host.ask("/renew", &old).await.cookie;
    assert_ne!(old, new);
    assert_eq!(host.ask("/", &new).await.body, "2");
    assert!(!exists(&sessions, &old).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn load_that_fails_is_an_error_and_never_no_session() {
    let (sessions, database) = sessions().await;
    let (one, two) = (Host::new(&sessions).await, Host::new(&sessions).await);
    let cookie = one.ask("/", &None).await.cookie;
    database.inject(Operation::Read, away());
    for _ in 0..3 {
        let answer = two.ask("/", &cookie).await;
        assert!(answer.status.is_server_error(), "{}", answer.status);
        assert_eq!((answer.body.as_str(), answer.cookie), ("", None));
    }
    database.heal();
    assert_eq!(two.ask("/", &cookie).await.body, "2");
    assert_eq!(one.ask("/", &cookie).await.body, "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn store_that_fails_is_an_error_and_leaves_nothing_in_memory() {
    let (sessions, database) = sessions().await;
    let (one, two) = (Host::new(&sessions).await, Host::new(&sessions).await);
    let cookie = one.ask("/", &None).await.cookie;
    for fault in [away(), unknown()] {
        database.inject_times(1, Operation::Write, fault);
        assert_eq!(one.ask("/", &cookie).await.status, StatusCode::INTERNAL_SERVER_ERROR);
    }
    let written = two.ask("/", &cookie).await.body;
    let read = one.ask("/read", &cookie).await.body;
    assert_eq!(read, written, "what another host wrote is seen");
    one.ask("/leave", &cookie).await;
    assert!(!exists(&sessions, &cookie).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn new_session_that_cannot_be_stored_is_an_error_without_a_cookie() {
    let (sessions, database) = sessions().await;
    let host = Host::new(&sessions).await;
    for (operation, fault) in [(Operation::Read, away()), (Operation::Write, away()), (Operation::Write, unknown())] {
        database.inject_times(1, operation, fault);
        let answer = host.ask("/", &None).await;
        assert_eq!((answer.status, answer.cookie), (StatusCode::INTERNAL_SERVER_ERROR, None), "{operation:?}");
    }
    assert_eq!(host.ask("/", &None).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn logout_that_fails_is_an_error() {
    let (sessions, database) = sessions().await;
    let host = Host::new(&sessions).await;
    let cookie = host.ask("/", &None).await.cookie;
    database.inject(Operation::Write, away());
    let answer = host.ask("/leave", &cookie).await;
    assert!(answer.status.is_server_error(), "{}", answer.status);
    database.heal();
    assert_eq!(host.ask("/leave", &cookie).await.status, StatusCode::OK);
    assert!(!exists(&sessions, &cookie).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn request_of_a_client_that_went_away_runs_to_its_end() {
    let (sessions, _) = sessions().await;
    let (one, two) = (Host::new(&sessions).await, Host::new(&sessions).await);
    let cookie = one.ask("/", &None).await.cookie;
    let gone = one.begin("/wait", &cookie).await;
    gone.abort();
    assert!(gone.await.is_err_and(|error| error.is_cancelled()));
    one.go_on();
    let key = SessionKey::parse(cookie.as_deref().unwrap()).unwrap();
    let saved = async {
        // No request: it would write what it has loaded.
        while !sessions.load(&key).await.unwrap().unwrap().payload.as_text().unwrap().contains(r#""visits":"2""#) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), saved).await.unwrap();
    assert_eq!(two.ask("/", &cookie).await.body, "3");
    let seen = async {
        while one.ask("/read", &cookie).await.body != "3" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), seen).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn id_that_is_taken_is_replaced_by_another() {
    /// Each id comes twice.
    #[derive(Debug)]
    struct Twice(AtomicU64);
    impl IdGenerator for Twice {
        fn generate(&self) -> String {
            format!("id-{}", self.0.fetch_add(1, Ordering::SeqCst) / 2)
        }
    }
    let (sessions, _) = sessions().await;
    let host = Host::with(&sessions, SessionConfig::default().with_id_generator(Twice(AtomicU64::new(0)))).await;
    let (first, second) = (host.ask("/", &None).await.cookie, host.ask("/", &None).await.cookie);
    assert_ne!(first, second);
    host.ask("/", &first).await;
    assert_eq!(host.ask("/", &second).await.body, "2");
    assert_eq!(host.ask("/", &first).await.body, "3");
}
