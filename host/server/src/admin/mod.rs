//! What operators do: status, policies, flags, and every command of `switchover migrate`. It has doors of its own, since
//! who may read sessions need not be who may move them.

mod audit;
mod migration;
mod order;
mod policy;
mod refused;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State as FromState};
use axum::http::HeaderMap;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota};
use serde_json::{Value, json};
use switchover::{PolicyVersion, Switchover};
use tracing::Span;

pub use self::audit::Audit;
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
}

impl Admin {
    /// For the operators of this host. Each command is written to `audit`.
    pub fn new(switchover: &Switchover, audit: Audit) -> Self {
        let limiter = DefaultDirectRateLimiter::direct(Quota::per_second(RATE).allow_burst(BURST));
        let (limiter, parent) = (Arc::new(limiter), Parent::default());
        Self { state: Operated { switchover: switchover.clone(), audit, limiter, parent } }
    }

    /// Continues the traces of operators, as [`Doors::with_trace_parents`](crate::Doors::with_trace_parents).
    #[must_use]
    pub fn with_trace_parents(mut self, find: impl Fn(&HeaderMap, &Span) + Send + Sync + 'static) -> Self {
        self.state.parent = Parent::new(find);
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
    Router::new()
        .route("/v1/admin/status", get(status))
        .merge(policy::routes())
        .merge(migration::routes())
        .route_layer(middleware::from_fn_with_state(state.clone(), audit::written))
        .route_layer(middleware::from_fn_with_state(state.clone(), bounded))
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

/// The host, with its databases asked.
async fn status(FromState(state): FromState<Operated>) -> Json<Value> {
    let switchover = &state.switchover;
    let readiness = switchover.readiness();
    let databases: Vec<_> = switchover
        .check_databases()
        .await
        .iter()
        .map(|check| {
            json!({
                "database": check.database.as_str(),
                "place": check.summary,
                "answered_in_s": check.latency.as_secs_f64(),
                "problem": check.problem.as_ref().map(ToString::to_string),
            })
        })
        .collect();
    let migration = readiness.epochs.map(|epochs| {
        json!({
            "epoch_in_force": epochs.in_force.0,
            "epoch_loaded": epochs.loaded.0,
            "epoch_acknowledged": epochs.acknowledged.0,
        })
    });
    Json(json!({
        "ok": readiness.is_ready(),
        "problems": readiness.problems,
        "policy": policy::running(switchover),
        "flags": policy::flags(switchover),
        "databases": databases,
        "repairs_pending": switchover.repairs_pending(),
        "migration": migration,
    }))
}

/// A version of a policy.
fn version(version: &PolicyVersion) -> Value {
    json!({
        "name": version.name,
        "version": version.version,
        "protocol": version.protocol,
        "digest": version.digest,
        "generation": version.generation,
    })
}
