//! Finds the sources of tower-sessions, whose tests of a store are in its package.
#![expect(clippy::expect_used, reason = "a build that cannot go on says why")]

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=../../Cargo.lock");
    let cargo = std::env::var_os("CARGO").expect("cargo runs build scripts");
    let target = std::env::var("TARGET").expect("cargo names the target");
    let output =
        Command::new(cargo).args(["metadata", "--format-version=1", "--locked", "--filter-platform", &target]).output();
    let output = output.expect("cargo can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let packages = metadata["packages"].as_array().expect("it lists packages");
    let found = packages.iter().find(|package| package["name"] == "tower-sessions");
    let manifest = found.and_then(|package| package["manifest_path"].as_str()).expect("tower-sessions is required");
    let folder = std::path::Path::new(manifest).parent().expect("a manifest is in a folder");
    println!("cargo:rustc-env=TOWER_SESSIONS={}", folder.display());
}
