//! What actix-session's own tests do not ask of a store: logouts, outages, ends, and what its middleware makes of them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::HashMap;
use std::sync::Arc;

use actix_session::storage::{LoadError, SessionKey, SessionStore, UpdateError, generate_session_key};
use actix_session::{Session, SessionMiddleware};
use actix_web::cookie::{Cookie, CookieJar, Key};
use actix_web::dev::Service;
use actix_web::http::StatusCode;
use actix_web::{App, Error, HttpRequest, test, web};
use switchover::backends::{Fault, Faulty, MemoryCache, MemoryDatabase, Operation};
use switchover::capabilities::{Database, DatabaseError};
use switchover::{Builtin, Layout, Payload, Policy, Sessions, Switchover, expires_in};
use switchover_actix_session::SwitchoverStore;
use time::Duration;

const HOUR: Duration = Duration::HOUR;

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

async fn store() -> (SwitchoverStore, Faulty<MemoryDatabase>) {
    let (sessions, database) = sessions().await;
    (SwitchoverStore::new(sessions), database)
}

fn state(of: &str) -> HashMap<String, String> {
    HashMap::from([("cat".to_owned(), format!("\"{of} \\u0000 ü\""))])
}

fn same(key: &SessionKey) -> SessionKey {
    key.as_ref().to_owned().try_into().unwrap()
}

fn away() -> Fault {
    Fault::Before(DatabaseError::Unavailable { message: "it is away".to_owned() })
}

/// Everything that a service or its log would show of an error.
fn shown(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = format!("{error} {error:?}");
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(" {error} {error:?}"));
        source = error.source();
    }
    text
}

#[actix_web::test]
async fn state_is_found_as_it_was_saved() {
    let (store, _) = store().await;
    let key = store.save(state("first"), &HOUR).await.unwrap();
    assert_eq!(store.load(&key).await.unwrap(), Some(state("first")));
    let updated = store.update(same(&key), state("second"), &HOUR).await.unwrap();
    assert_eq!(updated, key);
    assert_eq!(store.load(&key).await.unwrap(), Some(state("second")));
    assert_eq!(store.load(&generate_session_key()).await.unwrap(), None);
}

#[actix_web::test]
async fn payload_is_the_state_as_actix_session_writes_it() {
    let (sessions, _) = sessions().await;
    let key = SwitchoverStore::new(sessions.clone()).save(state("first"), &HOUR).await.unwrap();
    let key = switchover::SessionKey::parse(key.as_ref()).unwrap();
    let payload = sessions.load(&key).await.unwrap().unwrap().payload;
    assert_eq!(payload.expose(), serde_json::to_vec(&state("first")).unwrap());
}

#[actix_web::test]
async fn every_session_has_a_key_of_its_own_that_every_layout_takes() {
    let (store, _) = store().await;
    let mut keys = Vec::new();
    for _ in 0..100 {
        let key = store.save(state("one"), &HOUR).await.unwrap();
        assert!(Layout::DJANGO.takes_key(&switchover::SessionKey::parse(key.as_ref()).unwrap()));
        keys.push(String::from(key));
    }
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 100);
}

#[actix_web::test]
async fn write_after_a_logout_fails_and_brings_nothing_back() {
    let (store, _) = store().await;
    let key = store.save(state("first"), &HOUR).await.unwrap();
    store.delete(&key).await.unwrap();
    let update = store.update(same(&key), state("second"), &HOUR).await;
    assert!(matches!(update, Err(UpdateError::Other(_))));
    assert!(store.update_ttl(&key, &HOUR).await.is_err());
    assert!(store.delete(&key).await.is_err(), "a renewal must not go on");
    assert_eq!(store.load(&key).await.unwrap(), None);
}

#[actix_web::test]
async fn ended_states_are_not_found_and_are_deleted() {
    let (sessions, _) = sessions().await;
    let store = SwitchoverStore::new(sessions.clone());
    let ended = store.save(state("ended"), &Duration::hours(-1)).await.unwrap();
    let living = store.save(state("living"), &HOUR).await.unwrap();
    assert_eq!(store.load(&ended).await.unwrap(), None);
    assert!(store.update(same(&ended), state("again"), &HOUR).await.is_err());
    assert!(store.update_ttl(&ended, &HOUR).await.is_err());
    assert_eq!(sessions.clear_expired(10).await.unwrap(), 1);
    assert!(!sessions.exists(&switchover::SessionKey::parse(ended.as_ref()).unwrap()).await.unwrap());
    assert_eq!(store.load(&living).await.unwrap(), Some(state("living")));
}

#[actix_web::test]
async fn end_moves_to_later_times_alone() {
    let (sessions, _) = sessions().await;
    let store = SwitchoverStore::new(sessions.clone());
    let key = store.save(state("first"), &HOUR).await.unwrap();
    let parsed = switchover::SessionKey::parse(key.as_ref()).unwrap();
    let before = sessions.load(&parsed).await.unwrap().unwrap().expires_at;
    store.update_ttl(&key, &Duration::MINUTE).await.unwrap();
    assert_eq!(sessions.load(&parsed).await.unwrap().unwrap().expires_at, before);
    store.update_ttl(&key, &Duration::DAY).await.unwrap();
    assert!(sessions.load(&parsed).await.unwrap().unwrap().expires_at > before);
}

#[actix_web::test]
async fn key_that_no_session_can_have_has_none() {
    let (store, _) = store().await;
    for key in ["", "two words", &"a".repeat(4_064)] {
        let key = || SessionKey::try_from(key.to_owned()).unwrap();
        assert_eq!(store.load(&key()).await.unwrap(), None);
        assert!(store.update(key(), state("first"), &HOUR).await.is_err());
        assert!(store.update_ttl(&key(), &HOUR).await.is_err());
        assert!(store.delete(&key()).await.is_err());
    }
}

#[actix_web::test]
async fn payload_of_somebody_else_is_an_error_that_does_not_repeat_it() {
    let (sessions, _) = sessions().await;
    let end = expires_in(std::time::Duration::from_secs(60));
    for payload in ["secret", r#"{"cat": "secret", "dog": 1}"#, r#"{"secret": {}}"#] {
        let key = sessions.create(Payload::from(payload), end).await.unwrap();
        let error = SwitchoverStore::new(sessions.clone()).load(&key.expose().to_owned().try_into().unwrap()).await;
        let error = error.unwrap_err();
        assert!(matches!(error, LoadError::Deserialization(_)));
        assert!(!shown(&error).contains("secret"), "{}", shown(&error));
    }
}

#[actix_web::test]
async fn outage_is_an_error_and_never_no_session() {
    let (store, database) = store().await;
    let (key, other) = (store.save(state("first"), &HOUR).await.unwrap(), generate_session_key());
    database.inject(Operation::Read, away());
    database.inject(Operation::Write, away());
    assert!(matches!(store.load(&other).await, Err(LoadError::Other(_))));
    assert!(store.save(state("second"), &HOUR).await.is_err());
    let update = store.update(same(&key), state("second"), &HOUR).await.unwrap_err();
    let touch = store.update_ttl(&key, &HOUR).await.unwrap_err();
    let delete = store.delete(&key).await.unwrap_err();
    for error in [shown(&update), shown(touch.as_ref()), shown(delete.as_ref())] {
        assert!(!error.contains(key.as_ref()) && !error.contains("second"), "{error}");
        assert!(error.contains("it is away"), "{error}");
    }
    database.heal();
    store.update(key, state("second"), &HOUR).await.unwrap();
}

#[actix_web::test]
async fn write_without_an_answer_is_an_error() {
    let (store, database) = store().await;
    let key = store.save(state("first"), &HOUR).await.unwrap();
    let unknown = || Fault::After(DatabaseError::UnknownOutcome { message: "no answer came".to_owned() });
    database.inject_times(1, Operation::Write, unknown());
    let error = store.update(same(&key), state("second"), &HOUR).await.unwrap_err();
    assert!(shown(&error).contains("no answer came"), "{}", shown(&error));
    database.inject_times(1, Operation::Write, unknown());
    assert!(store.delete(&key).await.is_err());
    database.inject_times(1, Operation::Write, unknown());
    assert!(store.save(state("third"), &HOUR).await.is_err());
}

mod through_the_middleware {
    use super::*;

    type Answer = (StatusCode, String, Option<Cookie<'static>>);

    fn seals_cookies() -> Key {
        Key::from(&[7; 64])
    }

    fn key_of(cookie: &Cookie<'static>) -> switchover::SessionKey {
        let mut jar = CookieJar::new();
        jar.add_original(cookie.clone());
        switchover::SessionKey::parse(jar.private(&seals_cookies()).get(cookie.name()).unwrap().value()).unwrap()
    }

    async fn visit(session: Session) -> Result<String, Error> {
        let visits = session.get::<u64>("visits")?.unwrap_or_default() + 1;
        session.insert("visits", visits)?;
        Ok(visits.to_string())
    }

    async fn renew(session: Session) -> &'static str {
        session.renew();
        ""
    }

    async fn leave(session: Session) -> &'static str {
        session.purge();
        ""
    }

    /// As if another host did, while this request is under way.
    async fn log_out(sessions: &Sessions, cookie: Option<Cookie<'static>>) {
        assert!(sessions.delete(&key_of(&cookie.unwrap())).await.unwrap());
    }

    /// A service that sees each session at every path; `late` is a logout on another host in the middle of a request.
    async fn service(sessions: Sessions) -> impl AsyncFn(&str, &Option<Cookie<'static>>) -> Answer {
        async fn visit_late(session: Session, all: web::Data<Sessions>, request: HttpRequest) -> Result<String, Error> {
            log_out(&all, request.cookie("id")).await;
            visit(session).await
        }
        async fn renew_late(session: Session, all: web::Data<Sessions>, request: HttpRequest) -> &'static str {
            log_out(&all, request.cookie("id")).await;
            renew(session).await
        }
        let middleware = SessionMiddleware::new(SwitchoverStore::new(sessions.clone()), seals_cookies());
        let app = App::new()
            .wrap(middleware)
            .app_data(web::Data::new(sessions))
            .route("/", web::get().to(visit))
            .route("/renew", web::get().to(renew))
            .route("/leave", web::get().to(leave))
            .route("/late", web::get().to(visit_late))
            .route("/late-renew", web::get().to(renew_late));
        let app = test::init_service(app).await;
        async move |path: &str, cookie: &Option<Cookie<'static>>| {
            let mut request = test::TestRequest::with_uri(path);
            if let Some(cookie) = cookie {
                request = request.cookie(cookie.clone());
            }
            match app.call(request.to_request()).await {
                Ok(response) => {
                    let cookie = response.response().cookies().next().map(Cookie::into_owned);
                    let (status, body) = (response.status(), test::read_body(response).await);
                    (status, String::from_utf8(body.to_vec()).unwrap(), cookie)
                }
                Err(error) => (error.error_response().status(), String::new(), None),
            }
        }
    }

    #[actix_web::test]
    async fn logout_ends_the_session_everywhere() {
        let (sessions, _) = sessions().await;
        let (one, two) = (service(sessions.clone()).await, service(sessions).await);
        let (_, visits, cookie) = one("/", &None).await;
        assert_eq!((visits.as_str(), two("/", &cookie).await.1.as_str()), ("1", "2"));
        assert_eq!(two("/leave", &cookie).await.0, StatusCode::OK);
        assert_eq!(one("/", &cookie).await.1, "1", "a new session");
    }

    #[actix_web::test]
    async fn request_that_ends_after_a_logout_fails_and_brings_nothing_back() {
        let (sessions, _) = sessions().await;
        let ask = service(sessions.clone()).await;
        for late in ["/late", "/late-renew"] {
            let (_, _, cookie) = ask("/", &None).await;
            let (status, _, set) = ask(late, &cookie).await;
            assert_eq!((status, set), (StatusCode::INTERNAL_SERVER_ERROR, None), "{late}");
            assert!(!sessions.exists(&key_of(&cookie.clone().unwrap())).await.unwrap(), "{late}");
            let (_, visits, new) = ask("/", &cookie).await;
            assert_eq!(visits, "1", "{late}");
            assert_ne!(key_of(&new.unwrap()), key_of(&cookie.unwrap()), "{late}");
        }
    }

    #[actix_web::test]
    async fn renewal_takes_the_session_along_and_leaves_no_old_key() {
        let (sessions, _) = sessions().await;
        let ask = service(sessions.clone()).await;
        let (_, _, old) = ask("/", &None).await;
        let (_, _, new) = ask("/renew", &old).await;
        assert_eq!(ask("/", &new).await.1, "2");
        assert!(!sessions.exists(&key_of(&old.unwrap())).await.unwrap());
    }

    #[actix_web::test]
    async fn outage_is_a_500_and_the_session_is_there_afterwards() {
        let (sessions, database) = sessions().await;
        let ask = service(sessions).await;
        let (_, _, cookie) = ask("/", &None).await;
        database.inject(Operation::Write, away());
        let (status, _, set) = ask("/", &cookie).await;
        assert_eq!((status, set), (StatusCode::INTERNAL_SERVER_ERROR, None));
        database.inject(Operation::Read, away());
        // A failed write leaves no entry in the cache.
        let (status, _, set) = ask("/", &cookie).await;
        assert_eq!((status, set), (StatusCode::INTERNAL_SERVER_ERROR, None));
        database.heal();
        assert_eq!(ask("/", &cookie).await.1, "2");
    }
}
