//! What the host needs of the outside world, as small traits in plain Rust: databases, a cache, flags, a clock.

mod cache;
mod clock;
mod database;
mod flags;
mod statistics;

pub use cache::{Cache, CacheError, CacheLookup, Lease, Nonce};
pub use clock::{Clock, SystemClock};
pub use database::{
    Cursor, Database, DatabaseError, Epoch, ExpiredLeft, Feeds, Held, Identity, Read, ReadOutcome, Scan, Unreadable,
    Write, WriteOutcome,
};
pub use flags::{FlagError, FlagSnapshot, Flags};
pub use statistics::{Remedy, Statistics};
