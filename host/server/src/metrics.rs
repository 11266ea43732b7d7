//! What the server counts of HTTP itself, and the page with every metric of the process.

use std::fmt::{self, Debug};
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State as FromState};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use metrics::{counter, histogram};
use switchover::metrics::{Kind, Metric};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::State;
use crate::problem::{Problem, Shape};
use crate::trace::{self, Parent};

/// The media type of the format that Prometheus reads.
const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

const METHODS: &[&str] = &["DELETE", "GET", "HEAD", "PATCH", "POST", "PUT", "other"];
const ROUTES: &[&str] = &[
    "/livez",
    "/metrics",
    "/readyz",
    "/v1/admin",
    "/v1/openapi.json",
    "/v1/router/allow-migrate",
    "/v1/router/allow-relation",
    "/v1/router/db-for-read",
    "/v1/router/db-for-write",
    "/v1/sessions",
    "/v1/sessions/clear-expired",
    "/v1/sessions/{key}",
    "/v1/sessions/{key}/cycle",
    "none",
];
const STATUSES: &[&str] = &["2xx", "3xx", "4xx", "5xx"];

/// Every metric of the server, beside those of the host. They are for the recorder of the crate `metrics` that the
/// service installs.
pub const METRICS: &[Metric] = &[
    Metric {
        name: "switchover_http_requests_total",
        kind: Kind::Counter,
        labels: &[("method", METHODS), ("route", ROUTES), ("status", STATUSES)],
        what: "Requests that were answered. `none` is a path that no route has.",
    },
    Metric {
        name: "switchover_http_request_duration_seconds",
        kind: Kind::Seconds,
        labels: &[("route", ROUTES)],
        what: "How long requests took, from the end of their head to the head of their answer.",
    },
    Metric {
        name: "switchover_http_connections_refused_total",
        kind: Kind::Counter,
        labels: &[],
        what: "Connections that were closed at once, because there were too many.",
    },
];

/// Tells the recorder what each metric of the server means.
pub fn describe_metrics() {
    METRICS.iter().for_each(Metric::describe);
}

/// Makes the page with the metrics of the process. The service that installed the recorder knows how.
#[derive(Clone)]
pub(crate) struct Page(pub(crate) Arc<dyn Fn() -> String + Send + Sync>);

impl Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Page")
    }
}

/// The page of metrics, for callers who may read sessions too.
pub(crate) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(metrics))
}

/// The metrics of the process, as Prometheus reads them. No label has a key.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "metrics",
    tag = "health",
    responses(
        (status = 200, description = "The metrics", body = String, content_type = "text/plain"),
        (status = 404, description = "The service that mounts these routes shows none", body = Shape,
         content_type = "application/problem+json"),
        (status = "default", description = "The caller is not known", body = Shape,
         content_type = "application/problem+json")
    )
)]
async fn metrics(FromState(state): FromState<State>) -> Response {
    match &state.metrics {
        Some(Page(page)) => ([(CONTENT_TYPE, MEDIA_TYPE)], page()).into_response(),
        None => Problem::new(StatusCode::NOT_FOUND, "no-metrics", "this service shows no metrics here").into_response(),
    }
}

/// Counts a request and its time, and makes its span.
pub(crate) async fn observed(FromState(parent): FromState<Parent>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let route = path.map_or("none", known_route);
    let method = known_method(request.method());
    let span = trace::begin(&parent, &request, method, path);
    let response = trace::answered(&span, next.run(request)).await;
    let status = match response.status().as_u16() {
        ..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    };
    counter!("switchover_http_requests_total", "method" => method, "route" => route, "status" => status).increment(1);
    histogram!("switchover_http_request_duration_seconds", "route" => route).record(begun.elapsed());
    response
}

/// The routes may be mounted below a path of the service.
fn known_route(path: &str) -> &'static str {
    ROUTES
        .iter()
        .find(|route| path.ends_with(**route) || (**route == "/v1/admin" && path.contains("/v1/admin/")))
        .copied()
        .unwrap_or("none")
}

fn known_method(method: &Method) -> &'static str {
    METHODS.iter().find(|known| **known == method.as_str()).copied().unwrap_or("other")
}
