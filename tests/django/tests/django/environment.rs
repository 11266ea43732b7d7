//! The virtual environments with versions of Django and with Schemathesis: each made once, by whoever comes first, and
//! kept beside the build.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::interpreters;

/// The project that the peer runs.
pub(crate) const PROJECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/project");
/// The Django of all tests that do not name another.
pub(crate) const DJANGO_5_2: Environment = Environment {
    name: "django-venv",
    pythons: Pythons::Own,
    file: "requirements.txt",
    requirements: include_str!("../../project/requirements.txt"),
};
pub(crate) const DJANGO_6_0: Environment = Environment {
    name: "django-6.0-venv",
    pythons: Pythons::AnyOf(&["python3.12", "python3.13", "python3.14"]),
    file: "requirements-6.0.txt",
    requirements: include_str!("../../project/requirements-6.0.txt"),
};
/// On the newest Python, where 6.0 is on the oldest.
pub(crate) const DJANGO_6_1: Environment = Environment {
    name: "django-6.1-venv",
    pythons: Pythons::AnyOf(&["python3.14", "python3.13", "python3.12"]),
    file: "requirements-6.1.txt",
    requirements: include_str!("../../project/requirements-6.1.txt"),
};
const SCHEMATHESIS: Environment = Environment {
    name: "schemathesis-venv",
    pythons: Pythons::Own,
    file: "requirements-fuzz.txt",
    requirements: include_str!("../../project/requirements-fuzz.txt"),
};
/// In the environment: the requirements that it was made for, written when it was whole.
const MARKER: &str = "made-for.txt";
const NO_VENV: &str = "these tests run Python in a virtual environment: install Python 3.11 or newer with its module \
                       venv (Debian: apt-get install python3 python3-venv)";
/// Why a newer Django was not run.
pub(crate) const NO_NEWER: &str = "it needs Python 3.12, 3.13 or 3.14, and none is in PATH, in pyenv or in uv";

/// A virtual environment.
pub(crate) struct Environment {
    pub(crate) name: &'static str,
    pub(crate) pythons: Pythons,
    /// The file in the project with what it needs, to the patch.
    pub(crate) file: &'static str,
    pub(crate) requirements: &'static str,
}

/// What an environment is made with.
pub(crate) enum Pythons {
    /// The machine's own: it must be there.
    Own,
    /// The first of these that is there.
    AnyOf(&'static [&'static str]),
}

/// The Python with the Django of all tests that do not name another.
///
/// # Errors
///
/// As for [`Environment::python`].
pub(crate) fn python() -> Result<PathBuf> {
    DJANGO_5_2.python()
}

/// Schemathesis, in an environment of its own.
///
/// # Errors
///
/// As for [`Environment::python`].
pub(crate) fn schemathesis() -> Result<PathBuf> {
    Ok(SCHEMATHESIS.python()?.with_file_name("schemathesis"))
}

impl Environment {
    /// Whether a Python that it can be made with is there.
    pub(crate) fn can_be_had(&self) -> bool {
        match self.pythons {
            Pythons::Own => true,
            Pythons::AnyOf(names) => names.iter().any(|name| interpreters::named(name).is_some()),
        }
    }

    /// The Python of the environment, which is made if it is missing or was made for other requirements.
    ///
    /// Tests of this process and of others wait for the first one. Nothing that fails is kept.
    ///
    /// # Errors
    ///
    /// If it cannot be made, with what to install or to reach.
    pub(crate) fn python(&self) -> Result<PathBuf> {
        let folder = target()?.join(self.name);
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

    /// The folder with the package `sessions_tests`: what Django asks of its own engines. Only its source package has it.
    ///
    /// # Errors
    ///
    /// As for [`Environment::python`].
    pub(crate) fn suite(&self) -> Result<PathBuf> {
        let python = self.python()?;
        let version = self.version()?;
        let target = target()?;
        let folder = target.join(format!("django-suite-{version}"));
        let lock = File::create(target.join("django-suite.lock")).context("no lock for the suite")?;
        lock.lock().context("the suite cannot be locked")?;
        if !folder.join("sessions_tests/tests.py").exists() {
            let packed = tempfile::tempdir()?;
            let mut pip = Command::new(&python);
            pip.args([
                "-m",
                "pip",
                "download",
                "--quiet",
                "--disable-pip-version-check",
                "--no-deps",
                "--no-binary=:all:",
            ]);
            run(pip.arg(format!("Django=={version}")).arg("--dest").arg(packed.path())).context(
                "these tests need Django's source package from PyPI, or from a mirror of it (PIP_INDEX_URL)",
            )?;
            run(Command::new(&python).arg(Path::new(PROJECT).join("unpack.py")).arg(packed.path()).arg(&folder))?;
        }
        Ok(folder)
    }

    /// Of Django.
    ///
    /// # Errors
    ///
    /// If it is not an environment with Django.
    pub(crate) fn version(&self) -> Result<&'static str> {
        self.requirements.lines().find_map(|line| line.strip_prefix("Django==")).context("it is without Django")
    }

    fn make(&self, folder: &Path, python: &Path) -> Result<()> {
        if folder.exists() {
            fs::remove_dir_all(folder).with_context(|| format!("{} cannot be made anew", folder.display()))?;
        }
        let interpreter = match self.pythons {
            Pythons::Own => "python3".into(),
            Pythons::AnyOf(names) => names.iter().find_map(|name| interpreters::named(name)).context(NO_NEWER)?,
        };
        run(Command::new(interpreter).args(["-m", "venv"]).arg(folder)).context(NO_VENV)?;
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

fn target() -> Result<&'static Path> {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().context("the folder of the build has no parent")
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
