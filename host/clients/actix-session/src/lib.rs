//! A session store of [actix-session](https://docs.rs/actix-session) 0.11 on Switchover.
//!
//! What it gives beside the stores of actix-session itself:
//!
//! * **A logout stays one.** `update` never creates a session. A request that ends after a logout does not bring the
//!   session back; it gets an error. So does one that renews the session: it gets no new key.
//! * **A cache that cannot be wrong.** A load after an acknowledged logout finds nothing, also when the cache fails, and
//!   a failing cache fails no request.
//! * **A miss is one round trip**, shared by the requests that ask at the same time, and no key is asked for before it
//!   is created.
//! * **The sessions can move** to another database while the service runs.
//!
//! ```
//! # #[actix_web::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use actix_session::SessionMiddleware;
//! use actix_web::App;
//! use actix_web::cookie::Key;
//! use switchover::backends::{MemoryCache, MemoryDatabase};
//! use switchover::{Builtin, Layout, Policy, Switchover};
//! use switchover_actix_session::SwitchoverStore;
//!
//! let switchover = Switchover::builder()
//!     .database("default", MemoryDatabase::with_layout(Layout::SWITCHOVER))
//!     .cache(MemoryCache::default())
//!     .policy(Policy::builtin(Builtin::CachedDb))
//!     .build()
//!     .await?;
//! let store = SwitchoverStore::new(switchover.sessions());
//! let (seals_cookies, app) = (Key::generate(), App::new());
//! let app = app.wrap(SessionMiddleware::new(store, seals_cookies));
//! # drop(app);
//! # Ok(())
//! # }
//! ```
//!
//! The payload is the state of the session as JSON, as actix-session's own stores write it. The keys are Switchover's, 32
//! characters of `a-z` and `0-9`, and the JSON is text: every layout takes both.
//!
//! Nothing deletes the rows of sessions that have ended, since actix-session never asks for it: let a task call
//! [`Sessions::clear_expired`], or a job `switchover clear-expired`.

mod store;

use std::fmt;

use switchover::Sessions;

/// A session store on Switchover. Cheap to clone: make it once, and give each worker a clone.
///
/// A `save` whose future is dropped may leave a session whose key nobody has, until it ends. An `update`, `update_ttl`
/// or `delete` that was begun runs to its end.
#[derive(Clone)]
pub struct SwitchoverStore {
    sessions: Sessions,
}

impl SwitchoverStore {
    /// A store on these sessions.
    pub fn new(sessions: Sessions) -> Self {
        Self { sessions }
    }
}

impl fmt::Debug for SwitchoverStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SwitchoverStore").finish_non_exhaustive()
    }
}
