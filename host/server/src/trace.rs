//! The span of a request, in OpenTelemetry's conventions for HTTP. It has no path and no query, only the route: a path
//! has a key in it.

use std::fmt::{self, Debug};
use std::pin::pin;
use std::sync::Arc;

use axum::extract::Request;
use axum::http::{HeaderMap, Version};
use axum::response::Response;
use switchover::trace::TARGET;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use crate::problem::SWITCHOVER_ERROR;

/// Routes that are asked again and again by machines, and tell nothing of calls.
const WATCHED: [&str; 3] = ["/livez", "/readyz", "/metrics"];

/// How a request came: `http`, or `https` if this server spoke TLS itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scheme(pub(crate) &'static str);

/// Finds the caller's span in the headers of a request, and puts that of the request under it.
type Find = dyn Fn(&HeaderMap, &Span) + Send + Sync;

/// Puts the span of a request under its caller's.
#[derive(Clone, Default)]
pub(crate) struct Parent(Option<Arc<Find>>);

impl Parent {
    pub(crate) fn new(find: impl Fn(&HeaderMap, &Span) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(find)))
    }
}

impl Debug for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Parent")
    }
}

/// Whether somebody collects spans.
pub(crate) fn is_on() -> bool {
    tracing::enabled!(target: TARGET, tracing::Level::DEBUG)
}

/// Begins the span of a request. `method` is one of a closed set, `route` the template of its path.
pub(crate) fn begin(parent: &Parent, request: &Request, method: &'static str, route: Option<&str>) -> Span {
    if !is_on() || route.is_some_and(|route| WATCHED.iter().any(|watched| route.ends_with(watched))) {
        return Span::none();
    }
    // The name of the conventions for a method that is not of HTTP's.
    let (method, name) = if method == "other" { ("_OTHER", "HTTP") } else { (method, method) };
    let span = tracing::debug_span!(
        target: TARGET,
        "request",
        "otel.name" = %format_args!("{name}{}{}", if route.is_some() { " " } else { "" }, route.unwrap_or_default()),
        "otel.kind" = "server",
        "http.request.method" = method,
        "http.route" = route,
        "url.scheme" = request.extensions().get::<Scheme>().map(|scheme| scheme.0),
        "network.protocol.version" = version(request.version()),
        "http.response.status_code" = Empty,
        "otel.status_code" = Empty,
        "error.type" = Empty,
    );
    if let Parent(Some(find)) = parent {
        find(request.headers(), &span);
    }
    span
}

/// Answers inside the span, and writes down how.
pub(crate) async fn answered(span: &Span, answer: impl Future<Output = Response>) -> Response {
    let response = pin!(answer).instrument(span.clone()).await;
    if span.is_disabled() {
        return response;
    }
    let status = response.status();
    span.record("http.response.status_code", status.as_u16());
    // By the conventions an error of the caller is none of the server.
    if status.is_server_error() {
        let code = response.headers().get(SWITCHOVER_ERROR).and_then(|code| code.to_str().ok());
        span.record("error.type", code.unwrap_or(status.as_str()));
        span.record("otel.status_code", "ERROR");
    }
    response
}

fn version(version: Version) -> &'static str {
    if version == Version::HTTP_10 { "1.0" } else { "1.1" }
}
