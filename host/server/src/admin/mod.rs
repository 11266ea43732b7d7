//! What operators do: status, policies, flags, and every command of `switchover migrate`. It has doors of its own, since
//! who may read sessions need not be who may move them.

mod audit;
mod begin;
mod document;
mod fleet;
mod host;
mod jobs;
mod order;
mod policy;
mod refusal;
mod refused;
mod steps;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State as FromState};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota};
use switchover::Switchover;
use switchover::migration::Controller;
use tracing::Span;
use utoipa_axum::router::OpenApiRouter;

pub use self::audit::Audit;
use self::begin::{Find, Found};
pub use self::document::admin_document;
use crate::access::{self, Tokens};
use crate::metrics::observed;
use crate::problem::Problem;
use crate::trace::Parent;
use crate::{not_allowed, unknown};

/// Commands a second, in the long run.
const RATE: NonZeroU32 = NonZeroU32::new(10).unwrap();
/// Commands at once.
const BURST: NonZeroU32 = NonZeroU32::new(50).unwrap();

/// The routes for the operators of a host. Cheap to clone.
#[derive(Clone)]
pub struct Admin {
    state: Operated,
}

/// What every handler needs.
#[derive(Clone)]
struct Operated {
    switchover: Switchover,
    audit: Audit,
    limiter: Arc<DefaultDirectRateLimiter>,
    parent: Parent,
    configured: Option<Find>,
}

impl Admin {
    /// For the operators of this host. Each command is written to `audit`.
    pub fn new(switchover: &Switchover, audit: Audit) -> Self {
        let limiter = DefaultDirectRateLimiter::direct(Quota::per_second(RATE).allow_burst(BURST));
        let (limiter, parent) = (Arc::new(limiter), Parent::default());
        Self { state: Operated { switchover: switchover.clone(), audit, limiter, parent, configured: None } }
    }

    /// Continues the traces of operators, as [`Doors::with_trace_parents`](crate::Doors::with_trace_parents).
    #[must_use]
    pub fn with_trace_parents(mut self, find: impl Fn(&HeaderMap, &Span) + Send + Sync + 'static) -> Self {
        self.state.parent = Parent::new(find);
        self
    }

    /// Lets operators begin a migration before this host takes part in it: `find` gives the controller of the one that
    /// the configuration names, for the operator of this name; `None`: it names none. What it gives is closed after each
    /// command. A host that takes part in a migration does not ask it.
    #[must_use]
    pub fn with_configured<F>(mut self, find: impl Fn(String) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Option<Controller>, String>> + Send + 'static,
    {
        self.state.configured = Some(Arc::new(move |by| -> Found { Box::pin(find(by)) }));
        self
    }

    /// Every route, for anyone who can reach it.
    pub fn routes(&self) -> Router {
        self.built(commands(&self.state))
    }

    /// Every route, for callers with one of these tokens. The audit log has the token's name.
    pub fn routes_with_tokens(&self, tokens: &Tokens) -> Router {
        let known = middleware::from_fn_with_state(tokens.clone(), access::ensure_known);
        self.built(commands(&self.state).route_layer(known))
    }

    fn built(&self, commands: Router<Operated>) -> Router {
        let routes = commands.fallback(unknown).method_not_allowed_fallback(not_allowed);
        routes.with_state(self.state.clone()).layer(middleware::from_fn_with_state(self.state.parent.clone(), observed))
    }
}

fn commands(state: &Operated) -> Router<Operated> {
    let document = get(async || ([(CONTENT_TYPE, "application/json")], admin_document()));
    let (operations, _) = operations().split_for_parts();
    operations
        .route(document::PATH, document)
        .route_layer(middleware::from_fn_with_state(state.clone(), audit::written))
        .route_layer(middleware::from_fn_with_state(state.clone(), bounded))
}

/// Every operation, with its description.
fn operations() -> OpenApiRouter<Operated> {
    let fleet = fleet::routes().merge(begin::routes()).merge(steps::routes()).merge(jobs::routes());
    host::routes().merge(policy::routes()).merge(fleet)
}

/// Refuses what comes too fast: a script in a loop, more often than an attacker.
async fn bounded(FromState(state): FromState<Operated>, request: Request, next: Next) -> Response {
    match state.limiter.check() {
        Ok(()) => next.run(request).await,
        Err(until) => {
            let wait = until.wait_time_from(DefaultClock::default().now());
            Problem::rate_limited(wait.max(Duration::from_millis(1))).into_response()
        }
    }
}
