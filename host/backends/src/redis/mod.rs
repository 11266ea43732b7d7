//! Redis and Valkey: a cache that all hosts share, and flags in a hash.
//!
//! ```text
//!          ┌ look-ups of one moment ─ looks ┐
//! Redis ───┼ one script for anything else ──┴ ask ─ one multiplexed connection ─ server
//!          │  (cache)                                ▲ made anew after every fault
//!          └ changes not reported ─── debts ─────────┴ recovery, a task in the background
//! ```
//!
//! # The breaker
//!
//! The connection is given up after the first operation without an answer in time, and after every error except a lack
//! of memory. From then on every operation fails at once, until the background task has made a new connection to a
//! server that takes writes. A key whose guard, release or invalidation failed is owed from before its writer is
//! answered. A look-up of an owed key on this host is a miss with a dead lease, until Redis has executed what was owed.
//!
//! # What a server executes late
//!
//! A paused server later executes the operations that its client gave up. Their order relative to operations on a later
//! connection is not defined. None of them does harm:
//!
//! - A late `look` leaves a lease that nobody holds, or changes nothing. One for many keys changes nothing.
//! - A late `get` returns a lease that nobody holds, and takes the lease from its holder, which costs a fill.
//! - A late `fill` needs its lease. A guard, release or payment that was executed since has removed the lease. If one
//!   comes later, it removes the entry. Until then this host does not read the key, because it is owed. The entry's
//!   life counts from the lease.
//! - A late `guard` keeps the key from being filled for its time to live.
//! - A late `release` or `invalidate` removes an entry, or a lease, which costs a read from the database.
//!
//! # What comes back
//!
//! A server that restarts from a snapshot, or a replica that takes over, has entries and leases that had been removed.
//! Each of them carries the incarnation of the server on which it was written, so nobody reads or uses them. Old guards
//! still apply.

mod ask;
mod builder;
mod cache;
mod debts;
mod flags;
mod link;
mod look_queue;
mod looks;
mod recovery;
mod scripts;
mod shared;

pub use self::builder::RedisBuilder;
pub use self::cache::Redis;
pub use self::flags::{RedisFlags, RedisFlagsBuilder};
