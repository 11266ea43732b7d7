//! The session store over HTTP.

use axum::Json;
use axum::extract::State as FromState;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use switchover::{CycleOutcome, Error, ErrorCode, SaveOutcome, SessionKey};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::State;
use crate::asked::{Asked, Expires, Key, PAYLOAD_TYPE, SESSION_EXPIRES, Sent, Wanted, written};
use crate::problem::{Problem, Shape};

/// What `clear-expired` deletes if the request names no limit.
const CLEAR_LIMIT: u32 = 1_000;
/// The most that one request may delete: the library's own bound.
const CLEAR_LIMIT_MAX: u32 = 10_000;

/// The routes of the session store.
pub(crate) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(load, exists, save, touch, delete))
        .routes(routes!(create))
        .routes(routes!(cycle))
        .routes(routes!(clear_expired))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SaveQuery {
    /// Whether the session must be new, or must be there.
    #[param(inline)]
    mode: Mode,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Create,
    Update,
}

impl Wanted for SaveQuery {
    const WANTED: &'static str = "`mode` is `create` or `update`, and there is nothing beside it";
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ClearQuery {
    /// The most sessions to delete; 1,000 without it.
    #[param(minimum = 1, maximum = 10_000)]
    limit: Option<u32>,
}

impl Wanted for ClearQuery {
    const WANTED: &'static str = "`limit` is a number from 1 to 10000, and there is nothing beside it";
}

/// The payload of a session: any bytes.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "the shape of a body, for the OpenAPI document")]
struct Bytes(Vec<u8>);

/// A session's key.
#[derive(Serialize, ToSchema)]
struct Created {
    /// The key of the session.
    key: String,
}

/// A session's new key.
#[derive(Serialize, ToSchema)]
struct Cycled {
    /// The key that the session has now.
    key: String,
    /// `false`: the old key could not be deleted, and may still be valid. Delete it again.
    old_key_deleted: bool,
}

/// The result of `clear-expired`.
#[derive(Serialize, ToSchema)]
struct Cleared {
    /// How many sessions were deleted; `0`: none is left.
    deleted: u32,
}

/// Loads a session.
#[utoipa::path(
    get,
    path = "/v1/sessions/{key}",
    operation_id = "load",
    tag = "sessions",
    params(("key" = String, Path, min_length = 1, max_length = 255, pattern = "^[!-~]+$", description = "The key of the session")),
    responses(
        (status = 200, description = "The payload of the session", body = inline(Bytes),
         content_type = "application/octet-stream",
         headers(("Session-Expires" = String, description = "The end of the session, RFC 3339"))),
        (status = 404, description = "No session has this key, or it has ended", body = Shape,
         content_type = "application/problem+json"),
        (status = "default", description = "The session was not looked at. This is never `no session`", body = Shape,
         content_type = "application/problem+json")
    )
)]
async fn load(FromState(state): FromState<State>, Key(key): Key) -> Result<Response, Problem> {
    let Some(session) = state.sessions.load(&key).await? else { return Err(Problem::no_session()) };
    let headers = [
        (CONTENT_TYPE, PAYLOAD_TYPE),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (SESSION_EXPIRES, HeaderValue::try_from(written(session.expires_at)).map_err(|_| unwritable())?),
    ];
    Ok((headers, session.payload.expose().to_vec()).into_response())
}

/// Whether a key is taken, also by a session that has ended.
#[utoipa::path(
    head,
    path = "/v1/sessions/{key}",
    operation_id = "exists",
    tag = "sessions",
    params(("key" = String, Path, min_length = 1, max_length = 255, pattern = "^[!-~]+$", description = "The key of the session")),
    responses(
        (status = 200, description = "The key is taken"),
        (status = 404, description = "The key is free"),
        (status = "default", description = "It was not looked at")
    )
)]
async fn exists(FromState(state): FromState<State>, Key(key): Key) -> Result<StatusCode, Problem> {
    if state.sessions.exists(&key).await? { Ok(StatusCode::OK) } else { Err(Problem::no_session()) }
}

/// Saves a session: a new one under a key of the caller's, or one that exists.
///
/// `update` never creates a session, so a session that was logged out stays so.
#[utoipa::path(
    put,
    path = "/v1/sessions/{key}",
    operation_id = "save",
    tag = "sessions",
    params(
        ("key" = String, Path, min_length = 1, max_length = 255, pattern = "^[!-~]+$", description = "The key of the session"),
        ("Session-Expires" = String, Header, format = DateTime, description = "The end of the session, RFC 3339, as in 2030-01-31T12:00:00.000000Z"),
        SaveQuery
    ),
    request_body(content = inline(Option<Bytes>), content_type = "application/octet-stream", description = "The payload"),
    responses(
        (status = 204, description = "It is saved"),
        (status = 404, description = "`update`: no session has this key", body = Shape,
         content_type = "application/problem+json"),
        (status = 409, description = "`create`: the key is taken", body = Shape,
         content_type = "application/problem+json"),
        (status = 504, description = "The outcome is unknown: it may be saved, or may still be. Repeating it is safe",
         body = Shape, content_type = "application/problem+json"),
        (status = "default", description = "It is not saved", body = Shape, content_type = "application/problem+json")
    )
)]
async fn save(
    FromState(state): FromState<State>,
    Key(key): Key,
    Asked(SaveQuery { mode }): Asked<SaveQuery>,
    Expires(end): Expires,
    Sent(payload): Sent,
) -> Result<StatusCode, Problem> {
    let saved = match mode {
        Mode::Create => state.sessions.create_with_key(&key, payload, end).await?,
        Mode::Update => state.sessions.save(&key, payload, end).await?,
    };
    outcome(saved)
}

/// Moves the end of a session to a later instant, never to an earlier one.
#[utoipa::path(
    patch,
    path = "/v1/sessions/{key}",
    operation_id = "touch",
    tag = "sessions",
    params(
        ("key" = String, Path, min_length = 1, max_length = 255, pattern = "^[!-~]+$", description = "The key of the session"),
        ("Session-Expires" = String, Header, format = DateTime, description = "The new end of the session, RFC 3339, as in 2030-01-31T12:00:00.000000Z")
    ),
    responses(
        (status = 204, description = "It ends then, or later"),
        (status = 404, description = "No session has this key", body = Shape,
         content_type = "application/problem+json"),
        (status = 504, description = "The outcome is unknown. Repeating it is safe", body = Shape,
         content_type = "application/problem+json"),
        (status = "default", description = "Nothing was changed", body = Shape,
         content_type = "application/problem+json")
    )
)]
async fn touch(
    FromState(state): FromState<State>,
    Key(key): Key,
    Expires(end): Expires,
) -> Result<StatusCode, Problem> {
    outcome(state.sessions.touch(&key, end).await?)
}

/// Ends a session. After 204 no load finds it.
#[utoipa::path(
    delete,
    path = "/v1/sessions/{key}",
    operation_id = "delete",
    tag = "sessions",
    params(("key" = String, Path, min_length = 1, max_length = 255, pattern = "^[!-~]+$", description = "The key of the session")),
    responses(
        (status = 204, description = "No session has this key any more, or ever had"),
        (status = 504, description = "The outcome is unknown: repeat it until it is 204", body = Shape,
         content_type = "application/problem+json"),
        (status = "default", description = "Nothing was changed", body = Shape,
         content_type = "application/problem+json")
    )
)]
async fn delete(FromState(state): FromState<State>, Key(key): Key) -> Result<StatusCode, Problem> {
    state.sessions.delete(&key).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Creates a session under a new key, from the random source of the server's system.
#[utoipa::path(
    post,
    path = "/v1/sessions",
    operation_id = "create",
    tag = "sessions",
    params(("Session-Expires" = String, Header, format = DateTime, description = "The end of the session, RFC 3339, as in 2030-01-31T12:00:00.000000Z")),
    request_body(content = inline(Option<Bytes>), content_type = "application/octet-stream", description = "The payload"),
    responses(
        (status = 201, description = "The key of the new session", body = Created),
        (status = 504, description = "The outcome is unknown: there may be a session whose key nobody has", body = Shape,
         content_type = "application/problem+json"),
        (status = "default", description = "Nothing was created", body = Shape,
         content_type = "application/problem+json")
    )
)]
async fn create(
    FromState(state): FromState<State>,
    Expires(end): Expires,
    Sent(payload): Sent,
) -> Result<Response, Problem> {
    let key = state.sessions.create(payload, end).await?;
    Ok((StatusCode::CREATED, no_store(Created { key: key.expose().to_owned() })).into_response())
}

/// Gives a session a new key, at a login for example. The old key is deleted.
#[utoipa::path(
    post,
    path = "/v1/sessions/{key}/cycle",
    operation_id = "cycle",
    tag = "sessions",
    params(("key" = String, Path, min_length = 1, max_length = 255, pattern = "^[!-~]+$", description = "The key of the session")),
    responses(
        (status = 200, description = "The new key of the session", body = Cycled),
        (status = 404, description = "No session has this key", body = Shape,
         content_type = "application/problem+json"),
        (status = 504, description = "The outcome is unknown: the old key may still be valid", body = Shape,
         content_type = "application/problem+json"),
        (status = "default", description = "The session has its old key", body = Shape,
         content_type = "application/problem+json")
    )
)]
async fn cycle(FromState(state): FromState<State>, Key(key): Key) -> Result<Response, Problem> {
    let cycled = |key: SessionKey, old_key_deleted| Cycled { key: key.expose().to_owned(), old_key_deleted };
    match state.sessions.cycle_key(&key).await {
        Ok(CycleOutcome::Cycled(new_key)) => Ok(no_store(cycled(new_key, true))),
        // Without its new key the session would be lost to its user.
        Err(Error::CycleIncomplete { new_key, .. }) => Ok(no_store(cycled(new_key, false))),
        Ok(CycleOutcome::Missing) => Err(Problem::no_session()),
        Err(error) => Err(error.into()),
    }
}

/// Deletes sessions that have ended. Repeat it until it deletes none.
#[utoipa::path(
    post,
    path = "/v1/sessions/clear-expired",
    operation_id = "clear-expired",
    tag = "sessions",
    params(ClearQuery),
    responses(
        (status = 200, description = "How many were deleted", body = Cleared),
        (status = "default", description = "Some may have been deleted", body = Shape,
         content_type = "application/problem+json")
    )
)]
async fn clear_expired(
    FromState(state): FromState<State>,
    Asked(ClearQuery { limit }): Asked<ClearQuery>,
) -> Result<Json<Cleared>, Problem> {
    let limit = limit.unwrap_or(CLEAR_LIMIT);
    if !(1..=CLEAR_LIMIT_MAX).contains(&limit) {
        return Err(Problem::invalid(ClearQuery::WANTED));
    }
    let deleted = state.sessions.clear_expired(limit).await?;
    Ok(Json(Cleared { deleted }))
}

fn outcome(saved: SaveOutcome) -> Result<StatusCode, Problem> {
    match saved {
        SaveOutcome::Saved => Ok(StatusCode::NO_CONTENT),
        SaveOutcome::Missing => Err(Problem::no_session()),
        SaveOutcome::Exists => Err(Problem::new(StatusCode::CONFLICT, "exists", "the key is taken")),
        SaveOutcome::Conflict => Err(Problem::new(
            StatusCode::CONFLICT,
            ErrorCode::Conflict.as_str(),
            "another call has changed the session meanwhile; load it again",
        )),
    }
}

/// JSON with a key in it, for the caller alone.
fn no_store<T: Serialize>(answer: T) -> Response {
    ([(CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(answer)).into_response()
}

fn unwritable() -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Internal.as_str(), "the end cannot be written")
}
