//! Switchover over HTTP: the session store and the router of a host, for programs that cannot embed it.
//!
//! ```text
//! Django, curl ──> unix socket, TCP, TLS ──> who may call ──> sessions, router, health, metrics ──> crate switchover
//! operators ─────> (listen, bound)           (access)         admin: status, policy, migration
//! ```
//!
//! A service that has an axum app of its own mounts the routes there:
//!
//! ```
//! # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use switchover::backends::{MemoryCache, MemoryDatabase};
//! use switchover::{Builtin, Policy, Switchover};
//! use switchover_server::Doors;
//!
//! let switchover = Switchover::builder()
//!     .database("default", MemoryDatabase::new())
//!     .cache(MemoryCache::default())
//!     .policy(Policy::builtin(Builtin::CachedDb))
//!     .build()
//!     .await?;
//! let app: axum::Router = axum::Router::new().nest("/sessions", Doors::new(&switchover).routes());
//! # drop(app);
//! # Ok(())
//! # }
//! ```

mod access;
mod admin;
mod asked;
mod bound;
mod document;
mod error;
mod health;
mod listen;
mod metrics;
mod problem;
mod questions;
pub mod report;
mod sessions;
mod tls;
mod trace;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware;
use axum::routing::get;
use switchover::{Router, Sessions, Switchover};
use tracing::Span;
use utoipa_axum::router::OpenApiRouter;

pub use crate::access::{InvalidTokens, NewToken, Tokens};
pub use crate::admin::{Admin, Audit, admin_document};
pub use crate::document::document;
pub use crate::error::ServeError;
pub use crate::listen::{CONNECTIONS_MAX, Server, UnixDoor};
pub use crate::metrics::{METRICS, describe_metrics};
use crate::metrics::{Page, observed};
use crate::problem::Problem;
pub use crate::tls::Tls;
use crate::trace::Parent;

/// The routes of a host. Cheap to clone.
#[derive(Clone)]
pub struct Doors {
    state: State,
}

/// What every handler needs.
#[derive(Clone)]
struct State {
    sessions: Sessions,
    router: Router,
    switchover: Switchover,
    ending: Arc<AtomicBool>,
    metrics: Option<Page>,
    parent: Parent,
}

impl State {
    fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }
}

impl Doors {
    /// The doors of this host.
    pub fn new(switchover: &Switchover) -> Self {
        let state = State {
            sessions: switchover.sessions(),
            router: switchover.router(),
            switchover: switchover.clone(),
            ending: Arc::default(),
            metrics: None,
            parent: Parent::default(),
        };
        Self { state }
    }

    /// Shows at `/metrics` what `page` makes, as Prometheus reads it: the service that installed the recorder of the
    /// crate `metrics` knows how. Without this `/metrics` answers 404.
    #[must_use]
    pub fn with_metrics(mut self, page: impl Fn() -> String + Send + Sync + 'static) -> Self {
        self.state.metrics = Some(Page(Arc::new(page)));
        self
    }

    /// Continues the traces of callers: `find` is given the headers of each request that is traced, and its span, which
    /// has not been entered yet. With `tracing-opentelemetry` it is `span.set_parent(propagator.extract(..))`.
    #[must_use]
    pub fn with_trace_parents(mut self, find: impl Fn(&HeaderMap, &Span) + Send + Sync + 'static) -> Self {
        self.state.parent = Parent::new(find);
        self
    }

    /// Every route, for anyone who can reach it: mount them behind something that knows who calls.
    pub fn routes(&self) -> axum::Router {
        self.built(api())
    }

    /// Every route. Those of sessions, of the router, and `/metrics` are for callers with one of these tokens; health checks need
    /// none.
    pub fn routes_with_tokens(&self, tokens: &Tokens) -> axum::Router {
        self.built(api().route_layer(middleware::from_fn_with_state(tokens.clone(), access::ensure_known)))
    }

    /// Health and metrics alone, for whoever watches. They have no secret.
    pub fn routes_for_watchers(&self) -> axum::Router {
        self.served(health::routes().merge(metrics::routes()))
    }

    /// From now on `/readyz` says that this server ends, so that load balancers send it nothing more. Everything else
    /// goes on.
    pub fn end(&self) {
        self.state.ending.store(true, Ordering::Relaxed);
    }

    fn built(&self, api: OpenApiRouter<State>) -> axum::Router {
        let document = get(async || ([(CONTENT_TYPE, "application/json")], document()));
        self.served(api.merge(health::routes()).route("/v1/openapi.json", document))
    }

    fn served(&self, routes: OpenApiRouter<State>) -> axum::Router {
        let (routes, _) = routes.split_for_parts();
        let routes = routes.fallback(unknown).method_not_allowed_fallback(not_allowed).with_state(self.state.clone());
        routes.layer(middleware::from_fn_with_state(self.state.parent.clone(), observed))
    }
}

fn api() -> OpenApiRouter<State> {
    sessions::routes().merge(questions::routes()).merge(metrics::routes())
}

async fn unknown() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no-route", "nothing is at this path: the OpenAPI document lists what is")
}

async fn not_allowed() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "the path is known, and not with this method")
}
