//! Internal: loads, tries, calls, judges and swaps policies. Applications use it through the crate `switchover`.
//!
//! ```text
//! Policy ─> Loader ──compile, link, describe, try, warm──> Version ─> Slot (eras, swap, back)
//!                                                            │ call(question)
//!                                                            ▼
//!                          look ahead ─> Runner (wasm or native) ─> judge ─> answer
//!                                          │ asks
//!                                          ▼
//!                          CallContext: grants, limits, evidence ─> Reach (the store; fakes in a trial)
//! ```
//!
//! `call` and everything above it does not know wasm. `wasm`, behind the feature of that name, is one kind of runner;
//! `native` is the other.

pub mod call;
pub mod counters;
mod error;
mod gate;
mod isolated;
pub mod limits;
mod load;
mod native;
mod run;
mod slot;
mod source;
mod status;
mod trial;
mod version;
#[cfg(feature = "wasm")]
mod wasm;

pub use error::{Error, PolicyFault, Rejection, SwapError};
pub use gate::{Gate, Ticket};
pub use isolated::Isolated;
pub use limits::{Limits, LimitsInForce};
pub use load::Loader;
pub use slot::{Change, Entry, Slot};
#[cfg(feature = "wasm")]
pub use source::Builtin;
pub use source::Policy;
pub use status::{PolicyStatus, PolicyVersion};
pub use version::Version;
