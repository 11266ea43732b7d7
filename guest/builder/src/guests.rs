//! Finds the guests of the checkout.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The folders whose subfolders are guests.
const FOLDERS: [&str; 2] = ["guest/policies", "tests/guests"];

/// A crate that becomes a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Guest {
    /// Its folder's name.
    pub(crate) name: String,
    pub(crate) dir: PathBuf,
}

impl Guest {
    pub(crate) fn component(&self, root: &Path) -> PathBuf {
        components(root).join(format!("{}.wasm", self.name))
    }
}

/// The folder of the committed components.
pub(crate) fn components(root: &Path) -> PathBuf {
    root.join("guest/components")
}

/// Every guest of the checkout, by name.
pub(crate) fn all(root: &Path) -> Result<Vec<Guest>> {
    let mut guests = Vec::new();
    for folder in FOLDERS.map(|folder| root.join(folder)).iter().filter(|folder| folder.is_dir()) {
        for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let entry = entry?;
            if entry.path().join("Cargo.toml").is_file() {
                guests.push(Guest { name: entry.file_name().to_string_lossy().into_owned(), dir: entry.path() });
            }
        }
    }
    guests.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(guests)
}

/// The named guests, or all guests if none is named.
pub(crate) fn select(guests: Vec<Guest>, names: &[String]) -> Result<Vec<Guest>> {
    if let Some(unknown) = names.iter().find(|name| guests.iter().all(|guest| guest.name != **name)) {
        let known: Vec<_> = guests.iter().map(|guest| guest.name.as_str()).collect();
        bail!("no guest `{unknown}`: there are {}", known.join(", "));
    }
    Ok(guests.into_iter().filter(|guest| names.is_empty() || names.contains(&guest.name)).collect())
}
