//! Folders with the packages that the applications need: each made once, by whoever comes first, and kept beside the
//! build.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// In a folder: what it was made for, written when it was whole.
const MARKER: &str = "made-for.txt";
/// Ends with success if it can run the packages.
const NODE_SUITS: &str = "const [major, minor] = process.versions.node.split('.').map(Number); \
                          process.exit(major > 20 || (major === 20 && minor >= 9) ? 0 : 1)";
/// Why an application on Node was not run.
pub(crate) const NO_NODE: &str = "it needs Node 20.9 or newer with npm, and there is none in PATH";
const NO_VENV: &str = "these tests run Python in a virtual environment: install Python 3.11 or newer with its module \
                       venv (Debian: apt-get install python3 python3-venv)";

/// Whether there is a Node that suits.
pub(crate) fn has_node() -> bool {
    let succeeds = |program: &str, arguments: &[&str]| {
        let mut asked = Command::new(program);
        asked.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        asked.status().is_ok_and(|status| status.success())
    };
    succeeds("node", &["-e", NODE_SUITS]) && succeeds("npm", &["--version"])
}

/// The folder `node_modules` with the packages that are locked in `project`.
///
/// # Errors
///
/// If they cannot be had, with what to reach.
pub(crate) fn node_modules(project: &Path) -> Result<PathBuf> {
    let (package, lock) = (project.join("package.json"), project.join("package-lock.json"));
    let made_for = fs::read_to_string(&package)? + &fs::read_to_string(&lock)?;
    let folder = made("express-modules", &made_for, "node_modules", |folder| {
        fs::create_dir_all(folder)?;
        fs::copy(&package, folder.join("package.json"))?;
        fs::copy(&lock, folder.join("package-lock.json"))?;
        // No package's own script is run: what npm unpacks is all that the shop needs.
        let options = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev", "--loglevel=error"];
        run(Command::new("npm").args(options).current_dir(folder)).context(
            "these tests run packages from npm: its registry must be reachable, or a mirror of it by npm's own settings \
             (npm_config_registry)",
        )
    })?;
    Ok(folder.join("node_modules"))
}

/// The Python of a virtual environment with the packages that are pinned in `project`.
///
/// # Errors
///
/// If it cannot be made, with what to install or to reach.
pub(crate) fn python(project: &Path) -> Result<PathBuf> {
    let requirements = project.join("requirements.txt");
    let made_for = fs::read_to_string(&requirements)?;
    let folder = made("flask-venv", &made_for, "bin/python", |folder| {
        run(Command::new("python3").args(["-m", "venv"]).arg(folder)).context(NO_VENV)?;
        let mut pip = Command::new(folder.join("bin/python"));
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--only-binary=:all:",
        ]);
        run(pip.arg("--requirement").arg(&requirements)).context(
            "these tests run packages from PyPI: Python must be 3.11 or newer, and PyPI reachable, or a mirror of it by \
             pip's own settings (PIP_INDEX_URL)",
        )
    })?;
    Ok(folder.join("bin/python"))
}

/// A folder beside the build, which is made if `needed` is missing in it, or if it was made for something else.
///
/// Tests of this process and of others wait for the first one. Nothing that fails is kept.
fn made(name: &str, made_for: &str, needed: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().context("the folder of the build has no parent")?;
    let folder = target.join(name);
    let lock = File::create(folder.with_extension("lock")).with_context(|| format!("no lock for {name}"))?;
    lock.lock().with_context(|| format!("{name} cannot be locked"))?;
    // `exists` follows the link: after an update of the system a Python may be gone.
    let is_whole = fs::read_to_string(folder.join(MARKER)).is_ok_and(|marked| marked == made_for);
    if !is_whole || !folder.join(needed).exists() {
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("{} cannot be made anew", folder.display()))?;
        }
        make(&folder)?;
        fs::write(folder.join(MARKER), made_for).with_context(|| format!("{name} cannot be marked as whole"))?;
    }
    Ok(folder)
}

fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{program} cannot be run"))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!("{program} failed:\n{}", String::from_utf8_lossy(&said).trim());
    }
    Ok(())
}
