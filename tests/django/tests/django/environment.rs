//! The virtual environments with Django and with Schemathesis: each made once, by whoever comes first, and kept beside the
//! build.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The project that the peer runs.
pub(crate) const PROJECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/project");
/// What Django needs, to the patch.
const DJANGO: Environment = Environment {
    name: "django-venv",
    file: "requirements.txt",
    requirements: include_str!("../../project/requirements.txt"),
};
/// What Schemathesis needs.
const SCHEMATHESIS: Environment = Environment {
    name: "schemathesis-venv",
    file: "requirements-fuzz.txt",
    requirements: include_str!("../../project/requirements-fuzz.txt"),
};
/// In the environment: the requirements that it was made for, written when it was whole.
const MARKER: &str = "made-for.txt";
const NO_VENV: &str = "these tests run Python in a virtual environment: install Python 3.11 or newer with its module \
                       venv (Debian: apt-get install python3 python3-venv)";

/// A virtual environment.
pub(crate) struct Environment {
    pub(crate) name: &'static str,
    /// The file in the project with what it needs.
    pub(crate) file: &'static str,
    pub(crate) requirements: &'static str,
}

/// The Python of the environment with Django, which is made if it is missing or was made for other requirements.
///
/// Tests of this process and of others wait for the first one. Nothing that fails is kept.
///
/// # Errors
///
/// If it cannot be made, with what to install or to reach.
pub(crate) fn python() -> Result<PathBuf> {
    DJANGO.python()
}

/// Schemathesis, in an environment of its own.
///
/// # Errors
///
/// As for [`python`].
pub(crate) fn schemathesis() -> Result<PathBuf> {
    Ok(SCHEMATHESIS.python()?.with_file_name("schemathesis"))
}

/// The folder with the package `sessions_tests`: what Django asks of its own engines. Only its source package has it.
///
/// # Errors
///
/// As for [`python`].
pub(crate) fn suite() -> Result<PathBuf> {
    let python = python()?;
    let version =
        DJANGO.requirements.lines().find_map(|line| line.strip_prefix("Django==")).context("Django is required")?;
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().context("the folder of the build has no parent")?;
    let folder = target.join(format!("django-suite-{version}"));
    let lock = File::create(target.join("django-suite.lock")).context("no lock for the suite")?;
    lock.lock().context("the suite cannot be locked")?;
    if !folder.join("sessions_tests/tests.py").exists() {
        let packed = tempfile::tempdir()?;
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-binary=:all:"]);
        run(pip.arg(format!("Django=={version}")).arg("--dest").arg(packed.path()))
            .context("these tests need Django's source package from PyPI, or from a mirror of it (PIP_INDEX_URL)")?;
        run(Command::new(&python).arg(Path::new(PROJECT).join("unpack.py")).arg(packed.path()).arg(&folder))?;
    }
    Ok(folder)
}

impl Environment {
    /// Its Python. The environment is made if it is missing or was made for other requirements.
    ///
    /// # Errors
    ///
    /// If it cannot be made, with what to install or to reach.
    pub(crate) fn python(&self) -> Result<PathBuf> {
        let target =
            Path::new(env!("CARGO_TARGET_TMPDIR")).parent().context("the folder of the build has no parent")?;
        let folder = target.join(self.name);
        let lock = File::create(folder.with_extension("lock")).context("no lock for the virtual environment")?;
        lock.lock().context("the virtual environment cannot be locked")?;
        let python = folder.join("bin/python");
        // `exists` follows the link: after an update of the system its Python may be gone.
        let made_for = fs::read_to_string(folder.join(MARKER)).ok();
        if !python.exists() || made_for.as_deref() != Some(self.requirements) {
            self.make(&folder, &python)?;
        }
        Ok(python)
    }

    fn make(&self, folder: &Path, python: &Path) -> Result<()> {
        if folder.exists() {
            fs::remove_dir_all(folder).with_context(|| format!("{} cannot be made anew", folder.display()))?;
        }
        run(Command::new("python3").args(["-m", "venv"]).arg(folder)).context(NO_VENV)?;
        let mut pip = Command::new(python);
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--only-binary=:all:",
        ]);
        run(pip.arg("--requirement").arg(Path::new(PROJECT).join(self.file))).context(
            "these tests run packages from PyPI: Python must be 3.11 or newer, and PyPI reachable, or a mirror of it by \
             pip's own settings (PIP_INDEX_URL)",
        )?;
        fs::write(folder.join(MARKER), self.requirements).context("the virtual environment cannot be marked as whole")
    }
}

fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("{program} cannot be run"))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!("{program} failed:\n{}", String::from_utf8_lossy(&said).trim());
    }
    Ok(())
}
