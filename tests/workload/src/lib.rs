//! Internal to this project: traffic on a session store, the history that it leaves, and a checker of that history.
//!
//! ```text
//! traffic ─> switchover ─> databases ─> table (plain SQL) ─┐
//!    └─────> history ──────────────────────────────────────┴─> checker ─> findings
//! ```
//!
//! The demo of the program is told with it, and so are tests with several hosts. It may change with any commit.

pub mod checker;
pub mod contents;
mod django;
pub mod history;
pub mod left;
pub mod meter;
pub mod patience;
pub mod population;
pub mod table;
pub mod traffic;
