//! Finds the sources of the session crates whose tests of a store are in their packages.
#![expect(clippy::expect_used, reason = "a build that cannot go on says why")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Where actix-session's library has its tests of a store: a module that only its own tests see, and the last one.
const HELPERS: &str = "pub mod test_helpers {";

fn main() {
    println!("cargo:rerun-if-changed=../../Cargo.lock");
    let cargo = std::env::var_os("CARGO").expect("cargo runs build scripts");
    let target = std::env::var("TARGET").expect("cargo names the target");
    let output =
        Command::new(cargo).args(["metadata", "--format-version=1", "--locked", "--filter-platform", &target]).output();
    let output = output.expect("cargo can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");

    println!("cargo:rustc-env=TOWER_SESSIONS={}", folder(&metadata, "tower-sessions").display());

    let library = folder(&metadata, "actix-session").join("src/lib.rs");
    let library = std::fs::read_to_string(library).expect("actix-session has a library");
    let at = library.find(HELPERS).expect("actix-session has tests of a store");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo gives build scripts a folder"));
    std::fs::write(out.join("actix_session.rs"), &library[at..]).expect("the folder can be written");
}

fn folder(metadata: &Value, name: &str) -> PathBuf {
    let packages = metadata["packages"].as_array().expect("cargo lists packages");
    let found = packages.iter().find(|package| package["name"] == name);
    let manifest = found.and_then(|package| package["manifest_path"].as_str());
    let manifest = manifest.unwrap_or_else(|| panic!("{name} is required"));
    Path::new(manifest).parent().expect("a manifest is in a folder").to_owned()
}
