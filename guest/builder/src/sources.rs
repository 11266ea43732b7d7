//! Computes the digest of everything that a component is made from.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::toolchain;

/// `sha256:` and 64 hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    text(Sha256::digest(bytes).as_slice())
}

/// The crates that a guest may be linked with. All of them count, whichever it names.
const LINKED: [&str; 3] = ["guest/contract", "guest/protocol", "guest/sdk"];

/// The digest of a guest's sources: contract, protocol, SDK, its own crate, the version of the workspace, the bindings'
/// generator and the compiler's options.
pub(crate) fn digest(root: &Path, guest: &Path) -> Result<String> {
    let mut files = Vec::new();
    collect(&root.join("wit"), &mut files)?;
    for made_from in LINKED.map(|linked| root.join(linked)).iter().map(PathBuf::as_path).chain([guest]) {
        files.push(made_from.join("Cargo.toml"));
        collect(&made_from.join("src"), &mut files)?;
    }
    files.sort();

    let mut digest = Sha256::new();
    let mut add = |name: &str, content: &[u8]| {
        digest.update(format!("{name}\n{}\n", content.len()));
        digest.update(content);
    };
    for file in files {
        let name = file.strip_prefix(root).unwrap_or(&file).to_string_lossy().replace('\\', "/");
        let content = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        add(&name, &content);
    }
    add("wit-bindgen", generator_version(root)?.as_bytes());
    add("workspace", env!("CARGO_PKG_VERSION").as_bytes());
    add("options", format!("{:?} {:?}", toolchain::PROFILE, toolchain::LINK_FLAGS).as_bytes());
    Ok(text(digest.finalize().as_slice()))
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
}

fn generator_version(root: &Path) -> Result<String> {
    let path = root.join("Cargo.lock");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let lock: Lock = toml::from_str(&text).with_context(|| format!("{} is not a lock file", path.display()))?;
    let package = lock.package.into_iter().find(|package| package.name == "wit-bindgen");
    Ok(package.context("Cargo.lock has no wit-bindgen: run `cargo update --workspace`")?.version)
}

fn text(digest: &[u8]) -> String {
    digest.iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}
