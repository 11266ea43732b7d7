//! The commands of `switchover migrate`, on the host's own connections.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::{Extension, State as FromState};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use switchover::capabilities::Epoch;
use switchover::migration::{Controller, Finding, MigrationError, Phase, compare};

use super::Operated;
use super::audit::Operator;
use super::order::Order;
use crate::problem::Problem;
use crate::report;

/// How long a step waits until every host has acknowledged, if the order does not say.
const WAIT_S: u64 = 30;
/// The longest wait of a request.
const WAIT_S_MAX: u64 = 300;
const NO_WAY: &str = "the next phase is `complete`, and there is no way back: order `complete`";

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

async fn status((FromState(state), Extension(by)): Asks) -> Result<Json<Value>, Problem> {
    Ok(Json(report::status(&controller(&state, &by)?.status().await?)))
}

async fn hosts((FromState(state), Extension(by)): Asks) -> Result<Json<Value>, Problem> {
    Ok(Json(report::hosts(&controller(&state, &by)?.status().await?)))
}

async fn marks((FromState(state), Extension(by)): Asks) -> Result<Json<Value>, Problem> {
    Ok(Json(report::marks(&controller(&state, &by)?.status().await?)))
}

async fn evidence((FromState(state), Extension(by)): Asks) -> Result<Json<Value>, Problem> {
    Ok(Json(report::status(&controller(&state, &by)?.evidence().await?)))
}

/// What side tables, fences and control tables lack.
async fn preflight((FromState(state), Extension(by)): Asks) -> Result<Json<Value>, Problem> {
    let planned = controller(&state, &by)?.planned().await?;
    let planned: Vec<_> =
        planned.iter().map(|(place, statement)| json!({"database": place, "statement": statement})).collect();
    Ok(Json(json!({"ok": true, "statements": planned})))
}

/// Reads both tables whole. It ends if the caller goes away.
async fn diff((FromState(state), Extension(by)): Asks) -> Result<Json<Value>, Problem> {
    let [old, new] = controller(&state, &by)?.databases();
    let compared = compare(old.as_ref(), new.as_ref(), &state.switchover.limits(), &mut |_| {}).await?;
    Ok(Json(report::comparison(&compared)))
}

/// The order of a step.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Step {
    to: Option<String>,
    dry_run: bool,
    r#override: Vec<String>,
    wait_s: u64,
}

impl Default for Step {
    fn default() -> Self {
        Self { to: None, dry_run: false, r#override: Vec::new(), wait_s: WAIT_S }
    }
}

async fn advance((FromState(state), Extension(by)): Asks, Order(step): Order<Step>) -> Result<Response, Problem> {
    let controller = controller(&state, &by)?;
    let to = match &step.to {
        Some(word) => report::phase(word).map_err(Problem::invalid)?,
        None => match controller.next_phase().await? {
            Some(Phase::Complete) => return Err(Problem::new(StatusCode::CONFLICT, "no-step", NO_WAY)),
            Some(next) => next,
            None => return Err(no_step("the migration is in its last phase")),
        },
    };
    if controller.document().await?.phase == to.as_str() {
        return waited(&controller, &step, controller.document().await?.epoch, &[]).await;
    }
    made(&controller, to, &step).await
}

async fn settle((FromState(state), Extension(by)): Asks, Order(step): Order<Step>) -> Result<Response, Problem> {
    made(&controller(&state, &by)?, Phase::Mirror, &fixed(step)?).await
}

async fn rollback((FromState(state), Extension(by)): Asks, Order(step): Order<Step>) -> Result<Response, Problem> {
    let (controller, step) = (controller(&state, &by)?, fixed(step)?);
    let previous = controller.previous_phase().await?;
    made(&controller, previous.ok_or_else(|| no_step("no step leads back from here"))?, &step).await
}

/// Goes back phase by phase, while each is sealed in time.
async fn abort((FromState(state), Extension(by)): Asks, Order(step): Order<Step>) -> Result<Response, Problem> {
    let (controller, step) = (controller(&state, &by)?, fixed(step)?);
    loop {
        let Some(previous) = controller.previous_phase().await? else {
            let document = controller.document().await?;
            if document.phase != Phase::Off.as_str() {
                return Err(no_step("no step leads back from here"));
            }
            return Ok(Json(json!({"ok": true, "phase": document.phase, "epoch": document.epoch.0})).into_response());
        };
        let response = made(&controller, previous, &step).await?;
        if step.dry_run || response.status() != StatusCode::OK {
            return Ok(response);
        }
    }
}

async fn complete((FromState(state), Extension(by)): Asks, Order(step): Order<Step>) -> Result<Response, Problem> {
    made(&controller(&state, &by)?, Phase::Complete, &fixed(step)?).await
}

/// A step that leads where it leads.
fn fixed(step: Step) -> Result<Step, Problem> {
    if step.to.is_some() { Err(Problem::invalid("`to` is for `advance` alone")) } else { Ok(step) }
}

fn no_step(detail: &str) -> Problem {
    Problem::new(StatusCode::CONFLICT, "no-step", detail)
}

async fn made(controller: &Controller, to: Phase, step: &Step) -> Result<Response, Problem> {
    let overridden = step.r#override.iter().map(|word| report::guard(word)).collect::<Result<Vec<_>, _>>();
    let overridden = overridden.map_err(Problem::invalid)?;
    if step.dry_run {
        let findings = controller.look(to).await?;
        let told = json!({"ok": report::is_open(&findings, &overridden), "to": to.as_str(), "guards": report::guards(&findings)});
        return Ok(Json(told).into_response());
    }
    let made = controller.step_over(to, &overridden).await?;
    waited(controller, step, made.epoch, &made.findings).await
}

/// Waits until the epoch is sealed. 202: it is in force, and not sealed yet.
async fn waited(controller: &Controller, step: &Step, epoch: Epoch, findings: &[Finding]) -> Result<Response, Problem> {
    let patience = Duration::from_secs(step.wait_s.min(WAIT_S_MAX));
    let guards = report::guards(findings);
    match controller.sealed(patience, &mut |_| {}).await {
        Ok(_) => Ok(Json(json!({"ok": true, "epoch": epoch.0, "sealed": true, "guards": guards})).into_response()),
        Err(MigrationError::NotSealed { waits_for }) => {
            let told =
                json!({"ok": false, "epoch": epoch.0, "sealed": false, "guards": guards, "waits_for": waits_for});
            Ok((StatusCode::ACCEPTED, Json(told)).into_response())
        }
        Err(error) => Err(error.into()),
    }
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
    let controller = controller(&state, &by)?;
    let is_clean = |text: &str| !text.contains(char::is_control);
    let is_flag =
        |name: &str, value: &str| is_clean(name) && is_clean(value) && !name.trim().is_empty() && !name.contains('=');
    if !change.flags.iter().all(|(name, value)| is_flag(name, value)) {
        return Err(Problem::invalid("a flag has a name without `=`, and no control characters"));
    }
    if change.dry_run {
        controller.look_at_change(&change.policy).await?;
        return Ok(done().into_response());
    }
    let epoch = controller.change_policy(change.policy, change.flags.into_iter().collect()).await?;
    let step = Step { wait_s: change.wait_s.unwrap_or(WAIT_S), ..Step::default() };
    waited(&controller, &step, epoch, &[]).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Hold {
    why: String,
    #[serde(default)]
    dry_run: bool,
}

async fn hold((FromState(state), Extension(by)): Asks, Order(hold): Order<Hold>) -> Result<Json<Value>, Problem> {
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

async fn resume((FromState(state), Extension(by)): Asks, Order(resume): Order<Resume>) -> Result<Json<Value>, Problem> {
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

async fn rate((FromState(state), Extension(by)): Asks, Order(rate): Order<Rate>) -> Result<Json<Value>, Problem> {
    if rate.rows == Some(0) {
        return Err(Problem::invalid("a rate of 0 would stop the jobs: order `hold`, which says why"));
    }
    let controller = controller(&state, &by)?;
    if !rate.dry_run {
        controller.set_rate(rate.rows).await?;
    }
    in_force(&controller).await
}

async fn in_force(controller: &Controller) -> Result<Json<Value>, Problem> {
    let document = controller.document().await?;
    Ok(Json(json!({"ok": true, "held": document.held, "rate": document.rate})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Evict {
    host: String,
    #[serde(default)]
    dry_run: bool,
}

async fn evict((FromState(state), Extension(by)): Asks, Order(evict): Order<Evict>) -> Result<Json<Value>, Problem> {
    let controller = controller(&state, &by)?;
    if evict.dry_run {
        controller.look_at_eviction(&evict.host).await?;
    } else {
        controller.evict(&evict.host).await?;
    }
    Ok(done())
}

/// Reads both tables whole, and marks what differs. It ends if the caller goes away; what is marked stays so.
async fn repair((FromState(state), Extension(by)): Asks, Order(order): Order<Resume>) -> Result<Json<Value>, Problem> {
    let controller = controller(&state, &by)?;
    let repaired = controller.repair(&state.switchover.limits(), !order.dry_run, &mut |_| {}).await?;
    let mut told = report::comparison(&repaired.comparison);
    told["marked"] = repaired.marked.into();
    Ok(Json(told))
}

fn done() -> Json<Value> {
    Json(json!({"ok": true}))
}
