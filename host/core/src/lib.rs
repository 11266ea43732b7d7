//! Internal: what the crates of the host agree on. Applications use it through the crate `switchover`, which re-exports it.
//!
//! ```text
//! backends ──offer──> capabilities (Database, Cache, Flags, Clock) <──use── runtime, store
//!                     in the words of a session: SessionKey, Payload, Timestamp, Layout, Table, DatabaseName
//! ```
//!
//! No driver and no wasmtime is known here.

pub mod capabilities;
mod key;
mod layout;
mod others;
mod payload;
mod session;
pub mod sync;
mod table;

pub use key::{InvalidKey, KEY_LENGTH_MAX, SessionKey, short_hash};
pub use layout::{Layout, NotCarried, Unfit};
pub use others::{Column, ColumnKind, Others, Value, columns_carried};
#[cfg(feature = "serde")]
pub use payload::NotJson;
pub use payload::Payload;
pub use session::{DatabaseName, InvalidDatabaseName, Session, Timestamp};
pub use table::{InvalidTable, Table};

use std::time::Duration;

use capabilities::{Clock, SystemClock};

/// The instant that is `after` from now, by the machine's clock: when a session shall end.
pub fn expires_in(after: Duration) -> Timestamp {
    SystemClock.now().plus(after)
}
