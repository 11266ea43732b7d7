//! The beginning of a migration: for the one that the host takes part in, or will after its next start.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use axum::Json;
use serde::Deserialize;
use switchover::migration::{Beginning, Controller, MigrationError, POLICY_DEFAULT, Profile};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Operated;
use super::audit::Operator;
use super::fleet::{Asks, no_migration};
use super::order::Order;
use super::refusal::{NOT_CONFIGURED, OfInit, OfPreflight};
use crate::problem::Problem;
use crate::report::{self, Begun};

pub(super) fn routes() -> OpenApiRouter<Operated> {
    OpenApiRouter::new().routes(routes!(preflight)).routes(routes!(init))
}

/// What finds the operator's end of the configured migration; `None`: none is configured.
pub(super) type Find = Arc<dyn Fn(String) -> Found + Send + Sync>;
pub(super) type Found = Pin<Box<dyn Future<Output = Result<Option<Controller>, String>> + Send>>;

/// Asks the host's own controller, or else the configured one, which is closed then.
async fn asked<F>(state: &Operated, by: &Operator, ask: impl FnOnce(Controller) -> F) -> Result<Json<Begun>, Problem>
where
    F: Future<Output = Result<Begun, MigrationError>>,
{
    if let Some(controller) = state.switchover.controller(by.0.clone()) {
        return Ok(Json(ask(controller).await?));
    }
    let find = state.configured.as_ref().ok_or_else(no_migration)?;
    let found = find(by.0.clone()).await.map_err(|why| NOT_CONFIGURED.problem(why))?;
    let controller = found.ok_or_else(no_migration)?;
    let begun = ask(controller.clone()).await;
    controller.close().await;
    Ok(Json(begun?))
}

/// What `init` would make, and whether the databases can carry the migration.
#[utoipa::path(
    get,
    path = "/v1/admin/migration/preflight",
    operation_id = "preflight",
    tag = "fleet",
    responses((status = 200, description = "What is missing", body = Begun), OfPreflight)
)]
async fn preflight((state, by): Asks) -> Result<Json<Begun>, Problem> {
    let planned = async |controller: Controller| {
        let planned = controller.planned().await?;
        Ok(report::planned(controller.migration(), planned))
    };
    asked(&state, &by, planned).await
}

/// The order of a beginning.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = InitOrder)]
struct Init {
    /// `backfill`: idle sessions are copied. `lazy`: they are carried over when they are used, or end.
    profile: String,
    /// The policy that answers, by its name.
    policy: String,
    /// Further flags of the policy.
    flags: BTreeMap<String, String>,
    /// Checks it, returns the statements, and executes none.
    dry_run: bool,
}

impl Default for Init {
    fn default() -> Self {
        let profile = Profile::Backfill.as_str().to_owned();
        Self { profile, policy: POLICY_DEFAULT.to_owned(), flags: BTreeMap::new(), dry_run: false }
    }
}

/// Begins the migration: makes side tables, fences and the control document, in `off`.
///
/// It is the migration that the host takes part in; otherwise the one that the configuration names, which is read anew
/// for it, so that the host can take part in it from its next start on.
///
/// Safe to repeat: it makes what is missing, and changes nothing that is there. The answer has the phase that is in
/// force then.
#[utoipa::path(
    post,
    path = "/v1/admin/migration/init",
    operation_id = "init",
    tag = "steps",
    request_body = Option<Init>,
    responses((status = 200, description = "What was made; with `dry_run` what is missing", body = Begun), OfInit)
)]
async fn init((state, by): Asks, Order(order): Order<Init>) -> Result<Json<Begun>, Problem> {
    let Init { profile, policy, flags, dry_run } = order;
    let profile = report::profile(&profile).map_err(Problem::invalid)?;
    let beginning = Beginning { profile, policy, flags: flags.into_iter().collect() };
    let begun = async |controller: Controller| {
        if dry_run {
            let planned = controller.look_at_init(&beginning).await?;
            return Ok(report::planned(controller.migration(), planned));
        }
        let statements = controller.init(beginning).await?;
        Ok(report::begun(controller.document().await?, statements))
    };
    asked(&state, &by, begun).await
}
