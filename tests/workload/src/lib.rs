//! Internal to this project: traffic on a session store, the history of that traffic, and a checker of the history.
//!
//! ```text
//! traffic ─> switchover ─> databases ─> table (plain SQL) ─┐
//!    └─────> history ──────────────────────────────────────┴─> checker ─> findings
//! ```
//!
//! The demo of the program and the tests with several hosts use this crate. It may change with any commit.

pub mod checker;
pub mod contents;
mod django;
pub mod history;
pub mod host;
pub mod hosts;
pub mod left;
pub mod meter;
pub mod patience;
pub mod population;
#[cfg(feature = "processes")]
pub mod remote;
pub mod table;
pub mod traffic;
