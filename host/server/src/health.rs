//! Whether the process lives, and whether it should get requests.

use axum::extract::State as FromState;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::State;
use crate::asked::{Asked, Wanted};
use crate::problem::Shape;

/// The routes of health checks. They need no token.
pub(crate) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new().routes(routes!(livez)).routes(routes!(readyz))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ReadyQuery {
    /// Names each check, also those that are well: `?verbose`.
    verbose: Option<String>,
}

impl Wanted for ReadyQuery {
    const WANTED: &'static str = "`verbose` or nothing";
}

/// Whether the process answers. It asks no database.
#[utoipa::path(
    get,
    path = "/livez",
    operation_id = "livez",
    tag = "health",
    security(()),
    responses((status = 200, description = "It does", body = String, content_type = "text/plain"))
)]
async fn livez() -> &'static str {
    "ok\n"
}

/// Whether a load balancer should send requests here: the host is open and does not end, and in a migration it has
/// acknowledged the epoch in force. It asks no database.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "readyz",
    tag = "health",
    security(()),
    params(ReadyQuery),
    responses(
        (status = 200, description = "It should", body = String, content_type = "text/plain"),
        (status = 400, description = "The query is not understood", body = Shape,
         content_type = "application/problem+json"),
        (status = 503, description = "It should not, and why", body = String, content_type = "text/plain")
    )
)]
async fn readyz(
    FromState(state): FromState<State>,
    Asked(ReadyQuery { verbose }): Asked<ReadyQuery>,
) -> (StatusCode, String) {
    let readiness = state.switchover.readiness();
    let serves = if state.is_ending() { Err("the server ends".to_owned()) } else { Ok(()) };
    let host = if readiness.is_ready() { Ok(()) } else { Err(readiness.problems.join("; ")) };
    let checks = [("serving", serves), ("host", host)];
    let is_ready = checks.iter().all(|(_, check)| check.is_ok());
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if is_ready && verbose.is_none() {
        return (status, "ok\n".to_owned());
    }
    let mut text = String::new();
    for (name, check) in checks {
        text.push_str(&match check {
            Ok(()) => format!("[+]{name} ok\n"),
            Err(why) => format!("[-]{name} failed: {why}\n"),
        });
    }
    text.push_str(&format!("policy {}\n", state.switchover.policy().version));
    if let Some(epochs) = readiness.epochs {
        text.push_str(&format!("epoch in force {}, acknowledged {}\n", epochs.in_force.0, epochs.acknowledged.0));
    }
    (status, text)
}
