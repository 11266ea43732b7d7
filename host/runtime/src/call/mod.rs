//! One call of a policy: the question, what the policy may reach, what the databases answered, and whether its answer
//! stands.
//!
//! This module does not know wasm: a component and native code go through the same functions.

mod admission;
mod asked;
mod cache;
mod context;
mod databases;
mod evidence;
mod judge;
mod question;
mod reach;
mod redaction;
mod runner;

pub use admission::Admission;
pub use asked::Asked;
pub use context::{CallContext, Environment, Freshness};
pub(crate) use context::{Grants, PolicyScope};
pub use evidence::Evidence;
pub(crate) use judge::{Refused, judge};
pub(crate) use question::Describe;
pub use question::{
    AllowMigrate, AllowRelation, ClearExpired, DbForRead, DbForWrite, Delete, Exists, Load, Question, Save, Touch,
};
pub use reach::{Reach, Serves, check_target};
pub use runner::{Answered, Failure, Runner};
