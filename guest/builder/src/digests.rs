//! `guest/components/digests.toml`: the digests of each committed component and of its sources.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::guests;

const HEADER: &str =
    "# Written by `cargo guests`: the digests of each component's sources and of the component itself.\n\n";

/// The digests of one component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) sources: String,
    pub(crate) component: String,
}

/// The digests of all components, by the guests' names.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Digests(BTreeMap<String, Entry>);

impl Digests {
    /// Reads the file. Empty if there is no file yet.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let path = path(root);
        match fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).with_context(|| format!("{}: run `cargo guests`", path.display())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    pub(crate) fn write(&self, root: &Path) -> Result<()> {
        let path = path(root);
        let text = toml::to_string(self).context("digests are plain text")?;
        fs::write(&path, format!("{HEADER}{}\n", text.trim_end()))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Entry> {
        self.0.get(name)
    }

    pub(crate) fn set(&mut self, name: &str, entry: Entry) {
        self.0.insert(name.to_owned(), entry);
    }
}

fn path(root: &Path) -> PathBuf {
    guests::components(root).join("digests.toml")
}
