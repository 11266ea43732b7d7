//! What stands around axum_session's layer, and what a logout does.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum_session::{Session, SessionLayer, SessionStore};
use switchover::Error;
use tokio::task::JoinError;
use tracing::Instrument;

use crate::SwitchoverPool;
use crate::pool::Standing;

/// Gives the routes of `router` their sessions: axum_session's `SessionLayer`, and around it what it lacks. Call it in
/// a tokio runtime.
///
/// * A request whose session cannot be loaded is answered with an error, 503 or axum_session's 500. Its handler does
///   not run.
/// * A request with an id that has no session any more gets a new id, so an id that a client made up is never used.
/// * A request that shares a session in memory with another one looks it up: it may have been logged out on another
///   host.
/// * A session leaves the memory with its last request, whatever its lifetime there, and also after an error.
/// * A request whose client has gone away runs to its end, in a task. A time limit belongs on `router`, inside.
pub fn with_sessions<S>(router: Router<S>, store: SessionStore<SwitchoverPool>) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    router.layer(from_fn(check)).layer(SessionLayer::new(store)).layer(from_fn(finish))
}

/// Logs out: deletes the session in its database now, and empties what axum_session has of it in memory. The answer to
/// the request removes the cookie.
///
/// # Errors
///
/// The session may still be alive: answer with an error, so that the user tries again.
pub async fn log_out(session: &Session<SwitchoverPool>) -> Result<(), Error> {
    session.clear();
    session.destroy();
    match pool(session) {
        Some(pool) => pool.end(&session.get_session_id()).await,
        None => Ok(()),
    }
}

/// `None` without a database, where axum_session keeps sessions in memory alone.
fn pool(session: &Session<SwitchoverPool>) -> Option<&SwitchoverPool> {
    session.get_store().client.as_ref()
}

/// The session of a request, once [`check`] has seen it.
#[derive(Clone, Default)]
struct Served(Arc<OnceLock<Session<SwitchoverPool>>>);

/// When it is dropped, the request has ended, maybe in a panic.
struct Ending(Served);

impl Drop for Ending {
    fn drop(&mut self) {
        let Some(session) = self.0.0.get() else { return };
        let Some(pool) = pool(session) else { return };
        let id = session.get_session_id();
        // It fails if the session is not in memory.
        pool.left(&id, || drop(session.get_store().force_memory_remove_session(id.clone())));
    }
}

/// Stands outside of axum_session's layer. That layer keeps a session in memory for ever if the request is dropped, or
/// if it answers with an error of its own.
async fn finish(mut request: Request, next: Next) -> Response {
    let served = Served::default();
    request.extensions_mut().insert(served.clone());
    let to_the_end = async move {
        let _ending = Ending(served);
        next.run(request).await
    };
    match tokio::spawn(to_the_end.in_current_span()).await.map_err(JoinError::try_into_panic) {
        Ok(response) => response,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // The runtime ends.
        Err(Err(_)) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

/// Stands between axum_session's layer and the handlers, and looks whether the session that the handlers would see is
/// the one of the database.
async fn check(session: Session<SwitchoverPool>, request: Request, next: Next) -> Response {
    let Some(pool) = pool(&session) else { return next.run(request).await };
    let id = session.get_session_id();
    pool.entered(&id);
    if let Some(served) = request.extensions().get::<Served>() {
        let _ = served.0.set(session.clone());
    }
    match pool.standing(&id).await {
        Standing::New => next.run(request).await,
        Standing::Alive if session.data_exists() => next.run(request).await,
        Standing::Gone => {
            session.clear();
            session.renew();
            next.run(request).await
        }
        // Another request has just taken the session out of the memory, or the database did not answer.
        Standing::Alive | Standing::Unknown => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}
