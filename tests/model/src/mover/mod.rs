//! A second model: `switchover move`, whose writers know nothing of the project.
//!
//! ```text
//!   rules (stages, edges, guards) ──┐
//!   copies (steps, fence, tokens) ──┼──> model ──> check ──> trace, diagram
//!   kept (rules, size) ─────────────┘      │
//!                                          ├ client    transactions of applications
//!                                          ├ copier    lease, fence, copies
//!                                          ├ cut       trigger, edges, the cut in each form, the way back
//!                                          ├ fleet     the migration that takes over in the form `fleet`
//!                                          └ promises  what a user may rely on
//! ```
//!
//! `docs/protocol-move.md` specifies the move, and lists what this model leaves out.

pub mod action;
mod broken;
mod case;
pub mod cases;
mod client;
mod copier;
pub mod copies;
mod cut;
mod cut_cases;
pub mod diagram;
mod fleet;
pub mod kept;
mod model;
mod promises;
pub mod rules;
pub mod state;
mod symmetry;
mod trace;
