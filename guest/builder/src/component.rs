//! Makes a component from a core module, and checks it against the world.

use std::path::Path;

use anyhow::{Context, Result};
use wit_component::ComponentEncoder;
use wit_parser::Resolve;

const WORLD: &str = "policy";

/// Encodes a module that the SDK's `export!` made. Checks that it imports only what the world has and exports all of
/// the world.
pub(crate) fn encode(module: &[u8], wit: &Path) -> Result<Vec<u8>> {
    let component = ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|encoder| encoder.encode())
        .context("cannot make a component: does the crate call `switchover_guest::export!(ItsPolicy)`?")?;

    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(wit).with_context(|| format!("cannot read {}", wit.display()))?;
    let world = resolve.select_world(&[package], Some(WORLD))?;
    wit_component::targets(&resolve, world, &component).with_context(|| {
        format!("not a policy: the component does not fit the world `{WORLD}` of {}", wit.display())
    })?;
    Ok(component)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn module_without_exports_is_refused() {
        let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
        let empty_module = b"\0asm\x01\0\0\0";
        let refused = format!("{:#}", encode(empty_module, &wit).unwrap_err());
        assert!(refused.contains("not a policy") || refused.contains("export!"), "{refused}");
    }
}
