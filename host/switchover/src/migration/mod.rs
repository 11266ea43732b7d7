//! Migrations over a fleet: the control document, hosts, copies, the operator's steps; and a comparison of two
//! databases that are in use.

mod brakes;
mod cache_rule;
mod carried;
mod command;
mod compare;
mod controller;
mod copy;
mod document;
mod error;
mod jobs;
mod look;
mod member;
mod repair;
mod status;
mod walks;

pub use self::brakes::Brakes;
pub use self::cache_rule::CacheRule;
pub use self::carried::ensure_carried;
pub use self::command::StepCommand;
pub use self::compare::{Comparison, Difference, PAGE, SHOWN_MAX, SUSPECTS_MAX, Seen, compare};
pub use self::controller::{Beginning, Controller, Sealing, Step};
pub(crate) use self::copy::Pair;
pub use self::document::{PHASE_FLAG, PROFILE_FLAG, phase, profile};
pub(crate) use self::document::{fence, flags, needs, source_of};
pub use self::error::{CompareError, MigrationError};
pub(crate) use self::jobs::{Jobs, Turn, Turns, start as start_jobs};
pub use self::look::{Row, Stride, look, tool_deadline, tool_patience};
pub(crate) use self::member::{BEAT_EACH, LEASE, Place, RENEW_EACH, about, deadline};
pub use self::member::{Migration, NAME_MAX, POLICY_DEFAULT, check_name};
pub use self::repair::Repair;
pub use self::status::{EdgeStatus, SideStatus, Status};
pub use switchover_protocol::{Direction, Finding, Guard, Phase, Profile, Verdict};
