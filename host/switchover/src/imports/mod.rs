//! What a policy may import, one file per WIT interface: what was granted, how much of it, and how errors cross the boundary.

mod cache;
mod clock;
mod convert;
mod databases;
mod evidence;
mod flags;
mod handles;
mod hot;
mod log;
mod memory;
mod settings;
mod types;

mod bindings;
mod call;
mod native;
mod redaction;

pub(crate) use bindings::switchover::policy::types::Error as GuestError;
pub(crate) use bindings::{Policy as WasmPolicy, PolicyPre as WasmPolicyPre};
pub(crate) use call::{CallContext, Environment, Freshness, Grants, PolicyScope};
pub(crate) use convert::{
    description_from_guest, error_from_guest, hints_to_guest, mode_to_guest, model_to_guest, object_to_guest,
    outcome_from_guest,
};
pub(crate) use evidence::Asked;
pub(crate) use native::NativeHost;
pub(crate) use types::{GuestState, add_to_linker};
