//! The policy runtime: how a policy is loaded, tried, run within limits, and swapped while calls are in flight.

mod engine;
mod instance;
mod judge;
mod load;
mod native;
mod preflight;
mod run;
mod runner;
mod slot;
mod source;
mod version;

pub(crate) use engine::PolicyEngine;
pub(crate) use load::{Loaded, Loader};
pub(crate) use preflight::try_out;
pub(crate) use run::run;
pub(crate) use runner::{Answer, Call, RouterCall};
pub(crate) use slot::{Change, Entry, Slot};
pub use source::{Builtin, Policy};
pub(crate) use version::Version;
