//! The migration as data and pure functions: what a host does for a call, which step may follow which, and when a statement comes
//! too late. No I/O.
//!
//! `docs/protocol.md` is the specification. Whoever takes part in a migration calls this crate, and so does the model in
//! `tests/model`: what was searched is what runs.
//!
//! ```text
//! phase, profile, operation ─> plan ─────> what a host does for a call         the policy `phased`
//! profile, standing ─> edges, facts ─────> guards, each green or red           the controller, the program
//!                        └─> entered ────> the standing of the next epoch      the controller
//! epoch, number ─> stamp ─> too late? ───> executed, fenced or overtaken       hosts, the copier
//! ```
//!
//! ```
//! use switchover_protocol::{Epoch, Facts, Phase, Profile, Standing, edge, entered};
//!
//! // A migration in `strict`, whose epoch is in force everywhere; the old database still has 17 marks.
//! let epoch = Epoch::from(4);
//! let settled = Some(Epoch::from(3));
//! let strict = Standing { epoch, phase: Phase::Strict, sealed: epoch, settled, verified: settled };
//! let cutover = edge(Profile::Backfill, Phase::Strict, Phase::Cutover).expect("they are neighbours");
//! let facts = Facts { marks_at_old: Some(17), ..Facts::default() };
//! assert!(!cutover.is_open(&strict, &facts));
//! for finding in cutover.findings(&strict, &facts) {
//!     println!("{finding}"); // red (17 left): no key of the old database has a mark; …
//! }
//!
//! let facts = Facts { marks_at_old: Some(0), ..facts };
//! assert!(cutover.is_open(&strict, &facts));
//! assert_eq!(entered(strict, cutover).epoch, Epoch::from(5));
//! ```

#![no_std]

#[cfg(test)]
extern crate std;

mod edge;
mod entered;
mod guard;
mod number;
mod phase;
mod plan;
mod standing;

pub use edge::{Direction, Edge, Effect, edge, edges, edges_from};
pub use entered::entered;
pub use guard::{Facts, Finding, Guard, Verdict};
pub use number::{Epoch, Number, Seen, Stamp, TooLate};
pub use phase::{Phase, Profile, Side};
pub use plan::{Cache, Mirror, Operation, Plan, plan, route};
pub use standing::{Standing, Verification};
