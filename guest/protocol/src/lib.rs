//! The migration as data and pure functions: what a host does for a call, phase by phase. No I/O.
//!
//! `docs/protocol.md` is the specification. The policy `phased` and the model in `tests/model` both call this crate, so that
//! what was searched is what runs.
//!
//! ```text
//! phase, profile, operation ─> plan ─> a call: which databases it reads and writes, with which promise
//! ```
//!
//! ```
//! use switchover_protocol::{Operation, Phase, Profile, Side, plan};
//!
//! let plan = plan(Phase::Cutover, Profile::Backfill, Operation::Update).expect("every profile has cutover");
//! assert_eq!((plan.home, plan.lock, plan.mirrors[0].side), (Side::New, Side::Old, Side::Old));
//! ```

#![no_std]

mod phase;
mod plan;

pub use phase::{Phase, Profile, Side};
pub use plan::{Cache, Mirror, Operation, Plan, plan, route};
