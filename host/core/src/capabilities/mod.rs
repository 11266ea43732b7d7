//! What the host needs from outside, as small traits in plain Rust: databases, a cache, flags, a clock.

mod cache;
mod clock;
mod control;
mod database;
mod endpoint;
mod flags;
mod operations;
mod side_tables;
mod statistics;
mod terms;
mod transaction;
mod upkeep;

pub use cache::{Cache, CacheError, CacheLookup, Lease, Nonce};
pub use clock::{Clock, SystemClock};
pub use control::{Beat, Control, Decision, Document, GivingUp, HostRow, JobRow, LoggedDecision, Member, Progress};
pub use database::{Database, IntoDatabase};
pub use endpoint::Endpoint;
pub use flags::{FlagError, FlagSnapshot, Flags};
pub use operations::{DatabaseError, Read, ReadOutcome, Unreadable, Write, WriteOutcome};
pub use side_tables::{
    KeyLock, KeyTransaction, LockPurpose, LockedKey, Mark, MarkedRow, Number, Numbered, Side, SideTables, Token,
};
pub use statistics::{Remedy, Statistics};
pub use terms::{Epoch, Fence, Terms};
pub use transaction::Transaction;
pub use upkeep::{Cursor, ExpiredLeft, Feeds, Identity, Scan, Strain, Swept, Upkeep};
