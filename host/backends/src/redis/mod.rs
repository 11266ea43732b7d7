//! Redis and Valkey: a cache that the hosts of a fleet share, and flags in a hash.
//!
//! ```text
//!          ┌ look-ups of one moment ─ looks ┐
//! Redis ───┼ one script for anything else ──┴ ask ─ one multiplexed connection ─ server
//!          │  (cache)                                ▲ made anew after every fault
//!          └ what could not be told ─ debts ─────────┴ recovery, a task in the background
//! ```
//!
//! # The breaker
//!
//! The first operation without an answer in time, and every error but want of memory, takes the connection away. From then on
//! every operation fails at once, until the background has a new connection whose server takes writes. A key whose guard,
//! release or invalidation failed is a debt from before its writer is answered: this host takes it for a dead miss until Redis
//! has executed what was owed.
//!
//! # What a server executes late
//!
//! A paused server executes what its client gave up, and in any order with what came over a later connection. Each of these
//! does no harm:
//!
//! * a late `look` leaves a lease that nobody holds, or changes nothing; one for many keys changes nothing;
//! * a late `get` gives a lease that nobody holds, and takes one from somebody, which costs a fill;
//! * a late `fill` needs its lease. A guard, release or payment that was executed since has removed it; if one comes later, it
//!   removes the entry. Until then this host does not read the key, since it is owed. The entry's life counts from the lease;
//! * a late `guard` keeps the key from being filled for its time to live;
//! * a late `release` or `invalidate` removes an entry, or a lease, which costs a look into the database.
//!
//! # What comes back
//!
//! A server that restarts from a snapshot, or a replica that takes over, has entries and leases that were removed before. All
//! of them carry the incarnation of the server that they were written at, so nobody reads or uses them. Old guards count.

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
