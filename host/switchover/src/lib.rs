//! Switchover is a session store that a service embeds. A policy decides *where* sessions live and *how* they move from
//! one database to another. A policy is a WebAssembly component that can be swapped while the service runs.
//!
//! ```text
//! service ─> Sessions, Router ─> policy runtime ─> guest ─> imports ─> store ─> capabilities <─ backends
//!            (API)               (swap, limits)    (wasm)   (grants)   (guarantees)            (sqlite, redis, memory)
//! ```
//!
//! ```
//! # #[cfg(feature = "memory")]
//! # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use switchover::backends::{FlagSwitch, MemoryCache, MemoryDatabase};
//! use switchover::{Builtin, Payload, Policy, Switchover, expires_in};
//!
//! let flags = FlagSwitch::new([("migration_flag", "false")]);
//! let switchover = Switchover::builder()
//!     .database("default", MemoryDatabase::new())
//!     .database("new_session_store", MemoryDatabase::new())
//!     .cache(MemoryCache::default())
//!     .flags(flags.clone())
//!     .policy(Policy::builtin(Builtin::Fallback))
//!     .build()
//!     .await?;
//!
//! let sessions = switchover.sessions();
//! let key = sessions.create(Payload::from("opaque text"), expires_in(Duration::from_secs(60))).await?;
//! assert!(sessions.load(&key).await?.is_some());
//!
//! switchover.swap_policy(Policy::builtin(Builtin::CachedDb)).await?;
//! assert!(sessions.load(&key).await?.is_some());
//! switchover.close().await;
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "memory"))] fn main() {}
//! ```

#[cfg(feature = "config")]
mod config;
mod error;
mod host;
#[cfg(feature = "metrics")]
pub mod metrics;
pub mod migration;
mod router;
mod sessions;
mod store;
pub mod trace;

#[cfg(feature = "config")]
pub use config::{Config, ConfigError};
pub use error::{BuildError, FixedLimit};
pub use host::{Builder, DatabaseCheck, EpochsOfHost, Readiness, Switchover};
pub use router::Router;
pub use sessions::{CycleOutcome, Sessions};
pub use switchover_backends as backends;
pub use switchover_contract::{Description, ErrorCode, Hints, Model, Object, SaveOutcome};
pub use switchover_core::{
    DatabaseName, InvalidDatabaseName, InvalidKey, InvalidTable, KEY_LENGTH_MAX, Layout, NotCarried, Others, Payload,
    Session, SessionKey, Table, Timestamp, Unfit, Value, capabilities, expires_in,
};
#[cfg(feature = "wasm")]
pub use switchover_runtime::Builtin;
pub use switchover_runtime::counters::{CallCounts, CallKind, HostCounts, Latencies};
pub use switchover_runtime::{Error, Limits, Policy, PolicyFault, PolicyStatus, PolicyVersion, Rejection, SwapError};

/// Tries a policy by itself, for tools and scripts.
pub mod isolation {
    pub use switchover_runtime::Isolated;
}
