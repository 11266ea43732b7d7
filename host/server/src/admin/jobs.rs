//! What the hosts of a migration do beside calls, as operators steer it.

use axum::Json;
use serde::Deserialize;
use switchover::migration::Controller;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Operated;
use super::fleet::{Asks, controller};
use super::order::Order;
use super::refusal::OfOrder;
use crate::problem::Problem;
use crate::report::{self, Copying, Done, Repaired};

pub(super) fn routes() -> OpenApiRouter<Operated> {
    OpenApiRouter::new()
        .routes(routes!(hold))
        .routes(routes!(resume))
        .routes(routes!(rate))
        .routes(routes!(evict))
        .routes(routes!(repair))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = HoldOrder)]
struct Hold {
    /// Why, for everybody who looks at the status.
    #[schema(min_length = 1)]
    why: String,
    /// Returns what is in force, and changes nothing.
    #[serde(default)]
    dry_run: bool,
}

/// Stops the jobs that copy, with a reason. Calls are not touched.
///
/// Safe to repeat; the last reason is shown.
#[utoipa::path(
    post,
    path = "/v1/admin/migration/hold",
    operation_id = "hold",
    tag = "jobs",
    request_body = Hold,
    responses((status = 200, description = "What is in force", body = Copying), OfOrder)
)]
async fn hold(asks: Asks, Order(hold): Order<Hold>) -> Result<Json<Copying>, Problem> {
    if hold.why.trim().is_empty() {
        return Err(Problem::invalid("say why: whoever looks at the status will ask"));
    }
    let controller = controller(&asks)?;
    if !hold.dry_run {
        controller.hold(Some(hold.why)).await?;
    }
    in_force(&controller).await
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = PlainOrder)]
struct Plain {
    /// Checks, and changes nothing.
    dry_run: bool,
}

/// Lets the jobs go on.
///
/// Safe to repeat.
#[utoipa::path(
    post,
    path = "/v1/admin/migration/resume",
    operation_id = "resume",
    tag = "jobs",
    request_body = Option<Plain>,
    responses((status = 200, description = "What is in force", body = Copying), OfOrder)
)]
async fn resume(asks: Asks, Order(resume): Order<Plain>) -> Result<Json<Copying>, Problem> {
    let controller = controller(&asks)?;
    if !resume.dry_run {
        controller.hold(None).await?;
    }
    in_force(&controller).await
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = RateOrder)]
struct Rate {
    /// Rows a second, for each job; without it, or `null`: no limit.
    #[schema(minimum = 1)]
    rows: Option<u64>,
    /// Returns what is in force, and changes nothing.
    dry_run: bool,
}

/// Limits how many rows a second each job may copy or compare.
///
/// Safe to repeat.
#[utoipa::path(
    post,
    path = "/v1/admin/migration/rate",
    operation_id = "rate",
    tag = "jobs",
    request_body = Option<Rate>,
    responses((status = 200, description = "What is in force", body = Copying), OfOrder)
)]
async fn rate(asks: Asks, Order(rate): Order<Rate>) -> Result<Json<Copying>, Problem> {
    if rate.rows == Some(0) {
        return Err(Problem::invalid("a rate of 0 would stop the jobs: order `hold`, which says why"));
    }
    let controller = controller(&asks)?;
    if !rate.dry_run {
        controller.set_rate(rate.rows).await?;
    }
    in_force(&controller).await
}

async fn in_force(controller: &Controller) -> Result<Json<Copying>, Problem> {
    Ok(Json(report::copying(controller.document().await?)))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = EvictOrder)]
struct Evict {
    /// The name of the host.
    host: String,
    /// Checks whether it could be given up, and changes nothing.
    #[serde(default)]
    dry_run: bool,
}

/// Gives up a host whose lease has run out, so that no barrier waits for it.
///
/// Safe to repeat. A host that starts again under the name is waited for again.
#[utoipa::path(
    post,
    path = "/v1/admin/migration/evict",
    operation_id = "evict",
    tag = "jobs",
    request_body = Evict,
    responses((status = 200, description = "It is given up; with `dry_run`: it could be", body = Done), OfOrder)
)]
async fn evict(asks: Asks, Order(evict): Order<Evict>) -> Result<Json<Done>, Problem> {
    let controller = controller(&asks)?;
    if evict.dry_run {
        controller.look_at_eviction(&evict.host).await?;
    } else {
        controller.evict(&evict.host).await?;
    }
    Ok(Json(Done::YES))
}

/// Compares as `diff` does, and marks what differs, so that the hosts copy it once more.
///
/// It reads both tables whole, and answers at the end. It ends if the caller goes away; what is marked stays so. Safe to
/// repeat: a mark on a row that is alike costs one copy.
#[utoipa::path(
    post,
    path = "/v1/admin/migration/repair",
    operation_id = "repair",
    tag = "jobs",
    request_body = Option<Plain>,
    responses((status = 200, description = "How they compare; with `dry_run` nothing is marked", body = Repaired), OfOrder)
)]
async fn repair(asks: Asks, Order(order): Order<Plain>) -> Result<Json<Repaired>, Problem> {
    let repaired = controller(&asks)?.repair(&asks.0.switchover.limits(), !order.dry_run, &mut |_| {}).await?;
    Ok(Json(report::repair(&repaired)))
}
