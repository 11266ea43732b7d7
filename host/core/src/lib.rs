//! Internal: what the crates of the host agree on. Applications use it through the crate `switchover`, which re-exports it.
//!
//! ```text
//! backends ──offer──> capabilities (Database, Cache, Flags, Clock) <──use── runtime, store
//!                     in the words of a session: SessionKey, Payload, Timestamp, DatabaseName
//! ```
//!
//! No driver and no wasmtime is known here.

pub mod capabilities;
mod session;
pub mod sync;

pub use session::{
    DatabaseName, InvalidDatabaseName, InvalidKey, InvalidPayload, KEY_LENGTH_MAX, KEY_LENGTH_MIN, Payload, Session,
    SessionKey, Timestamp, short_hash,
};

use std::time::Duration;

use capabilities::{Clock, SystemClock};

/// The table's name in every Django project that did not rename it.
pub const DJANGO_TABLE: &str = "django_session";

/// The instant that is `after` from now, by the machine's clock: when a session shall end.
pub fn expires_in(after: Duration) -> Timestamp {
    SystemClock.now().plus(after)
}
