//! Switchover: a session store that a service embeds. *Where* sessions live and *how* they move from one database to another is
//! a policy, a WebAssembly component that is swapped while the service runs.
//!
//! ```text
//! service ─> Sessions, Router ─> policy runtime ─> guest ─> imports ─> store ─> capabilities <─ backends
//!            (API)               (swap, limits)    (wasm)   (grants)   (guarantees)             (sqlite, redis, memory)
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
//! let key = sessions.create(Payload::parse("opaque text")?, expires_in(Duration::from_secs(60))).await?;
//! assert!(sessions.load(&key).await?.is_some());
//!
//! switchover.swap_policy(Policy::builtin(Builtin::CachedDb)).await?;
//! assert!(sessions.load(&key).await?.is_some());
//! switchover.close().await;
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "memory"))] fn main() {}
//! ```

pub mod backends;
pub mod capabilities;
#[cfg(feature = "config")]
mod config;
mod counters;
mod error;
mod fakes;
mod gate;
mod host;
mod imports;
pub mod isolation;
mod limits;
mod policy;
mod router;
mod session;
mod sessions;
mod store;
mod version;

use std::time::Duration;

#[cfg(feature = "config")]
pub use config::{Config, ConfigError};
pub use counters::{CallCounts, CallKind, HostCounts, Latencies};
pub use error::{BuildError, Error, PolicyFault, SwapError};
pub use host::{Builder, DatabaseCheck, Switchover};
pub use limits::Limits;
pub use policy::{Builtin, Policy};
pub use router::Router;
pub use session::{
    DatabaseName, InvalidDatabaseName, InvalidKey, InvalidPayload, KEY_LENGTH_MAX, KEY_LENGTH_MIN, Payload, Session,
    SessionKey, Timestamp,
};
pub use sessions::{CycleOutcome, Sessions};
pub use switchover_contract::{Description, ErrorCode, Hints, Model, Object, SaveOutcome};
pub use version::{PolicyStatus, PolicyVersion};

use capabilities::{Clock, SystemClock};

/// The instant that is `after` from now, by the machine's clock: when a session shall end.
pub fn expires_in(after: Duration) -> Timestamp {
    SystemClock.now().plus(after)
}
