//! What the author of a Switchover policy depends on.
//!
//! A policy decides in which databases sessions live and how they move from one to another. It is written against the
//! trait [`Host`], runs natively in tests and inside the host, and becomes a WebAssembly component by [`export!`].
//!
//! ```text
//! wit/ ── contract (plain Rust) ──> Policy ──asks──> Host ──┬─ glue      the component's imports, wasm32 only
//!                                                          ├─ the crate `switchover-scripts`: recording fakes, golden scripts
//!                                                          └─ the host itself, which runs shipped policies natively too
//! ```
//!
//! # Examples
//!
//! A policy that keeps sessions in one database, with a cache in front:
//!
//! ```
//! use switchover_guest::{Description, Host, Instant, Policy, Result, SaveMode, SaveOutcome, Target, through_cache};
//!
//! pub struct OneDatabase;
//!
//! impl Policy for OneDatabase {
//!     fn describe<H: Host>(_host: &H) -> Description {
//!         let (name, protocol) = ("one-database".into(), "one-database".into());
//!         Description { name, protocol, databases: vec!["default".into()], ..Description::default() }
//!     }
//!
//!     async fn load<H: Host>(host: &H, key: &str) -> Result<Option<H::Session>> {
//!         through_cache(host, key, host.load("default", key)).await
//!     }
//!
//!     async fn save<H: Host>(host: &H, key: &str, value: H::Session, mode: SaveMode) -> Result<SaveOutcome> {
//!         host.save(&Target::home("default"), key, &value, mode).await
//!     }
//!
//!     async fn touch<H: Host>(host: &H, key: &str, expires_at: Instant) -> Result<SaveOutcome> {
//!         host.touch(&Target::home("default"), key, expires_at).await
//!     }
//!
//!     async fn delete<H: Host>(host: &H, key: &str) -> Result<bool> {
//!         host.delete(&Target::home("default"), key).await
//!     }
//!
//!     async fn exists<H: Host>(host: &H, key: &str) -> Result<bool> {
//!         host.exists("default", key).await
//!     }
//!
//!     async fn clear_expired<H: Host>(host: &H, limit: u32) -> Result<u32> {
//!         host.delete_expired("default", None, limit).await
//!     }
//! }
//!
//! switchover_guest::export!(OneDatabase);
//! ```

mod cache;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod glue;
mod host;
mod policy;

pub use cache::through_cache;
pub use host::{Host, Lookup, Session};
pub use policy::Policy;
pub use switchover_contract::{
    Description, Error, ErrorCode, Guarantee, Hints, Instant, Level, Mirror, MirrorAction, Model, Object, Result,
    SaveMode, SaveOutcome, Target,
};

/// Makes a policy the component that this crate compiles to. Expands to nothing on any target but wasm32.
///
/// Use it once, in the crate's root: `switchover_guest::export!(MyPolicy);`
#[macro_export]
macro_rules! export {
    ($policy:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Exported = $crate::glue::Component<$policy>;
    $crate::glue::export_component!(Exported with_types_in $crate::glue::bindings);
        };
    };
}
