//! Policies and flags of this host.

use std::collections::BTreeMap;

use axum::extract::{Query, Request, State as FromState};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use switchover::{Builtin, Policy, PolicyVersion, Switchover};

use super::{Operated, version};
use crate::asked::component;
use crate::problem::Problem;

/// The header with the settings of a policy, a JSON object of texts. Not a query: a setting may be a secret, and queries
/// are logged.
const SETTINGS: &str = "policy-settings";

pub(super) fn routes() -> Router<Operated> {
    Router::new()
        .route("/v1/admin/policy", get(policy))
        .route("/v1/admin/policy/try", post(try_policy))
        .route("/v1/admin/policy/swap", post(swap))
        .route("/v1/admin/policy/roll-back", post(roll_back))
        .route("/v1/admin/flags", get(flags_in_force))
        .route("/v1/admin/flags/apply", post(apply_flags))
}

/// The policy that runs.
pub(super) fn running(switchover: &Switchover) -> Value {
    let status = switchover.policy();
    json!({
        "running": version(&status.version),
        "previous": status.previous.as_ref().map(version),
        "in_flight": status.in_flight,
        "calls_in_flight": status.calls_in_flight,
        "calls": status.calls,
        "faults": status.faults,
        "traps": status.traps,
    })
}

/// The flags in force.
pub(super) fn flags(switchover: &Switchover) -> Value {
    switchover
        .flags()
        .iter()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyQuery {
    builtin: Option<String>,
    #[serde(default)]
    grant_payload: bool,
}

async fn policy(FromState(state): FromState<Operated>) -> Json<Value> {
    Json(running(&state.switchover))
}

/// Loads a policy and tries it, and takes it into use nowhere.
async fn try_policy(FromState(state): FromState<Operated>, request: Request) -> Result<Json<Value>, Problem> {
    let policy = sent(request).await?;
    let (tried, description) = state.switchover.try_policy(&policy).await?;
    Ok(Json(json!({
        "ok": true,
        "policy": version(&tried),
        "databases": description.databases,
        "flags": description.flags,
    })))
}

/// Takes a policy into use, if it passes its trial.
async fn swap(FromState(state): FromState<Operated>, request: Request) -> Result<Json<Value>, Problem> {
    let policy = sent(request).await?;
    Ok(in_use(&state.switchover.swap_policy(policy).await?))
}

async fn roll_back(FromState(state): FromState<Operated>) -> Result<Json<Value>, Problem> {
    Ok(in_use(&state.switchover.rollback_policy().await?))
}

fn in_use(policy: &PolicyVersion) -> Json<Value> {
    let until = "until the server starts again, or reads its configuration again";
    Json(json!({"ok": true, "policy": version(policy), "in_use": until}))
}

async fn flags_in_force(FromState(state): FromState<Operated>) -> Json<Value> {
    Json(flags(&state.switchover))
}

/// Puts the latest flags of their source in force, and says why if they cannot be.
async fn apply_flags(FromState(state): FromState<Operated>) -> Result<Json<Value>, Problem> {
    state.switchover.apply_flags().await?;
    Ok(Json(json!({"ok": true, "flags": flags(&state.switchover)})))
}

/// The policy of a request: its body, or the one that the query names.
async fn sent(request: Request) -> Result<Policy, Problem> {
    let wanted = "the query is not understood: `builtin=NAME`, `grant_payload=true`";
    let Ok(Query(query)) = Query::<PolicyQuery>::try_from_uri(request.uri()) else {
        return Err(Problem::invalid(wanted));
    };
    let settings = settings(&request)?;
    let body = component(request).await?;
    let policy = match query.builtin {
        Some(_) if !body.is_empty() => {
            return Err(Problem::invalid("the body has a component, and the query names another policy: send one"));
        }
        Some(name) => {
            let found = Builtin::ALL.into_iter().find(|builtin| builtin.name() == name);
            let known = Builtin::ALL.map(Builtin::name).join(", ");
            let unknown =
                || Problem::invalid(format!("no policy of that name comes with Switchover; these do: {known}"));
            Policy::builtin(found.ok_or_else(unknown)?)
        }
        None if body.is_empty() => {
            let detail = "send a component as `application/wasm`, or name a policy as `?builtin=NAME`";
            return Err(Problem::new(StatusCode::BAD_REQUEST, "invalid", detail));
        }
        None => Policy::bytes(body),
    };
    let policy = if query.grant_payload { policy.grant_payload() } else { policy };
    Ok(settings.into_iter().fold(policy, |policy, (name, value)| policy.setting(name, value)))
}

fn settings(request: &Request) -> Result<BTreeMap<String, String>, Problem> {
    let Some(sent) = request.headers().get(SETTINGS) else { return Ok(BTreeMap::new()) };
    // The words of serde's errors may repeat a setting.
    serde_json::from_slice(sent.as_bytes()).map_err(|_| {
        Problem::invalid("the header `Policy-Settings` is no JSON object of texts, as in {\"old\": \"default\"}")
    })
}
