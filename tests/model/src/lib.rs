//! An explicit-state model of the migration protocol that calls the protocol's own table, edges, guards and numbers.
//!
//! ```text
//!   switchover_protocol: plan ──────────────────────> table ──┐
//!   switchover_protocol: edges, guards, too_late ───> rules ──┼──> model ──> check ──> trace
//!                                                     size ───┘     │
//!                                                                   ├ host      calls of clients, step by step
//!                                                                   ├ cached    calls at a cache that is out of reach
//!                                                                   ├ reach     who reaches the cache, and what was confirmed
//!                                                                   ├ worker    copies, verification
//!                                                                   ├ control   epochs, barrier, fence, edges, crashes
//!                                                                   └ promises  what a user may rely on
//! ```
//!
//! `migration` is what is searched: a table, rules and a size. `model` puts the steps of `host`, `worker` and `control`
//! together. `rules` says which of the protocol's rules are kept. A variant only leaves out guards, effects or numbers;
//! it never decides one itself. Each case of `cases` leaves out one rule, or takes the table of a published scheme, and
//! must fail. `weaken` changes one arm of the table. `docs/protocol.md` specifies the protocol, and lists what this
//! model leaves out.
//!
//! `mover` is a model of its own, of `switchover move`. `searched` is what the search needs of either of them.

mod broken;
mod cached;
pub mod case;
pub mod cases;
pub mod check;
mod control;
pub mod diagram;
mod host;
mod late;
pub mod migration;
mod model;
pub mod mover;
pub mod outage;
pub mod outage_cases;
mod outages;
pub mod promises;
pub mod reach;
pub mod rules;
mod schemes;
pub mod searched;
pub mod state;
pub mod symmetry;
pub mod table;
pub mod trace;
pub mod view;
pub mod weaken;
mod worker;
mod write;
