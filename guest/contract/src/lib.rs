//! The words of the contract between a policy and its host, as plain Rust: what `wit/` says, without a component model.
//!
//! Both sides use it: the SDK for authors of policies, which re-exports it, and the host. It depends on nothing.
//!
//! ```text
//! wit/types.wit ─> types      wit/databases.wit ─> databases      wit/router.wit ─> router
//! wit/about.wit ─> about      wit/log.wit ─> log
//! ```
//!
//! ```
//! use switchover_contract::{Guarantee, Target};
//!
//! let target = Target::home("default").copy_to("new_session_store", Guarantee::Strict);
//! assert_eq!(target.mirrors[0].database, "new_session_store");
//! ```

mod about;
mod databases;
mod log;
mod router;
mod types;

pub use about::Description;
pub use databases::{Guarantee, Mirror, MirrorAction, Target};
pub use log::Level;
pub use router::{Hints, Model, Object};
pub use types::{Error, ErrorCode, Instant, Result, SaveMode, SaveOutcome};

/// The package of every interface in `wit/`, without its version.
pub const PACKAGE: &str = "switchover:policy";

/// The version of the contract: of the package in `wit/`, which a component names in each of its imports and exports.
pub const VERSION: &str = "0.1.0";

/// The full name of an interface or a world: `interface("cache")` is `switchover:policy/cache@0.1.0`.
pub fn interface(name: &str) -> String {
    format!("{PACKAGE}/{name}@{VERSION}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_the_one_of_every_file_of_the_contract() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit");
        let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(!files.is_empty());
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            assert!(text.starts_with(&format!("package {PACKAGE}@{VERSION};\n")), "{}", file.display());
        }
    }
}
