//! A policy that misbehaves in the way that the setting `behaviour` names. Without the setting it behaves well.
//!
//! It is written against the bindings and not the SDK's trait, because it does what that trait does not allow.

#[cfg(target_arch = "wasm32")]
mod behaviour;
#[cfg(target_arch = "wasm32")]
mod hostile;
