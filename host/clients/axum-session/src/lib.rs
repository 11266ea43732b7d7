//! A database pool of [axum_session](https://docs.rs/axum_session) 0.22 on Switchover.
//!
//! ```text
//! request ─> finish ─> SessionLayer ─> check ─> handler
//!                           │            │
//!                           └────────────┴─> SwitchoverPool ─> Sessions
//! ```
//!
//! What it gives beside the pools that write SQL or Redis themselves:
//!
//! * **A logout stays one.** An id is created once and never again. A request that ends after a logout does not bring
//!   the session back; it gets an error. So does one that renews the session: it gets no new id.
//! * **An outage is an error.** axum_session takes a load that failed for an empty session, and would write that over
//!   the living one. Here the request is answered with an error, and nothing is written.
//! * **A cache that cannot be wrong.** A load after an acknowledged logout finds nothing, also when the cache fails, and
//!   a failing cache fails no request.
//! * **A miss is one round trip**, shared by the requests that ask at the same time.
//! * **The sessions can move** to another database while the service runs.
//!
//! ```
//! # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::Router;
//! use axum::routing::{get, post};
//! use axum_session::{Session, SessionConfig, SessionStore};
//! use switchover::backends::{MemoryCache, MemoryDatabase};
//! use switchover::{Builtin, Layout, Policy, Switchover};
//! use switchover_axum_session::{SwitchoverPool, log_out, with_sessions};
//!
//! async fn visit(session: Session<SwitchoverPool>) {
//!     session.set("visited", true);
//! }
//!
//! async fn leave(session: Session<SwitchoverPool>) -> Result<(), String> {
//!     log_out(&session).await.map_err(|error| error.to_string())
//! }
//!
//! let switchover = Switchover::builder()
//!     .database("default", MemoryDatabase::with_layout(Layout::SWITCHOVER))
//!     .cache(MemoryCache::default())
//!     .policy(Policy::builtin(Builtin::CachedDb))
//!     .build()
//!     .await?;
//! let pool = SwitchoverPool::new(switchover.sessions());
//! let store = SessionStore::new(Some(pool), SessionConfig::default()).await?;
//! let app = with_sessions(Router::new().route("/", get(visit)).route("/leave", post(leave)), store);
//! # let _: Router = app;
//! # Ok(())
//! # }
//! ```
//!
//! The payload is the session as axum_session writes it: JSON, or what it has encrypted. The databases must have the
//! layout `switchover`: an id is a UUID with hyphens, which the layout `django` refuses. The name of the table in
//! [`SessionConfig`](axum_session::SessionConfig) is not used: where sessions are stands in Switchover's configuration.
//!
//! # What a service must do
//!
//! * **Use [`with_sessions`]**, not axum_session's `SessionLayer` alone. The layer knows neither outages nor logouts: it
//!   goes on with what it has in memory.
//! * **Use [`log_out`]**, not `Session::destroy` alone. axum_session deletes a session after the last of its requests in
//!   the process has ended. Until then it is alive on other hosts, although its user saw the logout.
//! * **Leave the Bloom filter off** (`with_bloom_filter(false)`) if axum_session has its feature `key-store`.
//!
//! # What it does not do
//!
//! * It cannot count sessions, delete all of them or list them. `SessionStore::count` and `clear_store` fail, and say
//!   what to do. `Session::count` takes the error for 0.
//! * axum_session asks for a new id before it is created, which is one more round trip; and it writes a session in every
//!   request that loads it.
//! * Two requests of one session on two hosts write over each other. axum_session saves the session as a whole.
//! * axum_session writes ids into its own log at the levels `debug` and `trace`. Leave these off for `axum_session`.

mod layers;
mod marks;
mod pool;

pub use layers::{log_out, with_sessions};
pub use pool::SwitchoverPool;
