//! Checks whether the committed components match their sources, without compiling anything.

use std::fs;
use std::path::Path;

use anyhow::{Result, bail};

use crate::digests::Digests;
use crate::guests::Guest;
use crate::sources;

/// Fails if a component does not match; the error has a line for each, with the command to run.
pub(crate) fn check(root: &Path, guests: &[Guest]) -> Result<()> {
    let digests = Digests::read(root)?;
    let mut complaints = Vec::new();
    for guest in guests {
        if let Some(complaint) = complaint(root, guest, &digests)? {
            complaints.push(format!("guest/components/{0}.wasm {complaint}: run `cargo guests {0}`", guest.name));
        }
    }
    if complaints.is_empty() { Ok(()) } else { bail!("{}", complaints.join("\n")) }
}

fn complaint(root: &Path, guest: &Guest, digests: &Digests) -> Result<Option<&'static str>> {
    let Some(entry) = digests.get(&guest.name) else { return Ok(Some("has no digest")) };
    let Ok(component) = fs::read(guest.component(root)) else { return Ok(Some("is missing")) };
    if entry.component != sources::sha256(&component) {
        return Ok(Some("is not the component that was built"));
    }
    if entry.sources != sources::digest(root, &guest.dir)? {
        return Ok(Some("is older than its sources"));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digests::Entry;
    use crate::guests;

    const FILES: [(&str, &str); 11] = [
        ("Cargo.lock", "[[package]]\nname = \"wit-bindgen\"\nversion = \"0.61.1\"\n"),
        ("wit/types.wit", "a"),
        ("guest/sdk/Cargo.toml", "b"),
        ("guest/sdk/src/lib.rs", "c"),
        ("guest/contract/Cargo.toml", "d"),
        ("guest/contract/src/lib.rs", "h"),
        ("guest/protocol/Cargo.toml", "i"),
        ("guest/protocol/src/edge.rs", "j"),
        ("guest/policies/one/Cargo.toml", "e"),
        ("guest/policies/one/src/deep/part.rs", "f"),
        ("guest/components/one.wasm", "g"),
    ];

    fn put(root: &Path, path: &str, content: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// A checkout with one component that matches its sources.
    fn checkout() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, content) in FILES {
            put(dir.path(), path, content);
        }
        let guest = &guests::all(dir.path()).unwrap()[0];
        let sources = sources::digest(dir.path(), &guest.dir).unwrap();
        let mut digests = Digests::default();
        digests.set("one", Entry { sources, component: sources::sha256(b"g") });
        digests.write(dir.path()).unwrap();
        dir
    }

    fn outcome(root: &Path) -> Result<(), String> {
        check(root, &guests::all(root).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn component_as_its_sources_passes() {
        assert_eq!(outcome(checkout().path()), Ok(()));
    }

    #[test]
    fn any_changed_source_is_found() {
        for (path, content) in FILES.into_iter().filter(|(path, _)| !path.contains("components")) {
            let checkout = checkout();
            let changed = if path == "Cargo.lock" { content.replace("0.61.1", "0.61.2") } else { "changed".to_owned() };
            put(checkout.path(), path, &changed);
            let expected = "guest/components/one.wasm is older than its sources: run `cargo guests one`".to_owned();
            assert_eq!(outcome(checkout.path()), Err(expected), "{path}");
        }
    }

    #[test]
    fn new_source_is_found() {
        let checkout = checkout();
        put(checkout.path(), "guest/policies/one/src/new.rs", "");
        assert!(outcome(checkout.path()).unwrap_err().contains("older"));
    }

    #[test]
    fn component_that_is_missing_or_changed_is_found() {
        let checkout = checkout();
        put(checkout.path(), "guest/components/one.wasm", "changed");
        assert!(outcome(checkout.path()).unwrap_err().contains("not the component that was built"));
        fs::remove_file(checkout.path().join("guest/components/one.wasm")).unwrap();
        assert!(outcome(checkout.path()).unwrap_err().contains("missing"));
        fs::remove_file(checkout.path().join("guest/components/digests.toml")).unwrap();
        assert!(outcome(checkout.path()).unwrap_err().contains("no digest"));
    }
}
