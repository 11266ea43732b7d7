//! Django's questions to a database router, over HTTP. `null` is no opinion.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State as FromState;
use serde::Deserialize;
use switchover::{Hints, Model, Object};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::State;
use crate::asked::Told;
use crate::problem::{Problem, Shape};

/// The routes of the router.
pub(crate) fn routes() -> OpenApiRouter<State> {
    OpenApiRouter::new()
        .routes(routes!(db_for_read))
        .routes(routes!(db_for_write))
        .routes(routes!(allow_relation))
        .routes(routes!(allow_migrate))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OfModel {
    model: ModelTold,
    #[serde(default)]
    hints: HintsTold,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RelationQuestion)]
struct OfRelation {
    a: ObjectTold,
    b: ObjectTold,
    #[serde(default)]
    hints: HintsTold,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = MigrateQuestion)]
struct OfMigrate {
    /// The alias of a database.
    database: String,
    app_label: String,
    model_name: Option<String>,
    #[serde(default)]
    hints: HintsTold,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Model)]
struct ModelTold {
    app_label: String,
    model_name: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Object)]
struct ObjectTold {
    model: ModelTold,
    /// The alias of the database that it came from; `null`: it is new.
    database: Option<String>,
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = Hints)]
struct HintsTold {
    /// The alias of the database that the instance at hand came from.
    instance_database: Option<String>,
    /// A key to route by, of the caller's choice.
    key: Option<String>,
    /// Anything else.
    context: BTreeMap<String, String>,
}

impl From<ModelTold> for Model {
    fn from(ModelTold { app_label, model_name }: ModelTold) -> Self {
        Self { app_label, model_name }
    }
}

impl From<ObjectTold> for Object {
    fn from(ObjectTold { model, database }: ObjectTold) -> Self {
        Self { model: model.into(), database }
    }
}

impl From<HintsTold> for Hints {
    fn from(HintsTold { instance_database, key, context }: HintsTold) -> Self {
        Self { instance_database, key, context: context.into_iter().collect() }
    }
}

/// The database to read a model from.
#[utoipa::path(
    post,
    path = "/v1/router/db-for-read",
    operation_id = "db-for-read",
    tag = "router",
    request_body = inline(OfModel),
    responses(
        (status = 200, description = "The alias of a database, or `null`: no opinion", body = Option<String>),
        (status = "default", description = "There is no answer. This is never `no opinion`", body = Shape,
         content_type = "application/problem+json")
    )
)]
async fn db_for_read(
    FromState(state): FromState<State>,
    Told(asked): Told<OfModel>,
) -> Result<Json<Option<String>>, Problem> {
    Ok(Json(state.router.opinion_of_read(asked.model.into(), asked.hints.into()).await?))
}

/// The database to write a model to.
#[utoipa::path(
    post,
    path = "/v1/router/db-for-write",
    operation_id = "db-for-write",
    tag = "router",
    request_body = inline(OfModel),
    responses(
        (status = 200, description = "The alias of a database, or `null`: no opinion", body = Option<String>),
        (status = "default", description = "There is no answer. This is never `no opinion`", body = Shape,
         content_type = "application/problem+json")
    )
)]
async fn db_for_write(
    FromState(state): FromState<State>,
    Told(asked): Told<OfModel>,
) -> Result<Json<Option<String>>, Problem> {
    Ok(Json(state.router.opinion_of_write(asked.model.into(), asked.hints.into()).await?))
}

/// Whether two instances may be related.
#[utoipa::path(
    post,
    path = "/v1/router/allow-relation",
    operation_id = "allow-relation",
    tag = "router",
    request_body = inline(OfRelation),
    responses(
        (status = 200, description = "Whether they may, or `null`: no opinion", body = Option<bool>),
        (status = "default", description = "There is no answer. This is never `no opinion`", body = Shape,
         content_type = "application/problem+json")
    )
)]
async fn allow_relation(
    FromState(state): FromState<State>,
    Told(asked): Told<OfRelation>,
) -> Result<Json<Option<bool>>, Problem> {
    let OfRelation { a, b, hints } = asked;
    Ok(Json(state.router.opinion_of_relation(a.into(), b.into(), hints.into()).await?))
}

/// Whether the tables of an application, or of one model of it, belong into a database.
#[utoipa::path(
    post,
    path = "/v1/router/allow-migrate",
    operation_id = "allow-migrate",
    tag = "router",
    request_body = inline(OfMigrate),
    responses(
        (status = 200, description = "Whether they do, or `null`: no opinion", body = Option<bool>),
        (status = "default", description = "There is no answer. This is never `no opinion`", body = Shape,
         content_type = "application/problem+json")
    )
)]
async fn allow_migrate(
    FromState(state): FromState<State>,
    Told(asked): Told<OfMigrate>,
) -> Result<Json<Option<bool>>, Problem> {
    let OfMigrate { database, app_label, model_name, hints } = asked;
    Ok(Json(state.router.opinion_of_migrate(database, app_label, model_name, hints.into()).await?))
}
