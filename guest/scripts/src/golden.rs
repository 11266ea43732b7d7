//! Folders of scripts, checked or rewritten.

use std::path::{Path, PathBuf};
use std::{env, fmt, fs, io};

use switchover_guest::Policy;

use super::diff::diff;
use super::script::{Script, ScriptError};
use super::subject::{NativeSubject, Subject, block_on};

/// Set to `1`, it makes [`check_dir`] rewrite the expected output.
const UPDATE_VARIABLE: &str = "UPDATE_GOLDENFILES";

/// What to do with the output that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Golden {
    /// Compare it with the expected one.
    Compare,
    /// Make it the expected one.
    Rewrite,
}

/// Why a folder of scripts did not pass. `Debug` is as readable as `Display`, for the `unwrap` of a test.
#[non_exhaustive]
pub enum CheckError {
    /// The folder has no file that ends in `.script`.
    NoScripts {
        /// The folder.
        dir: PathBuf,
    },
    /// A file could not be read or written.
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is no script.
    Script(ScriptError),
    /// Output is not as expected.
    Differences(String),
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoScripts { dir } => {
                write!(f, "{} has no scripts: add a file that ends in `.script`", dir.display())
            }
            Self::Io { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Script(error) => error.fmt(f),
            Self::Differences(text) => {
                write!(f, "scripts differ (- expected, + came); {UPDATE_VARIABLE}=1 makes what came expected\n{text}")
            }
        }
    }
}

impl fmt::Debug for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for CheckError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Script(error) => Some(error),
            Self::NoScripts { .. } | Self::Differences(_) => None,
        }
    }
}

impl From<ScriptError> for CheckError {
    fn from(error: ScriptError) -> Self {
        Self::Script(error)
    }
}

/// Runs every `.script` of a folder against a policy as plain Rust; how many there were.
///
/// # Errors
///
/// As [`check_scripts`].
pub fn check_dir<P: Policy>(dir: impl AsRef<Path>) -> Result<usize, CheckError> {
    let golden =
        if env::var_os(UPDATE_VARIABLE).is_some_and(|value| value == "1") { Golden::Rewrite } else { Golden::Compare };
    block_on(check_scripts(dir.as_ref(), &NativeSubject::<P>::new(), golden))
}

/// Runs every `.script` of a folder, in the order of their names; how many there were.
///
/// # Errors
///
/// A folder without scripts, a file that is no script, or all the differences of all scripts together.
pub async fn check_scripts<S: Subject>(dir: &Path, subject: &S, golden: Golden) -> Result<usize, CheckError> {
    let paths = scripts_in(dir)?;
    let mut differences = String::new();
    for path in &paths {
        let text = fs::read_to_string(path).map_err(|source| CheckError::Io { path: path.clone(), source })?;
        let script = Script::parse(&path.display().to_string(), &text)?;
        let (expected, came) = (script.expected(), script.run(subject).await);
        if came == expected {
            continue;
        }
        match golden {
            Golden::Compare => differences += &format!("\n{}\n{}\n", script.name(), diff(&expected, &came)),
            Golden::Rewrite => {
                fs::write(path, came).map_err(|source| CheckError::Io { path: path.clone(), source })?;
            }
        }
    }
    if differences.is_empty() { Ok(paths.len()) } else { Err(CheckError::Differences(differences)) }
}

fn scripts_in(dir: &Path) -> Result<Vec<PathBuf>, CheckError> {
    let io = |source| CheckError::Io { path: dir.to_owned(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.extension().is_some_and(|extension| extension == "script") {
            paths.push(path);
        }
    }
    paths.sort();
    if paths.is_empty() { Err(CheckError::NoScripts { dir: dir.to_owned() }) } else { Ok(paths) }
}
