//! A session store of [tower-sessions](https://docs.rs/tower-sessions) on Switchover: for core 0.15, and with the
//! feature `core-0-14` for core 0.14.
//!
//! What it gives beside the stores that write SQL or Redis themselves:
//!
//! * **A logout stays one.** `save` never creates a session. A request that ends after a logout does not bring the
//!   session back; it gets an error.
//! * **A cache that cannot be wrong.** A load after an acknowledged logout finds nothing, also when the cache fails, and
//!   a failing cache fails no request.
//! * **A miss is one round trip**, shared by the requests that ask at the same time, and no key is asked for before it
//!   is created.
//! * **The sessions can move** to another database while the service runs.
//!
//! ```
//! # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use switchover::backends::{MemoryCache, MemoryDatabase};
//! use switchover::{Builtin, Layout, Policy, Switchover};
//! use switchover_tower_sessions::SwitchoverStore;
//! use tower_sessions::SessionManagerLayer;
//!
//! let switchover = Switchover::builder()
//!     .database("default", MemoryDatabase::with_layout(Layout::SWITCHOVER))
//!     .cache(MemoryCache::default())
//!     .policy(Policy::builtin(Builtin::CachedDb))
//!     .build()
//!     .await?;
//! let layer = SessionManagerLayer::new(SwitchoverStore::new(switchover.sessions()));
//! # drop(layer);
//! # Ok(())
//! # }
//! ```
//!
//! The payload is the session's data as JSON. The databases must have the layout `switchover`: a key has letters of both
//! cases, which the layout `django` refuses.

#[cfg(any(feature = "core-0-14", feature = "core-0-15"))]
mod store;

use std::fmt;

use switchover::Sessions;

/// How many ended sessions are deleted at once.
const CLEARED_AT_ONCE: u32 = 10_000;

/// A session store on Switchover. Cheap to clone.
///
/// A `create` whose future is dropped may leave a session whose key nobody has, until it ends. A `save` or `delete`
/// that was begun runs to its end.
#[derive(Clone)]
pub struct SwitchoverStore {
    sessions: Sessions,
}

impl SwitchoverStore {
    /// A store on these sessions.
    pub fn new(sessions: Sessions) -> Self {
        Self { sessions }
    }

    async fn clear(&self) -> Result<(), switchover::Error> {
        while self.sessions.clear_expired(CLEARED_AT_ONCE).await? > 0 {}
        Ok(())
    }
}

impl fmt::Debug for SwitchoverStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SwitchoverStore").finish_non_exhaustive()
    }
}
