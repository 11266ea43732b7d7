//! Policies and flags of this host.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Query, Request, State as FromState};
use serde::{Deserialize, Serialize};
use switchover::{Builtin, Policy, PolicyVersion, Switchover};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Operated;
use super::refusal::{OfFlags, OfLook, OfRollBack, OfSwap, OfTrial};
use crate::asked::component;
use crate::problem::Problem;

/// The header with the settings of a policy, a JSON object of texts. Not a query: a setting may be a secret, and queries
/// are logged.
const SETTINGS: &str = "policy-settings";

pub(super) fn routes() -> OpenApiRouter<Operated> {
    OpenApiRouter::new()
        .routes(routes!(policy))
        .routes(routes!(try_policy))
        .routes(routes!(swap))
        .routes(routes!(roll_back))
        .routes(routes!(flags_in_force))
        .routes(routes!(apply_flags))
}

/// A version of a policy.
#[derive(Serialize, ToSchema)]
struct Version {
    /// The name that it gives itself.
    name: String,
    /// The version that it gives itself.
    version: String,
    /// How it writes: policies of one protocol may run side by side.
    protocol: String,
    /// SHA-256 of the component, its settings and its grants.
    digest: String,
    /// How many policies this host had loaded before.
    generation: u64,
}

impl From<&PolicyVersion> for Version {
    fn from(version: &PolicyVersion) -> Self {
        let PolicyVersion { name, version, protocol, digest, generation, .. } = version.clone();
        Self { name, version, protocol, digest, generation }
    }
}

/// The policy that runs.
#[derive(Serialize, ToSchema)]
pub(super) struct Running {
    /// Its version.
    running: Version,
    /// The one that `roll-back` goes back to.
    previous: Option<Version>,
    /// Calls and writes under way in the host, of every version.
    in_flight: usize,
    /// Calls of this version under way.
    calls_in_flight: usize,
    /// Calls that this version has had.
    calls: u64,
    /// How many of these failed by the policy's fault.
    faults: u64,
    /// How many of the faults ended the guest.
    traps: u64,
}

/// The policy that runs.
pub(super) fn running(switchover: &Switchover) -> Running {
    let status = switchover.policy();
    Running {
        running: Version::from(&status.version),
        previous: status.previous.as_ref().map(Version::from),
        in_flight: status.in_flight,
        calls_in_flight: status.calls_in_flight,
        calls: status.calls,
        faults: status.faults,
        traps: status.traps,
    }
}

/// The flags in force.
pub(super) fn flags(switchover: &Switchover) -> BTreeMap<String, String> {
    switchover.flags().iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct PolicyQuery {
    /// A policy that comes with Switchover, in place of the body.
    builtin: Option<String>,
    /// Lets the policy read payloads.
    #[serde(default)]
    grant_payload: bool,
}

/// A component.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "the shape of a body, for the OpenAPI document")]
struct Component(Vec<u8>);

/// The policy that runs, the one before, calls and faults.
#[utoipa::path(
    get,
    path = "/v1/admin/policy",
    operation_id = "policy",
    tag = "host",
    responses((status = 200, description = "The policy", body = Running), OfLook)
)]
async fn policy(FromState(state): FromState<Operated>) -> Json<Running> {
    Json(running(&state.switchover))
}

/// A policy that passed its trial.
#[derive(Serialize, ToSchema)]
struct Tried {
    /// `true`.
    ok: bool,
    /// The policy.
    policy: Version,
    /// Every database that it may name.
    databases: Vec<String>,
    /// Every flag that it reads.
    flags: Vec<String>,
}

/// Loads a policy and tries it under the flags in force. It serves nobody.
///
/// This is the dry run of `swap`. Safe to repeat.
#[utoipa::path(
    post,
    path = "/v1/admin/policy/try",
    operation_id = "try_policy",
    tag = "host",
    params(
        PolicyQuery,
        ("Policy-Settings" = Option<String>, Header, description = "The settings of the policy, a JSON object of texts")
    ),
    request_body(content = Option<Component>, content_type = "application/wasm", description = "The policy, or `?builtin=NAME`"),
    responses((status = 200, description = "It passed", body = Tried), OfTrial)
)]
async fn try_policy(FromState(state): FromState<Operated>, request: Request) -> Result<Json<Tried>, Problem> {
    let policy = sent(request).await?;
    let (tried, description) = state.switchover.try_policy(&policy).await?;
    let (databases, flags) = (description.databases, description.flags);
    Ok(Json(Tried { ok: true, policy: Version::from(&tried), databases, flags }))
}

/// A policy that was taken into use.
#[derive(Serialize, ToSchema)]
struct InUse {
    /// `true`.
    ok: bool,
    /// The policy.
    policy: Version,
    /// For how long.
    in_use: &'static str,
}

impl InUse {
    fn from(version: &PolicyVersion) -> Json<Self> {
        let in_use = "until the server starts again, or reads its configuration again";
        Json(Self { ok: true, policy: Version::from(version), in_use })
    }
}

/// Takes a policy into use, if it passes its trial.
///
/// Repeated it takes the same policy into use once more, and `roll-back` then goes back to that one.
#[utoipa::path(
    post,
    path = "/v1/admin/policy/swap",
    operation_id = "swap",
    tag = "host",
    params(
        PolicyQuery,
        ("Policy-Settings" = Option<String>, Header, description = "The settings of the policy, a JSON object of texts")
    ),
    request_body(content = Option<Component>, content_type = "application/wasm", description = "The policy, or `?builtin=NAME`"),
    responses((status = 200, description = "It serves", body = InUse), OfSwap)
)]
async fn swap(FromState(state): FromState<Operated>, request: Request) -> Result<Json<InUse>, Problem> {
    let policy = sent(request).await?;
    Ok(InUse::from(&state.switchover.swap_policy(policy).await?))
}

/// Goes back to the policy before.
///
/// Repeated it goes forward again: look at `policy` first.
#[utoipa::path(
    post,
    path = "/v1/admin/policy/roll-back",
    operation_id = "roll_back",
    tag = "host",
    responses((status = 200, description = "It serves", body = InUse), OfRollBack)
)]
async fn roll_back(FromState(state): FromState<Operated>) -> Result<Json<InUse>, Problem> {
    Ok(InUse::from(&state.switchover.rollback_policy().await?))
}

/// The flags in force.
#[utoipa::path(
    get,
    path = "/v1/admin/flags",
    operation_id = "flags",
    tag = "host",
    responses((status = 200, description = "The flags", body = BTreeMap<String, String>), OfLook)
)]
async fn flags_in_force(FromState(state): FromState<Operated>) -> Json<BTreeMap<String, String>> {
    Json(flags(&state.switchover))
}

/// Flags that were put in force.
#[derive(Serialize, ToSchema)]
struct Applied {
    /// `true`.
    ok: bool,
    /// The flags in force.
    flags: BTreeMap<String, String>,
}

/// Puts the latest flags of their source in force, and says why if they cannot be.
///
/// Safe to repeat.
#[utoipa::path(
    post,
    path = "/v1/admin/flags/apply",
    operation_id = "apply_flags",
    tag = "host",
    responses((status = 200, description = "They are in force", body = Applied), OfFlags)
)]
async fn apply_flags(FromState(state): FromState<Operated>) -> Result<Json<Applied>, Problem> {
    state.switchover.apply_flags().await?;
    Ok(Json(Applied { ok: true, flags: flags(&state.switchover) }))
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
            return Err(Problem::invalid(detail));
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
