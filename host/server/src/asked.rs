//! What a request asks for: the key of its path, the end and the payload of a session, its query, its JSON. Each is
//! parsed here, and each refusal is a [`Problem`]. None repeats what was sent, which may be a credential.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use chrono::{DateTime, SecondsFormat, Utc};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use serde_json::Value;
use switchover::{ErrorCode, Payload, SessionKey, Timestamp};

use crate::State;
use crate::problem::Problem;

/// The header with the end of a session, RFC 3339.
pub(crate) const SESSION_EXPIRES: HeaderName = HeaderName::from_static("session-expires");
/// The media type of a payload.
pub(crate) const PAYLOAD_TYPE: HeaderValue = HeaderValue::from_static("application/octet-stream");
/// How long the body of a request may take to arrive.
const BODY_WAIT: Duration = Duration::from_secs(10);
/// Of a body that is too long, this is read and dropped at most.
const DROPPED_BYTES_MAX: usize = 64 << 20;
/// The longest JSON that is read.
const JSON_BYTES_MAX: usize = 64 << 10;
/// The largest component that a host takes.
const COMPONENT_BYTES_MAX: usize = 32 << 20;

/// The key that the path names.
pub(crate) struct Key(pub(crate) SessionKey);

impl FromRequestParts<State> for Key {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Problem> {
        let Ok(Path(key)) = Path::<String>::from_request_parts(parts, state).await else {
            return Err(Problem::invalid("the key of the path is not UTF-8"));
        };
        SessionKey::parse(&key).map(Self).map_err(|error| Problem::invalid(error.to_string()))
    }
}

/// The end of a session, from the header `Session-Expires`.
pub(crate) struct Expires(pub(crate) Timestamp);

impl<S: Sync> FromRequestParts<S> for Expires {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let wanted =
            "the header `Session-Expires` gives the end of the session once, as in 2030-01-31T12:00:00.000000Z";
        let mut sent = parts.headers.get_all(SESSION_EXPIRES).iter();
        let (Some(written), None) = (sent.next(), sent.next()) else { return Err(Problem::invalid(wanted)) };
        let parsed = written.to_str().ok().and_then(|text| DateTime::parse_from_rfc3339(text).ok());
        let end = parsed.ok_or_else(|| Problem::invalid(wanted))?.timestamp_micros();
        // What ends before 1970 has ended.
        Ok(Self(Timestamp::from_micros(end.try_into().unwrap_or(0))))
    }
}

/// An instant for the header `Session-Expires`, with microseconds.
pub(crate) fn written(end: Timestamp) -> String {
    let micros = i64::try_from(end.as_micros()).unwrap_or(i64::MAX);
    let end = DateTime::<Utc>::from_timestamp_micros(micros).unwrap_or(DateTime::<Utc>::MAX_UTC);
    end.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// The payload of a session: the body.
pub(crate) struct Sent(pub(crate) Payload);

impl FromRequest<State> for Sent {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &State) -> Result<Self, Problem> {
        ensure_type(request.headers(), "application/octet-stream")?;
        let body = body(request, state.switchover.limits().payload_bytes_max).await?;
        Ok(Self(Payload::from(body)))
    }
}

/// The query of a request. `WANTED` of its type says what it may be.
pub(crate) struct Asked<T>(pub(crate) T);

/// A type of query.
pub(crate) trait Wanted: DeserializeOwned {
    /// What a query of this type may be, for the one who wrote another.
    const WANTED: &'static str;
}

impl<T: Wanted, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(query)) => Ok(Self(query)),
            Err(_) => Err(Problem::invalid(format!("the query is not understood: {}", T::WANTED))),
        }
    }
}

/// A body that is JSON.
pub(crate) struct Told<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Told<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let body = json_body(request).await?;
        let wrong = |error: &serde_json::Error| {
            // The words of serde's errors repeat what was sent.
            let (line, column) = (error.line(), error.column());
            not_told(&format!(", at line {line}, column {column}"))
        };
        let told = serde_json::from_slice(&body).map_err(|error| wrong(&error))?;
        let value: Value = serde_json::from_slice(&body).map_err(|error| wrong(&error))?;
        // serde takes a list of values for an object.
        if has_list(&value) { Err(not_told(": it has a list")) } else { Ok(Self(told)) }
    }
}

/// The bytes of a body that should be JSON.
pub(crate) async fn json_body(request: Request) -> Result<Vec<u8>, Problem> {
    ensure_type(request.headers(), "application/json")?;
    body(request, JSON_BYTES_MAX).await
}

/// A component, or nothing.
pub(crate) async fn component(request: Request) -> Result<Vec<u8>, Problem> {
    ensure_type(request.headers(), "application/wasm")?;
    body(request, COMPONENT_BYTES_MAX).await
}

fn not_told(why: &str) -> Problem {
    let detail = format!("the body is not the JSON that the OpenAPI document describes{why}");
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, ErrorCode::Invalid.as_str(), detail)
}

fn has_list(value: &Value) -> bool {
    match value {
        Value::Array(_) => true,
        Value::Object(members) => members.values().any(has_list),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// A body need not say of which type it is. If it does, it is this one.
fn ensure_type(headers: &HeaderMap, wanted: &'static str) -> Result<(), Problem> {
    let Some(sent) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let kind = sent.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case(wanted) {
        return Ok(());
    }
    let detail = format!("the body must be `{wanted}`");
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail))
}

async fn body(request: Request, bytes_max: usize) -> Result<Vec<u8>, Problem> {
    let too_large = || {
        let detail = format!("the body has more than {bytes_max} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::TooLarge.as_str(), detail)
    };
    match tokio::time::timeout(BODY_WAIT, bounded(request.into_body(), bytes_max)).await {
        Ok(Ok(Some(body))) => Ok(body),
        Ok(Ok(None)) => Err(too_large()),
        Ok(Err(_)) => Err(Problem::invalid("the body ended too early")),
        Err(_) => {
            let detail = format!("the body did not arrive within {} s", BODY_WAIT.as_secs());
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "request-timeout", detail))
        }
    }
}

/// Reads a body. `None`: it is longer. The rest of it is read and dropped, up to a bound, since a caller that is still
/// sending would get a broken connection instead of the answer.
async fn bounded(mut body: Body, bytes_max: usize) -> Result<Option<Vec<u8>>, axum::Error> {
    let (mut kept, mut bytes) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        bytes += data.len();
        if bytes <= bytes_max {
            kept.extend_from_slice(&data);
        } else if bytes > DROPPED_BYTES_MAX {
            break;
        }
    }
    Ok((bytes <= bytes_max).then_some(kept))
}
