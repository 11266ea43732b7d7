//! Where the Pythons are, for versions of Django that the machine's own may be too old for.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::{env, fs};

/// Ends with success if an environment can be made with it, and drivers can be had for it ready-made.
const SUITS: &str =
    "import ensurepip, sys, sysconfig, venv; sys.exit(sysconfig.get_config_var('Py_GIL_DISABLED') == 1)";

/// The interpreter of this name, such as `python3.12`: from `PATH`, from pyenv, or from uv.
pub(crate) fn named(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(of_pyenv());
    // A name in `PATH` may stand for one that is not there: pyenv has such.
    folders.map(|folder| folder.join(name)).chain(of_uv(name)).find(suits)
}

fn suits(python: &PathBuf) -> bool {
    let mut asked = Command::new(python);
    asked.args(["-c", SUITS]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    asked.status().is_ok_and(|status| status.success())
}

fn of_pyenv() -> Vec<PathBuf> {
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".pyenv"));
    let versions = env::var_os("PYENV_ROOT").map(PathBuf::from).or_else(home).map(|root| root.join("versions"));
    let entries = versions.and_then(|versions| fs::read_dir(versions).ok()).into_iter().flatten().flatten();
    let mut folders: Vec<_> = entries.map(|version| version.path().join("bin")).collect();
    folders.sort();
    folders
}

/// One that uv has; it is not asked to fetch any.
fn of_uv(name: &str) -> Option<PathBuf> {
    let mut uv = Command::new("uv");
    uv.args(["python", "find", name]).env("UV_PYTHON_DOWNLOADS", "never").stdin(Stdio::null());
    let found = String::from_utf8(uv.output().ok()?.stdout).ok()?;
    Some(PathBuf::from(found.trim_end())).filter(|python| python.is_absolute())
}
