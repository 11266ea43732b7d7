//! Where the migration of the host stands, on the host's own connections.

use axum::Json;
use axum::extract::{Extension, State as FromState};
use switchover::migration::{Controller, compare};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Operated;
use super::audit::Operator;
use super::refusal::{NO_MIGRATION, OfDiff, OfFleetLook};
use crate::problem::Problem;
use crate::report::{self, Compared, Hosts, Marks, StatusShown};

pub(super) fn routes() -> OpenApiRouter<Operated> {
    OpenApiRouter::new()
        .routes(routes!(status))
        .routes(routes!(hosts))
        .routes(routes!(marks))
        .routes(routes!(evidence))
        .routes(routes!(diff))
}

/// What every handler of a migration is given.
pub(super) type Asks = (FromState<Operated>, Extension<Operator>);

/// The operator's end of the host's migration.
pub(super) fn controller((state, by): &Asks) -> Result<Controller, Problem> {
    state.switchover.controller(by.0.0.clone()).ok_or_else(no_migration)
}

pub(super) fn no_migration() -> Problem {
    NO_MIGRATION.problem("this host takes part in no migration: give its configuration a table [migration]")
}

/// Where the migration stands, and what the next step waits for.
#[utoipa::path(
    get,
    path = "/v1/admin/migration",
    operation_id = "migration",
    tag = "fleet",
    responses((status = 200, description = "The status", body = StatusShown), OfFleetLook)
)]
async fn status(asks: Asks) -> Result<Json<StatusShown>, Problem> {
    Ok(Json(report::status(&controller(&asks)?.status().await?)))
}

/// The hosts, with what they have acknowledged.
#[utoipa::path(
    get,
    path = "/v1/admin/migration/hosts",
    operation_id = "hosts",
    tag = "fleet",
    responses((status = 200, description = "The hosts", body = Hosts), OfFleetLook)
)]
async fn hosts(asks: Asks) -> Result<Json<Hosts>, Problem> {
    Ok(Json(report::hosts(&controller(&asks)?.status().await?)))
}

/// How many keys wait for a copy.
#[utoipa::path(
    get,
    path = "/v1/admin/migration/marks",
    operation_id = "marks",
    tag = "fleet",
    responses((status = 200, description = "The numbers", body = Marks), OfFleetLook)
)]
async fn marks(asks: Asks) -> Result<Json<Marks>, Problem> {
    Ok(Json(report::marks(&controller(&asks)?.status().await?)))
}

/// Everything that the control tables know, with the whole log of decisions.
#[utoipa::path(
    get,
    path = "/v1/admin/migration/evidence",
    operation_id = "evidence",
    tag = "fleet",
    responses((status = 200, description = "The status, with every decision", body = StatusShown), OfFleetLook)
)]
async fn evidence(asks: Asks) -> Result<Json<StatusShown>, Problem> {
    Ok(Json(report::status(&controller(&asks)?.evidence().await?)))
}

/// Compares the unexpired sessions of both databases, both ways.
///
/// It reads both tables whole, and answers at the end. It ends if the caller goes away.
#[utoipa::path(
    get,
    path = "/v1/admin/migration/diff",
    operation_id = "diff",
    tag = "fleet",
    responses((status = 200, description = "How they compare", body = Compared), OfDiff)
)]
async fn diff(asks: Asks) -> Result<Json<Compared>, Problem> {
    let [old, new] = controller(&asks)?.databases();
    let compared = compare(old.as_ref(), new.as_ref(), &asks.0.switchover.limits(), &mut |_| {}).await?;
    Ok(Json(report::comparison(&compared)))
}
