//! The OpenAPI document of every route.

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, SecurityRequirement};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;

use crate::problem::Shape;
use crate::{State, api, health};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Switchover",
        description = "Sessions that move between databases. An error is never `no session`: every answer but 200 and \
                       404 `no-session` says that the session was not looked at, or that an outcome is unknown."
    ),
    components(schemas(Shape)),
    modifiers(&Token),
    tags(
        (name = "sessions", description = "The session store"),
        (name = "router", description = "Django's questions to a database router"),
        (name = "health", description = "For supervisors and load balancers")
    )
)]
struct Document;

/// The token of a caller.
pub(crate) struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("Over TCP, unless callers have certificates. A unix socket needs none."));
        let components = document.components.get_or_insert_with(Components::new);
        components.add_security_scheme("token", SecurityScheme::Http(scheme.build()));
        document.security = Some(vec![SecurityRequirement::new("token", [] as [&str; 0])]);
    }
}

/// The OpenAPI document of the API, as JSON.
pub fn document() -> String {
    let routes: OpenApiRouter<State> = OpenApiRouter::with_openapi(Document::openapi());
    text(&routes.merge(api()).merge(health::routes()).into_openapi())
}

/// A document as it is committed and served.
pub(crate) fn text(document: &utoipa::openapi::OpenApi) -> String {
    // It is made of texts alone.
    let mut text = document.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}
