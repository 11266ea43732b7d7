//! The commands of `switchover migrate`, on the host's own connections.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::{Extension, State as FromState};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use switchover::capabilities::Epoch;
use switchover::migration::{Controller, Finding, MigrationError, StepCommand, compare, phase};

use super::Operated;
use super::audit::Operator;
use super::order::Order;
use crate::problem::Problem;
use crate::report::{self, Begun, Compared, Copying, Done, Hosts, Marks, Repaired, StatusShown};

/// How long a step waits until every host has acknowledged, if the order does not say.
const WAIT_S: u64 = 30;
/// The longest wait of a request.
const WAIT_S_MAX: u64 = 300;

pub(super) fn routes() -> Router<Operated> {
    let at = |command: &str| format!("/v1/admin/migration{command}");
    Router::new()
        .route(&at(""), get(status))
        .route(&at("/hosts"), get(hosts))
        .route(&at("/marks"), get(marks))
        .route(&at("/evidence"), get(evidence))
        .route(&at("/preflight"), get(preflight))
        .route(&at("/diff"), get(diff))
        .route(&at("/advance"), post(advance))
        .route(&at("/settle"), post(settle))
        .route(&at("/rollback"), post(rollback))
        .route(&at("/abort"), post(abort))
        .route(&at("/complete"), post(complete))
        .route(&at("/policy"), post(policy))
        .route(&at("/hold"), post(hold))
        .route(&at("/resume"), post(resume))
        .route(&at("/rate"), post(rate))
        .route(&at("/evict"), post(evict))
        .route(&at("/repair"), post(repair))
}

/// The operator's end of the host's migration.
fn controller(state: &Operated, operator: &Operator) -> Result<Controller, Problem> {
    state.switchover.controller(operator.0.clone()).ok_or_else(|| {
        let detail = "this host takes part in no migration: give its configuration a table [migration]";
        Problem::new(StatusCode::NOT_FOUND, "no-migration", detail)
    })
}

type Asks = (FromState<Operated>, Extension<Operator>);

async fn status((FromState(state), Extension(by)): Asks) -> Result<Json<StatusShown>, Problem> {
    Ok(Json(report::status(&controller(&state, &by)?.status().await?)))
}

async fn hosts((FromState(state), Extension(by)): Asks) -> Result<Json<Hosts>, Problem> {
    Ok(Json(report::hosts(&controller(&state, &by)?.status().await?)))
}

async fn marks((FromState(state), Extension(by)): Asks) -> Result<Json<Marks>, Problem> {
    Ok(Json(report::marks(&controller(&state, &by)?.status().await?)))
}

async fn evidence((FromState(state), Extension(by)): Asks) -> Result<Json<StatusShown>, Problem> {
    Ok(Json(report::status(&controller(&state, &by)?.evidence().await?)))
}

/// What side tables, fences and control tables lack.
async fn preflight((FromState(state), Extension(by)): Asks) -> Result<Json<Begun>, Problem> {
    let controller = controller(&state, &by)?;
    Ok(Json(report::planned(controller.migration(), controller.planned().await?)))
}

/// Reads both tables whole. It ends if the caller goes away.
async fn diff((FromState(state), Extension(by)): Asks) -> Result<Json<Compared>, Problem> {
    let [old, new] = controller(&state, &by)?.databases();
    let compared = compare(old.as_ref(), new.as_ref(), &state.switchover.limits(), &mut |_| {}).await?;
    Ok(Json(report::comparison(&compared)))
}

/// The order of a step.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Step {
    dry_run: bool,
    r#override: Vec<String>,
    wait_s: u64,
}

impl Default for Step {
    fn default() -> Self {
        Self { dry_run: false, r#override: Vec::new(), wait_s: WAIT_S }
    }
}

/// The order of a step to a phase that may be named.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Advance {
    to: Option<String>,
    dry_run: bool,
    r#override: Vec<String>,
    wait_s: Option<u64>,
}

async fn advance((FromState(state), Extension(by)): Asks, Order(advance): Order<Advance>) -> Result<Response, Problem> {
    let to = advance.to.as_deref().map(report::phase).transpose().map_err(Problem::invalid)?;
    let Advance { dry_run, r#override, wait_s, .. } = advance;
    let step = Step { dry_run, r#override, wait_s: wait_s.unwrap_or(WAIT_S) };
    made(&controller(&state, &by)?, to.map_or(StepCommand::Advance, StepCommand::To), &step).await
}

async fn settle((FromState(state), Extension(by)): Asks, Order(step): Order<Step>) -> Result<Response, Problem> {
    made(&controller(&state, &by)?, StepCommand::Settle, &step).await
}

async fn rollback((FromState(state), Extension(by)): Asks, Order(step): Order<Step>) -> Result<Response, Problem> {
    made(&controller(&state, &by)?, StepCommand::Rollback, &step).await
}

/// Goes back phase by phase, while each is sealed in time.
async fn abort((FromState(state), Extension(by)): Asks, Order(step): Order<Step>) -> Result<Response, Problem> {
    made(&controller(&state, &by)?, StepCommand::Abort, &step).await
}

async fn complete((FromState(state), Extension(by)): Asks, Order(step): Order<Step>) -> Result<Response, Problem> {
    made(&controller(&state, &by)?, StepCommand::Complete, &step).await
}

/// Makes the step of a command, or all of them.
async fn made(controller: &Controller, command: StepCommand, step: &Step) -> Result<Response, Problem> {
    let overridden = report::guards(&step.r#override).map_err(Problem::invalid)?;
    loop {
        let Some(to) = controller.next_step(command).await? else { return nothing_to_do(controller, step).await };
        if step.dry_run {
            let findings = controller.look(to).await?;
            return Ok(Json(report::looked(to, &findings, &overridden)).into_response());
        }
        let made = controller.step_over(to, &overridden).await?;
        let response = waited(controller, step.wait_s, made.epoch, &made.findings).await?;
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    policy: String,
    #[serde(default)]
    flags: BTreeMap<String, String>,
    #[serde(default)]
    dry_run: bool,
    wait_s: Option<u64>,
}

/// Changes policy and flags of the whole fleet.
async fn policy((FromState(state), Extension(by)): Asks, Order(change): Order<Change>) -> Result<Response, Problem> {
    let (controller, flags) = (controller(&state, &by)?, Vec::from_iter(change.flags));
    if change.dry_run {
        controller.look_at_change(&change.policy, &flags).await?;
        return Ok(Json(Done::YES).into_response());
    }
    let epoch = controller.change_policy(change.policy, flags).await?;
    waited(&controller, change.wait_s.unwrap_or(WAIT_S), epoch, &[]).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Hold {
    why: String,
    #[serde(default)]
    dry_run: bool,
}

async fn hold((FromState(state), Extension(by)): Asks, Order(hold): Order<Hold>) -> Result<Json<Copying>, Problem> {
    if hold.why.trim().is_empty() {
        return Err(Problem::invalid("say why: whoever looks at the status will ask"));
    }
    let controller = controller(&state, &by)?;
    if !hold.dry_run {
        controller.hold(Some(hold.why)).await?;
    }
    in_force(&controller).await
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Resume {
    dry_run: bool,
}

async fn resume(
    (FromState(state), Extension(by)): Asks,
    Order(resume): Order<Resume>,
) -> Result<Json<Copying>, Problem> {
    let controller = controller(&state, &by)?;
    if !resume.dry_run {
        controller.hold(None).await?;
    }
    in_force(&controller).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rate {
    rows: Option<u64>,
    #[serde(default)]
    dry_run: bool,
}

async fn rate((FromState(state), Extension(by)): Asks, Order(rate): Order<Rate>) -> Result<Json<Copying>, Problem> {
    if rate.rows == Some(0) {
        return Err(Problem::invalid("a rate of 0 would stop the jobs: order `hold`, which says why"));
    }
    let controller = controller(&state, &by)?;
    if !rate.dry_run {
        controller.set_rate(rate.rows).await?;
    }
    in_force(&controller).await
}

async fn in_force(controller: &Controller) -> Result<Json<Copying>, Problem> {
    Ok(Json(report::copying(controller.document().await?)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Evict {
    host: String,
    #[serde(default)]
    dry_run: bool,
}

async fn evict((FromState(state), Extension(by)): Asks, Order(evict): Order<Evict>) -> Result<Json<Done>, Problem> {
    let controller = controller(&state, &by)?;
    if evict.dry_run {
        controller.look_at_eviction(&evict.host).await?;
    } else {
        controller.evict(&evict.host).await?;
    }
    Ok(Json(Done::YES))
}

/// Reads both tables whole, and marks what differs. It ends if the caller goes away; what is marked stays so.
async fn repair(
    (FromState(state), Extension(by)): Asks,
    Order(order): Order<Resume>,
) -> Result<Json<Repaired>, Problem> {
    let controller = controller(&state, &by)?;
    let repaired = controller.repair(&state.switchover.limits(), !order.dry_run, &mut |_| {}).await?;
    Ok(Json(report::repair(&repaired)))
}
