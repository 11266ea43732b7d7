//! A policy that misbehaves, in the way that the setting `behaviour` names; well-behaved without it.
//!
//! Written against the bindings, not the SDK's trait, because it does what that trait does not let a policy do.

#[cfg(target_arch = "wasm32")]
mod behaviour;
#[cfg(target_arch = "wasm32")]
mod hostile;
