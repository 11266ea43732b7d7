//! Builds policies into components (`cargo guests`) and checks them against the world.
//!
//! ```text
//! guest/policies/NAME ─┐  rustc, wasm32        encoder, wit/
//! tests/guests/NAME   ─┴─> core module ──────> component ──> guest/components/NAME.wasm, digests.toml
//! ```
//!
//! The components are committed, so that the library and the demo build without a wasm tool chain. `--check` compiles
//! nothing and fails if a component does not match its sources.

#![expect(clippy::print_stderr, reason = "progress is for people")]

mod check;
mod component;
mod digests;
mod guests;
mod sources;
mod toolchain;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

use anyhow::{Context, Result};
use clap::Parser;

use crate::digests::{Digests, Entry};
use crate::guests::Guest;
use crate::toolchain::Toolchain;

/// Builds policies into components, in `guest/components`.
///
/// Examples:
///   cargo guests                                   builds all guests
///   cargo guests fallback                          builds one guest
///   cargo guests --check                           compiles nothing; fails if a component is older than its sources
///   cargo guests --crate ../mine --out mine.wasm   builds a policy of your own
#[derive(Parser)]
#[command(name = "cargo guests", verbatim_doc_comment)]
struct Arguments {
    /// The guests to build: folders of `guest/policies` and `tests/guests`. Builds all of them if none is named.
    #[arg(conflicts_with = "krate")]
    names: Vec<String>,

    /// Compile nothing. Fail if a committed component is missing, was changed, or is older than its sources.
    #[arg(long, conflicts_with = "krate")]
    check: bool,

    /// The folder of a policy of your own.
    #[arg(long = "crate", value_name = "DIR", requires = "out")]
    krate: Option<PathBuf>,

    /// Where to write the component of that policy.
    #[arg(long, value_name = "FILE", requires = "krate")]
    out: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<()> {
    let root =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().context("no checkout around the builder")?;
    if let (Some(dir), Some(out)) = (arguments.krate, arguments.out) {
        return build_own(&root, &dir, &out);
    }
    let guests = guests::select(guests::all(&root)?, &arguments.names)?;
    if arguments.check {
        check::check(&root, &guests)?;
        eprintln!("{} components match their sources", guests.len());
        return Ok(());
    }
    build(&root, &guests)
}

fn build(root: &Path, guests: &[Guest]) -> Result<()> {
    let toolchain = Toolchain::find()?;
    eprintln!("building with {toolchain}");
    for guest in guests {
        let component =
            compile(root, &toolchain, &guest.dir).with_context(|| format!("cannot build `{}`", guest.name))?;
        let path = guest.component(root);
        write(&path, &component)?;
        let entry = Entry { sources: sources::digest(root, &guest.dir)?, component: sources::sha256(&component) };
        // Written after each component, so that an interrupted run leaves components and digests in step.
        let mut digests = Digests::read(root)?;
        digests.set(&guest.name, entry);
        digests.write(root)?;
        eprintln!("{}: {} bytes", path.strip_prefix(root).unwrap_or(&path).display(), component.len());
    }
    Ok(())
}

fn build_own(root: &Path, dir: &Path, out: &Path) -> Result<()> {
    let toolchain = Toolchain::find()?;
    eprintln!("building with {toolchain}");
    let component = compile(root, &toolchain, dir).with_context(|| format!("cannot build {}", dir.display()))?;
    write(out, &component)?;
    eprintln!("{}: {} bytes", out.display(), component.len());
    Ok(())
}

fn compile(root: &Path, toolchain: &Toolchain, dir: &Path) -> Result<Vec<u8>> {
    let target_dir = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from).join("guests");
    let module = toolchain.build(root, dir, &target_dir)?;
    let module = fs::read(&module).with_context(|| format!("cannot read {}", module.display()))?;
    component::encode(&module, &root.join("wit"))
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    }
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
