//! The tutorials, as a newcomer follows them: each file and each command of the page, in an empty folder, with the program
//! of this build. What is typed otherwise than the page has it stands in a table here. The how-to pages are in `how_to`.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod how_to;
mod page;
mod reader;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use switchover_harness::free_port;

use crate::reader::Reader;

/// How often a reader looks at the page of visits at least, all steps of the migration among them.
const VISITS_AT_LEAST: u64 = 9;

/// A program is no library: cargo takes only the features from it that it wants of other crates.
const FEATURES: &str = "switchover-cli = { path = \"../switchover/host/cli\" }";

#[test]
fn a_django_site_in_ten_minutes() {
    let folder = folder("tutorial-django");
    // pip builds a package where it lies, so it gets a copy.
    let clients = folder.join("switchover/host/clients");
    let _ = fs::remove_dir_all(&clients);
    fs::create_dir_all(&clients).unwrap();
    let copied = Command::new("cp").arg("-R").arg(checkout().join("host/clients/django")).arg(&clients).status();
    assert!(copied.unwrap().success());
    // The usual port may be taken.
    let port = free_port().unwrap();
    let instead = [
        ("localhost:8000", format!("localhost:{port}")),
        ("runserver --noreload", format!("runserver --noreload {port}")),
    ];
    let mut reader = Reader::new(&folder, port, instead.into());
    reader.follow(&page("docs/tutorial-django.md"));
    assert!(reader.visits() >= VISITS_AT_LEAST, "{} visits", reader.visits());
}

#[test]
fn an_axum_service_in_ten_minutes() {
    let folder = folder("tutorial-axum");
    let checkout = checkout();
    let _ = fs::remove_file(folder.join("switchover"));
    std::os::unix::fs::symlink(&checkout, folder.join("switchover")).unwrap();
    let port = free_port().unwrap();
    let run = if cfg!(debug_assertions) { "cargo run" } else { "cargo run --release" };
    // With the profiles and the features of the checkout the build finds the crates of the registry compiled. The
    // folder is in that of the checkout, so the package says that it is no part of it.
    let instead = [
        ("[package]", format!("[workspace]\n\n{}\n[package]", profiles())),
        ("[dependencies]", format!("[dependencies]\n{FEATURES}")),
        ("cargo run", run.to_owned()),
        ("127.0.0.1:3000", format!("127.0.0.1:{port}")),
        ("localhost:3000", format!("localhost:{port}")),
    ];
    let mut reader = Reader::new(&folder, port, instead.into());
    reader.write("Cargo.lock", &fs::read_to_string(checkout.join("Cargo.lock")).unwrap(), false);
    reader.set("CARGO_TARGET_DIR", folder.ancestors().nth(2).unwrap());
    reader.set("CARGO_NET_OFFLINE", "true".as_ref());
    reader.follow(&page("docs/tutorial-axum.md"));
    assert!(reader.visits() >= VISITS_AT_LEAST, "{} visits", reader.visits());
}

/// The profiles of the checkout, but with its own crates compiled as fast as they can be.
fn profiles() -> String {
    let manifest = fs::read_to_string(checkout().join("Cargo.toml")).unwrap();
    let tables = manifest.split("\n[").filter(|table| table.starts_with("profile.") && !table.contains("switchover"));
    let own = ["switchover", "switchover-backends", "switchover-core", "switchover-runtime", "visits"];
    let fast = own.map(|name| format!("profile.release.package.{name}]\nopt-level = 0\n"));
    tables.map(str::to_owned).chain(fast).map(|table| format!("[{table}\n")).collect()
}

fn page(path: &str) -> String {
    fs::read_to_string(checkout().join(path)).unwrap()
}

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Always the same: what was compiled for it before is found again.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).unwrap();
    folder
}
