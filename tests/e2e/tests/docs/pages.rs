//! Where the pages are.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What is built or installed is not the project's.
const SKIPPED: [&str; 3] = [".git", "node_modules", "target"];

/// The pages of a folder and of the folders in it. Links to folders are not followed.
pub(crate) fn below(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() && !SKIPPED.iter().any(|skipped| path.ends_with(skipped)) {
            found.append(&mut below(&path));
        } else if kind.is_file() && path.extension().is_some_and(|extension| extension == "md") {
            found.insert(path);
        }
    }
    found
}

/// Every page of the project: of `docs/`, and the READMEs.
pub(crate) fn all(root: &Path) -> BTreeSet<PathBuf> {
    let mut pages = BTreeSet::from([root.join("README.md"), root.join("CHANGELOG.md")]);
    for folder in ["docs", "guest", "host", "tests"] {
        pages.append(&mut below(&root.join(folder)));
    }
    pages
}

/// The READMEs that stand beside the manifest of a crate.
pub(crate) fn of_crates(root: &Path) -> BTreeSet<PathBuf> {
    let is_of_crate = |page: &PathBuf| page.ends_with("README.md") && page.with_file_name("Cargo.toml").is_file();
    all(root).into_iter().filter(is_of_crate).collect()
}
