//! Every kind of refusal of the admin API: its status, its code and what it means. What is answered and what the OpenAPI
//! document says are the same.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use utoipa::IntoResponses;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};

use crate::problem::Problem;

/// The member of a response in the OpenAPI document that lists its codes, for programs.
const CODES: &str = "x-codes";

/// A kind of refusal.
pub(super) struct Refusal {
    status: StatusCode,
    code: &'static str,
    means: &'static str,
}

impl Refusal {
    const fn new(status: StatusCode, code: &'static str, means: &'static str) -> Self {
        Self { status, code, means }
    }

    /// It will be refused again until something else changes.
    pub(super) fn problem(&self, detail: impl Into<String>) -> Problem {
        Problem::new(self.status, self.code, detail)
    }

    /// It may succeed when it is repeated soon.
    pub(super) fn again(&self, detail: impl Into<String>) -> Problem {
        Problem::again(self.status, self.code, detail)
    }
}

// Made where every API makes them.
const UNAUTHORIZED: Refusal =
    Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", "no token, or one that the server does not know");
const RATE_LIMITED: Refusal = Refusal::new(
    StatusCode::TOO_MANY_REQUESTS,
    "rate-limited",
    "too many requests; `retry_after_ms` says how long to wait",
);
const INVALID: Refusal =
    Refusal::new(StatusCode::BAD_REQUEST, "invalid", "a word or a number cannot be; `detail` names it");
const REQUEST_TIMEOUT: Refusal =
    Refusal::new(StatusCode::REQUEST_TIMEOUT, "request-timeout", "the body did not arrive in time");
const TOO_LARGE: Refusal = Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "the body is too long");
const UNSUPPORTED_MEDIA_TYPE: Refusal =
    Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "the body is of another type");

pub(super) const NO_AUDIT: Refusal =
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "no-audit", "the audit log cannot be written, so nothing was done");
/// The request is understood, and what it asks for cannot be.
pub(super) const UNFIT: Refusal =
    Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "what is asked for cannot be; `detail` says why");
pub(super) const INTERNAL: Refusal = Refusal::new(
    StatusCode::INTERNAL_SERVER_ERROR,
    "internal",
    "the control document is not one that this program understands",
);
pub(super) const UNAVAILABLE: Refusal =
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "a database did not answer");
pub(super) const NO_MIGRATION: Refusal =
    Refusal::new(StatusCode::NOT_FOUND, "no-migration", "the host takes part in none, or it has not begun");
pub(super) const NOT_CONFIGURED: Refusal = Refusal::new(
    StatusCode::CONFLICT,
    "not-configured",
    "the configuration cannot be read, or does not lead to both databases",
);
pub(super) const NO_STEP: Refusal =
    Refusal::new(StatusCode::CONFLICT, "no-step", "no step leads there from the phase in force");
pub(super) const NOT_SEALED: Refusal = Refusal::new(
    StatusCode::CONFLICT,
    "not-sealed",
    "the epoch in force is not sealed yet; the member `waits_for` names what it waits for",
);
pub(super) const RED_GUARD: Refusal = Refusal::new(
    StatusCode::CONFLICT,
    "red-guard",
    "a guard is not green; the member `guards` has all that were checked",
);
pub(super) const CHANGED: Refusal =
    Refusal::new(StatusCode::CONFLICT, "changed", "somebody else gave a command at the same time; look at the status");
pub(super) const TOO_MANY_DIFFERENCES: Refusal =
    Refusal::new(StatusCode::CONFLICT, "too-many-differences", "the migration has hardly begun; compare later");
pub(super) const POLICY_REJECTED: Refusal = Refusal::new(
    StatusCode::UNPROCESSABLE_ENTITY,
    "policy-rejected",
    "the policy failed its trial; the old one serves on",
);
pub(super) const NOT_DRAINED: Refusal = Refusal::new(
    StatusCode::SERVICE_UNAVAILABLE,
    "not-drained",
    "calls under the old policy or the old flags did not end in time; these stay",
);
pub(super) const NO_PREVIOUS: Refusal =
    Refusal::new(StatusCode::CONFLICT, "no-previous", "no policy was swapped since the host was built");
pub(super) const IN_MIGRATION: Refusal = Refusal::new(
    StatusCode::CONFLICT,
    "in-migration",
    "the control document names the policy, for the whole fleet: order `migration/policy`",
);

const EVERY: &[Refusal] = &[UNAUTHORIZED, RATE_LIMITED];
const COMMAND: &[Refusal] = &[NO_AUDIT];
const BODY: &[Refusal] = &[INVALID, REQUEST_TIMEOUT, TOO_LARGE, UNSUPPORTED_MEDIA_TYPE];
const FLEET: &[Refusal] = &[NO_MIGRATION, INTERNAL, UNAVAILABLE];

/// Types that stand in the description of an operation for its refusals.
macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident: $($kinds:expr),+;)*) => {$(
        $(#[$doc])*
        pub(super) struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                responses(&[$($kinds),+])
            }
        }
    )*};
}

refusals! {
    /// Of a look at this host.
    OfLook: EVERY;
    /// Of a look at the fleet.
    OfFleetLook: EVERY, FLEET;
    /// Of a comparison.
    OfDiff: EVERY, FLEET, &[UNFIT, TOO_MANY_DIFFERENCES];
    /// Of a look at what a beginning would make.
    OfPreflight: EVERY, FLEET, &[UNFIT, NOT_CONFIGURED];
    /// Of a trial.
    OfTrial: EVERY, COMMAND, BODY, &[POLICY_REJECTED, UNAVAILABLE];
    /// Of a swap.
    OfSwap: EVERY, COMMAND, BODY, &[POLICY_REJECTED, IN_MIGRATION, NOT_DRAINED, UNAVAILABLE];
    /// Of a way back to the policy before.
    OfRollBack: EVERY, COMMAND, &[POLICY_REJECTED, NO_PREVIOUS, IN_MIGRATION, NOT_DRAINED, UNAVAILABLE];
    /// Of other flags.
    OfFlags: EVERY, COMMAND, &[POLICY_REJECTED, NOT_DRAINED, UNAVAILABLE];
    /// Of a beginning.
    OfInit: EVERY, COMMAND, BODY, FLEET, &[UNFIT, NOT_CONFIGURED];
    /// Of a step.
    OfStep: EVERY, COMMAND, BODY, FLEET, &[UNFIT, NO_STEP, NOT_SEALED, RED_GUARD, CHANGED];
    /// Of another policy for the fleet.
    OfFleetPolicy: EVERY, COMMAND, BODY, FLEET, &[UNFIT, NOT_SEALED, CHANGED];
    /// Of any other order to the fleet.
    OfOrder: EVERY, COMMAND, BODY, FLEET, &[UNFIT, CHANGED];
}

/// A response for each status, with all of its codes.
fn responses(kinds: &[&[Refusal]]) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status: BTreeMap<&str, Vec<&Refusal>> = BTreeMap::new();
    for kind in kinds.iter().copied().flatten() {
        by_status.entry(kind.status.as_str()).or_default().push(kind);
    }
    by_status.into_iter().map(|(status, kinds)| (status.to_owned(), response(&kinds).into())).collect()
}

fn response(kinds: &[&Refusal]) -> Response {
    let lines: Vec<_> = kinds.iter().map(|kind| format!("`{}`: {}.", kind.code, kind.means)).collect();
    let codes: Vec<_> = kinds.iter().map(|kind| kind.code).collect();
    let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    ResponseBuilder::new()
        .description(lines.join("\n\n"))
        .content("application/problem+json", problem)
        .extensions(Some(ExtensionsBuilder::new().add(CODES, codes).build()))
        .build()
}
