//! Errors as RFC 9457 gives them, in one form for every refusal.

use std::time::Duration;

use axum::Json;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use switchover::{Error, ErrorCode};
use utoipa::ToSchema;

/// The header with the code of an error. An answer to HEAD has no body.
pub(crate) const SWITCHOVER_ERROR: HeaderName = HeaderName::from_static("switchover-error");
/// The media type of RFC 9457.
const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");

/// How long to wait before something is tried again, if nothing else says so.
const AGAIN: Duration = Duration::from_secs(1);

/// An error of the API. Its text never contains a key or a payload.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    retry_after: Option<Duration>,
    more: Map<String, Value>,
}

/// An error as RFC 9457 gives it, `application/problem+json`.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct Shape {
    /// A URI for this kind of error: `urn:switchover:error:` and its code.
    #[schema(format = "uri")]
    r#type: String,
    /// The status of the answer.
    status: u16,
    /// The words of HTTP for the status.
    title: &'static str,
    /// What is wrong, and what to do.
    detail: String,
    /// The kind of error, as a word that stays the same: `unknown-outcome` for example. The header `Switchover-Error`
    /// has it too.
    code: &'static str,
    /// Whether the same request may succeed when it is repeated.
    retryable: bool,
    /// How long to wait before that, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    #[serde(flatten)]
    #[schema(ignore)]
    more: Map<String, Value>,
}

impl Problem {
    /// Something that will be refused again until the request, or the configuration, is another one.
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), retry_after: None, more: Map::new() }
    }

    /// A request that cannot be understood.
    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::Invalid.as_str(), detail)
    }

    /// Something that may succeed when it is repeated soon.
    pub(crate) fn again(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { retry_after: Some(AGAIN), ..Self::new(status, code, detail) }
    }

    /// Too many requests.
    pub(crate) fn rate_limited(wait: Duration) -> Self {
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate-limited", "too many commands: wait");
        Self { retry_after: Some(wait), ..problem }
    }

    /// With another member, for programs.
    pub(crate) fn with(mut self, name: &str, value: Value) -> Self {
        self.more.insert(name.to_owned(), value);
        self
    }

    /// There is no living session under the key.
    pub(crate) fn no_session() -> Self {
        Self::new(StatusCode::NOT_FOUND, "no-session", "there is no session under this key, or it has ended")
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let status = match (&error, error.code()) {
            (Error::UnknownOutcome { .. } | Error::CycleIncomplete { .. }, _) => StatusCode::GATEWAY_TIMEOUT,
            (Error::Invalid { .. }, ErrorCode::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
            (Error::Invalid { .. }, _) => StatusCode::BAD_REQUEST,
            (Error::Refused { .. }, ErrorCode::Unsupported) => StatusCode::NOT_IMPLEMENTED,
            (Error::Unavailable { .. } | Error::Fenced { .. } | Error::Overloaded { .. } | Error::Closed, _) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let problem = Self::new(status, error.code().as_str(), error.to_string());
        Self { retry_after: error.retry_after(), ..problem }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let shape = Shape {
            r#type: format!("urn:switchover:error:{}", self.code),
            status: self.status.as_u16(),
            title: self.status.canonical_reason().unwrap_or_default(),
            detail: self.detail,
            code: self.code,
            retryable: self.retry_after.is_some(),
            retry_after_ms: self.retry_after.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
            more: self.more,
        };
        let mut response = (self.status, Json(shape)).into_response();
        response.headers_mut().insert(CONTENT_TYPE, MEDIA_TYPE);
        response.headers_mut().insert(SWITCHOVER_ERROR, HeaderValue::from_static(self.code));
        if let Some(wait) = self.retry_after {
            // In whole seconds, at least the wait.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}
