//! The program `switchover`, which is built beside the tests.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Its path.
///
/// # Errors
///
/// If it was not built.
pub(crate) fn program() -> Result<PathBuf> {
    if let Some(program) = std::env::var_os("SWITCHOVER_PROGRAM") {
        return Ok(program.into());
    }
    let test = std::env::current_exe()?;
    let folder = test.parent().and_then(Path::parent).context("a test is in a folder of the build")?;
    let program = folder.join("switchover");
    if !program.exists() {
        bail!("{} is missing: build the program first, `cargo build --release -p switchover-cli`", program.display());
    }
    Ok(program)
}
