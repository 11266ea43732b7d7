//! Internal: the types and traits that the crates of the host share. Applications use them through the crate
//! `switchover`, which re-exports them.
//!
//! ```text
//! backends ──offer──> capabilities (Database, Cache, Flags, Clock) <──use── runtime, store
//!                     in the words of a session: SessionKey, Payload, Timestamp, Layout, Table, DatabaseName
//! ```
//!
//! This crate depends on no database driver and not on wasmtime.

pub mod capabilities;
mod key;
mod layout;
pub mod moves;
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

/// Returns the time `after` from now by the machine's clock: the instant at which a session is to end.
pub fn expires_in(after: Duration) -> Timestamp {
    SystemClock.now().plus(after)
}
