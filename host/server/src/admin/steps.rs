//! The steps of a migration, and another policy for its fleet: each is an epoch that every host acknowledges.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use switchover::capabilities::Epoch;
use switchover::migration::{Controller, Finding, MigrationError, StepCommand, phase};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Operated;
use super::fleet::{Asks, controller};
use super::order::Order;
use super::refusal::{OfFleetPolicy, OfStep};
use crate::problem::Problem;
use crate::report::{self, Done, Looked, Made};

/// How long a step waits until every host has acknowledged, if the order does not say.
const WAIT_S: u64 = 30;
/// The longest wait of a request.
const WAIT_S_MAX: u64 = 300;

pub(super) fn routes() -> OpenApiRouter<Operated> {
    OpenApiRouter::new()
        .routes(routes!(advance))
        .routes(routes!(settle))
        .routes(routes!(rollback))
        .routes(routes!(abort))
        .routes(routes!(complete))
        .routes(routes!(policy))
}

/// The order of a step.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = StepOrder)]
struct Step {
    /// Returns the guards, and changes nothing.
    dry_run: bool,
    /// Guards that are advice, such as `backfilled`: the step is made although they are not green.
    r#override: Vec<String>,
    /// How long to wait until every host has acknowledged; more than 300 is 300.
    wait_s: u64,
}

impl Default for Step {
    fn default() -> Self {
        Self { dry_run: false, r#override: Vec::new(), wait_s: WAIT_S }
    }
}

/// The order of a step whose phase may be named.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = AdvanceOrder)]
struct Advance {
    /// The phase to go to, a neighbour of the one in force; without it the next one.
    to: Option<String>,
    /// Returns the guards, and changes nothing.
    dry_run: bool,
    /// Guards that are advice, such as `backfilled`: the step is made although they are not green.
    r#override: Vec<String>,
    /// How long to wait until every host has acknowledged; more than 300 is 300.
    wait_s: u64,
}

impl Default for Advance {
    fn default() -> Self {
        let Step { dry_run, r#override, wait_s } = Step::default();
        Self { to: None, dry_run, r#override, wait_s }
    }
}

/// The answer to a step: what was made, or would be.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "the shape of an answer, for the OpenAPI document")]
enum Stepped {
    Made(Made),
    Looked(Looked),
}

/// Goes to the next phase, or to a neighbour that is named.
///
/// Repeated without `to` it goes on to the next phase. Where it is not known whether it was made, repeat it with `to`: it
/// goes no further, however often. To `complete` it goes only where `to` says so.
#[utoipa::path(
    post,
    path = "/v1/admin/migration/advance",
    operation_id = "advance",
    tag = "steps",
    request_body = Option<Advance>,
    responses(
        (status = 200, description = "Every host has acknowledged; with `dry_run` the guards", body = inline(Stepped)),
        (status = 202, description = "The step is made, and its epoch not sealed yet: the hosts seal it by themselves", body = Made),
        OfStep
    )
)]
async fn advance(asks: Asks, Order(order): Order<Advance>) -> Result<Response, Problem> {
    let Advance { to, dry_run, r#override, wait_s } = order;
    let to = to.as_deref().map(report::phase).transpose().map_err(Problem::invalid)?;
    let command = to.map_or(StepCommand::Advance, StepCommand::To);
    made(&asks, command, &Step { dry_run, r#override, wait_s }).await
}

/// Settles `mirror`: begins an epoch in which everything of `off` has ended, so that the verification can begin.
///
/// Repeated it settles again, and the verification begins anew.
#[utoipa::path(
    post,
    path = "/v1/admin/migration/settle",
    operation_id = "settle",
    tag = "steps",
    request_body = Option<Step>,
    responses(
        (status = 200, description = "Every host has acknowledged; with `dry_run` the guards", body = inline(Stepped)),
        (status = 202, description = "It is settled, and its epoch not sealed yet: the hosts seal it by themselves", body = Made),
        OfStep
    )
)]
async fn settle(asks: Asks, Order(step): Order<Step>) -> Result<Response, Problem> {
    made(&asks, StepCommand::Settle, &step).await
}

/// Goes back to the previous phase.
///
/// Repeated it goes back once more. Where it is not known whether it was made, order `advance` with the phase as `to`.
#[utoipa::path(
    post,
    path = "/v1/admin/migration/rollback",
    operation_id = "rollback",
    tag = "steps",
    request_body = Option<Step>,
    responses(
        (status = 200, description = "Every host has acknowledged; with `dry_run` the guards", body = inline(Stepped)),
        (status = 202, description = "The step is made, and its epoch not sealed yet: the hosts seal it by themselves", body = Made),
        OfStep
    )
)]
async fn rollback(asks: Asks, Order(step): Order<Step>) -> Result<Response, Problem> {
    made(&asks, StepCommand::Rollback, &step).await
}

/// Goes back to `off`, phase by phase, while each is sealed in time.
///
/// Safe to repeat: it goes on from the phase in force, and in `off` it has nothing to do. `wait_s` is for each phase. A dry
/// run has the guards of the first step.
#[utoipa::path(
    post,
    path = "/v1/admin/migration/abort",
    operation_id = "abort",
    tag = "steps",
    request_body = Option<Step>,
    responses(
        (status = 200, description = "The migration is in `off`; with `dry_run` the guards", body = inline(Stepped)),
        (status = 202, description = "A step is made, and its epoch not sealed yet: repeat it", body = Made),
        OfStep
    )
)]
async fn abort(asks: Asks, Order(step): Order<Step>) -> Result<Response, Problem> {
    made(&asks, StepCommand::Abort, &step).await
}

/// Goes from `reverse` to `complete`. There is no way back from there.
///
/// Safe to repeat: in `complete` it has nothing to do.
#[utoipa::path(
    post,
    path = "/v1/admin/migration/complete",
    operation_id = "complete",
    tag = "steps",
    request_body = Option<Step>,
    responses(
        (status = 200, description = "Every host has acknowledged; with `dry_run` the guards", body = inline(Stepped)),
        (status = 202, description = "The step is made, and its epoch not sealed yet: the hosts seal it by themselves", body = Made),
        OfStep
    )
)]
async fn complete(asks: Asks, Order(step): Order<Step>) -> Result<Response, Problem> {
    made(&asks, StepCommand::Complete, &step).await
}

/// Makes the step of a command, or all of them.
async fn made(asks: &Asks, command: StepCommand, step: &Step) -> Result<Response, Problem> {
    let overridden = report::guards(&step.r#override).map_err(Problem::invalid)?;
    let controller = controller(asks)?;
    loop {
        let Some(to) = controller.next_step(command).await? else { return nothing_to_do(&controller, step).await };
        if step.dry_run {
            let findings = controller.look(to).await?;
            return Ok(Json(report::looked(to, &findings, &overridden)).into_response());
        }
        let made = controller.step_over(to, &overridden).await?;
        let response = waited(&controller, step.wait_s, made.epoch, &made.findings).await?;
        if response.status() != StatusCode::OK || !command.goes_on_from(to) {
            return Ok(response);
        }
    }
}

/// The migration is where the command leads: what is left is to wait for its epoch.
async fn nothing_to_do(controller: &Controller, step: &Step) -> Result<Response, Problem> {
    let document = controller.document().await?;
    if step.dry_run {
        return Ok(Json(report::looked(phase(&document)?, &[], &[])).into_response());
    }
    waited(controller, step.wait_s, document.epoch, &[]).await
}

/// Waits until the epoch is sealed. 202: it is in force, and not sealed yet.
async fn waited(controller: &Controller, wait_s: u64, epoch: Epoch, findings: &[Finding]) -> Result<Response, Problem> {
    let patience = Duration::from_secs(wait_s.min(WAIT_S_MAX));
    let (status, waits_for) = match controller.sealed(patience, &mut |_| {}).await {
        Ok(_) => (StatusCode::OK, Vec::new()),
        Err(MigrationError::NotSealed { waits_for }) => (StatusCode::ACCEPTED, waits_for),
        Err(error) => return Err(error.into()),
    };
    Ok((status, Json(report::made(epoch, findings, waits_for))).into_response())
}

/// The order of another policy.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PolicyOrder)]
struct Change {
    /// The policy, by its name: `phased`, or NAME of NAME.wasm in the hosts' folder of policies.
    policy: String,
    /// The flags of the policy. Those that are left out are no longer set.
    #[serde(default)]
    flags: BTreeMap<String, String>,
    /// Checks whether it could be changed, and changes nothing.
    #[serde(default)]
    dry_run: bool,
    /// How long to wait until every host has acknowledged; more than 300 is 300.
    #[serde(default = "usual_wait")]
    wait_s: u64,
}

fn usual_wait() -> u64 {
    WAIT_S
}

/// The answer to a change of the policy.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "the shape of an answer, for the OpenAPI document")]
enum Changed {
    Made(Made),
    Done(Done),
}

/// Changes the policy, or its flags, of the whole fleet, in the phase in force.
///
/// Safe to repeat: it is one more epoch with the same policy.
#[utoipa::path(
    post,
    path = "/v1/admin/migration/policy",
    operation_id = "change_policy",
    tag = "steps",
    request_body = Change,
    responses(
        (status = 200, description = "Every host has acknowledged; with `dry_run`: it could be changed", body = inline(Changed)),
        (status = 202, description = "It is changed, and its epoch not sealed yet: the hosts seal it by themselves", body = Made),
        OfFleetPolicy
    )
)]
async fn policy(asks: Asks, Order(change): Order<Change>) -> Result<Response, Problem> {
    let (controller, flags) = (controller(&asks)?, Vec::from_iter(change.flags));
    if change.dry_run {
        controller.look_at_change(&change.policy, &flags).await?;
        return Ok(Json(Done::YES).into_response());
    }
    let epoch = controller.change_policy(change.policy, flags).await?;
    waited(&controller, change.wait_s, epoch, &[]).await
}
