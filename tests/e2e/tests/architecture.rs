//! Checks the layers: crates and modules name only what docs/architecture.md allows, and do not depend on each other in
//! a circle.
//!
//! Crates are compared by cargo's metadata. Inside a crate, every `use`, also in braces, and every path that begins
//! with `crate` or `super` is followed to the module that it ends in, through re-exports. A module and its own parent
//! count as one: a parent lists its children, and a child may use what the parent defines.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod architecture {
    pub(crate) mod crates;
    pub(crate) mod modules;
    pub(crate) mod page;
}

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use architecture::{crates, modules, page};

/// Crates that only some crates may use: the name, and the crates that may use it.
const KNOWN_IN: [(&str, &[&str]); 7] = [
    ("wasmtime", &["switchover-runtime"]),
    ("wasmtime-wasi", &["switchover-runtime"]),
    ("quick_cache", &["switchover-backends"]),
    ("redis", &["switchover-backends"]),
    ("rusqlite", &["switchover-backends", "switchover-workload"]),
    ("sqlx", &["switchover-backends", "switchover-workload"]),
    ("wit-bindgen", &["switchover-guest"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn crates_name_only_the_crates_below_them() {
    let built = crates::edges(&root());
    let written = page::crates(&root());
    for (name, names) in &built {
        let allowed =
            written.get(name).unwrap_or_else(|| panic!("docs/architecture.md does not name the crate {name}"));
        assert_eq!(allowed, names, "what {name} depends on, in docs/architecture.md and in its manifest");
    }
    let known: BTreeSet<_> = built.keys().collect();
    assert_eq!(written.keys().collect::<BTreeSet<_>>(), known, "the crates of docs/architecture.md");
}

#[test]
fn drivers_and_wasmtime_are_known_in_one_place() {
    for (name, dependencies) in crates::outside(&root()) {
        for (known, places) in KNOWN_IN {
            let allowed = !dependencies.contains(known) || places.contains(&name.as_str()) || crates::is_test(&name);
            assert!(allowed, "{name} must not know {known}");
        }
    }
}

#[test]
fn library_without_wasm_has_no_wasmtime_in_its_tree() {
    let without = crates::tree(&root(), "switchover", "memory,sqlite,postgres,mysql,redis,flag-file");
    assert!(without.contains("switchover-runtime"), "{without}");
    assert!(!without.contains("wasm"), "{without}");
    assert!(crates::tree(&root(), "switchover", "memory,wasm").contains("wasmtime"));
}

#[test]
fn building_everything_after_the_program_compiles_no_crate_of_the_registry_again() {
    // A crate may be compiled twice: for what runs, and for macros and build scripts, with features of its own there.
    for of in ["normal,no-proc-macro", "normal,build"] {
        let program = crates::compiled(&root(), &["-p", "switchover-cli"], of);
        let everything = crates::compiled(&root(), &["--workspace"], &format!("{of},dev"));
        assert!(program.len() > 100, "{program:?}");
        let again: Vec<_> = program.difference(&everything).collect();
        assert!(again.is_empty(), "give host/cli the features that other members want of these: {again:?}");
    }
}

#[test]
fn modules_of_the_library_name_only_the_modules_below_them() {
    let mut written = page::modules(&root());
    for name in page::WITH_MODULES {
        let allowed = written.remove(name).unwrap_or_else(|| panic!("docs/architecture.md lists no modules of {name}"));
        assert_eq!(allowed, modules::top(&crates::source(&root(), name)), "the modules of {name}");
    }
    assert_eq!(written, BTreeMap::new(), "modules of crates that are not compared");
}

#[test]
fn no_modules_of_any_crate_go_round_in_a_circle() {
    for (name, source) in crates::sources(&root()) {
        let circles = modules::circles(&source);
        assert!(circles.is_empty(), "{name}: {circles:?}");
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    for (name, source) in crates::sources(&root()) {
        for (path, text) in modules::files(&source) {
            let opens = text.starts_with("//! ");
            assert!(opens, "{name}: {} does not open with a sentence that says what it is for", path.display());
        }
    }
}
