//! The crates of the workspace and their dependencies, from cargo.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn metadata(root: &Path) -> Vec<Value> {
    let output = cargo(root, &["metadata", "--format-version", "1", "--no-deps", "--offline"]);
    let mut metadata: Value = serde_json::from_str(&output).unwrap();
    serde_json::from_value(metadata["packages"].take()).unwrap()
}

fn cargo(root: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root).output().unwrap();
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn name(package: &Value) -> String {
    package["name"].as_str().unwrap().to_owned()
}

/// Whether a crate is a test. Tests may use whatever they test.
pub(crate) fn is_test(name: &str) -> bool {
    [
        "switchover-tests",
        "switchover-applications-tests",
        "switchover-django-tests",
        "switchover-hostile",
        "switchover-model",
    ]
    .contains(&name)
}

/// What each crate depends on. What only its tests need is left out.
fn dependencies(root: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let of = |package: &Value| {
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        let built = dependencies.filter(|dependency| dependency["kind"].is_null());
        (name(package), built.map(name).collect())
    };
    metadata(root).iter().map(of).collect()
}

/// The dependencies between the crates of the workspace.
pub(crate) fn edges(root: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let all = dependencies(root);
    let crates: BTreeSet<_> = all.keys().cloned().collect();
    all.into_iter().map(|(name, names)| (name, names.intersection(&crates).cloned().collect())).collect()
}

/// The dependencies on crates of the registry.
pub(crate) fn outside(root: &Path) -> BTreeMap<String, BTreeSet<String>> {
    dependencies(root)
}

/// The dependency tree of a crate that is built with these features only.
pub(crate) fn tree(root: &Path, package: &str, features: &str) -> String {
    let arguments = ["tree", "--offline", "-p", package, "--no-default-features", "--features", features];
    cargo(root, &[&arguments[..], &["-e", "normal,build", "--prefix", "none"]].concat())
}

/// The crates of the registry that a build compiles, each with its features. `of`: which members are built, in cargo's
/// words.
pub(crate) fn compiled(root: &Path, of: &[&str], edges: &str) -> BTreeSet<String> {
    let arguments = ["tree", "--offline", "-e", edges, "--prefix", "none", "-f", "{p} {f}"];
    let tree = cargo(root, &[&arguments[..], of].concat());
    // A crate of the workspace has its path behind its name, and a repeated one a mark.
    tree.lines().map(|line| line.trim_end_matches(" (*)").to_owned()).filter(|line| !line.contains('(')).collect()
}

/// The folder of a crate's sources.
pub(crate) fn source(root: &Path, of: &str) -> PathBuf {
    sources(root).remove(of).unwrap_or_else(|| panic!("no crate {of}"))
}

/// The folders of the sources of every crate that is not a test.
pub(crate) fn sources(root: &Path) -> BTreeMap<String, PathBuf> {
    let folder = |package: &Value| Path::new(package["manifest_path"].as_str().unwrap()).with_file_name("src");
    let all = metadata(root);
    all.iter().map(|package| (name(package), folder(package))).filter(|(_, source)| source.is_dir()).collect()
}
