//! The OpenAPI document of the admin API.

use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use super::{Operated, operations};
use crate::document::{Token, text};
use crate::problem::Shape;

/// Where the document is served.
pub(super) const PATH: &str = "/v1/admin/openapi.json";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Switchover for operators",
        description = "What operators do: status, policies, flags, and every command of `switchover migrate`.\n\n\
                       **A dry run.** A command with the member `dry_run` checks what it would do and changes nothing. It \
                       is written into the audit log all the same.\n\n\
                       **Repeating.** Each operation says what happens when it is repeated, for a caller that got no \
                       answer. A command of a migration that loses a race is refused with `changed`, and nothing was \
                       changed.\n\n\
                       **The audit log.** Each command is written with its operator before it is made, and once more \
                       with its status. The header `From` names the operator beside the name of the token.\n\n\
                       **Errors** are RFC 9457. The header `Switchover-Error` has the code too, and `x-codes` lists here \
                       which codes a status can have."
    ),
    components(schemas(Shape)),
    modifiers(&Token),
    tags(
        (name = "host", description = "This host: its policy and its flags"),
        (name = "fleet", description = "Where the migration stands"),
        (name = "steps", description = "The migration goes on, or back"),
        (name = "jobs", description = "What the hosts do beside calls")
    )
)]
struct Document;

/// The OpenAPI document of the admin API, as JSON.
pub fn admin_document() -> String {
    let operations: OpenApiRouter<Operated> = OpenApiRouter::with_openapi(Document::openapi()).merge(operations());
    text(&operations.into_openapi())
}
