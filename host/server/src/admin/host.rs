//! The host, with its databases asked.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State as FromState;
use serde::Serialize;
use switchover::{DatabaseCheck, EpochsOfHost};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Operated;
use super::policy::{self, Running};
use super::refusal::OfLook;

pub(super) fn routes() -> OpenApiRouter<Operated> {
    OpenApiRouter::new().routes(routes!(status))
}

/// How a host is.
#[derive(Serialize, ToSchema)]
struct HostStatus {
    /// Whether it is ready.
    ok: bool,
    /// What keeps it from being ready.
    problems: Vec<String>,
    /// The policy that runs.
    policy: Running,
    /// The flags in force.
    flags: BTreeMap<String, String>,
    /// Its databases.
    databases: Vec<DatabaseAsked>,
    /// How many keys wait for a repair.
    repairs_pending: usize,
    /// The epochs of its migration; `null`: it takes part in none.
    migration: Option<Epochs>,
}

/// A database that was asked.
#[derive(Serialize, ToSchema)]
struct DatabaseAsked {
    /// Its alias.
    database: String,
    /// Where it is, without its password.
    place: String,
    /// How long it took, with or without an answer.
    answered_in_s: f64,
    /// Why it cannot be used; `null`: it answered.
    problem: Option<String>,
}

impl From<&DatabaseCheck> for DatabaseAsked {
    fn from(check: &DatabaseCheck) -> Self {
        Self {
            database: check.database.as_str().to_owned(),
            place: check.summary.clone(),
            answered_in_s: check.latency.as_secs_f64(),
            problem: check.problem.as_ref().map(ToString::to_string),
        }
    }
}

/// The epochs of a host.
#[derive(Serialize, ToSchema)]
struct Epochs {
    /// The one in force, as far as the host has read.
    epoch_in_force: u64,
    /// The one that its new calls run under.
    epoch_loaded: u64,
    /// The last one that it acknowledged.
    epoch_acknowledged: u64,
}

impl From<EpochsOfHost> for Epochs {
    fn from(epochs: EpochsOfHost) -> Self {
        Self {
            epoch_in_force: epochs.in_force.0,
            epoch_loaded: epochs.loaded.0,
            epoch_acknowledged: epochs.acknowledged.0,
        }
    }
}

/// The host: readiness, policy, flags, and each database asked.
#[utoipa::path(
    get,
    path = "/v1/admin/status",
    operation_id = "status",
    tag = "host",
    responses((status = 200, description = "How it is", body = HostStatus), OfLook)
)]
async fn status(FromState(state): FromState<Operated>) -> Json<HostStatus> {
    let switchover = &state.switchover;
    let readiness = switchover.readiness();
    Json(HostStatus {
        ok: readiness.is_ready(),
        databases: switchover.check_databases().await.iter().map(DatabaseAsked::from).collect(),
        migration: readiness.epochs.map(Epochs::from),
        problems: readiness.problems,
        policy: policy::running(switchover),
        flags: policy::flags(switchover),
        repairs_pending: switchover.repairs_pending(),
    })
}
