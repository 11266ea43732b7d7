//! Finds the programs of a server, and the user who may run it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};

/// The programs of one server.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    /// The server itself.
    pub(crate) server: PathBuf,
    /// The program that makes a data folder, where one is needed.
    pub(crate) setup: Option<PathBuf>,
    /// Its command line client.
    pub(crate) client: PathBuf,
}

/// The places to look for programs, in order.
pub(crate) struct Search {
    folders: Vec<PathBuf>,
    variable: &'static str,
    packages: &'static str,
}

impl Search {
    /// The folder that the environment variable names, then `PATH`, then `/usr/lib/postgresql/*/bin` with the newest
    /// version first, then the folders where Debian puts servers.
    pub(crate) fn new(variable: &'static str, packages: &'static str) -> Search {
        let mut folders: Vec<PathBuf> = std::env::var_os(variable).map(PathBuf::from).into_iter().collect();
        folders.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths));
        let mut versions: Vec<_> = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().collect();
        versions.sort_by_key(|entry| entry.file_name().to_string_lossy().parse::<u32>().unwrap_or(0));
        folders.extend(versions.iter().rev().map(|entry| entry.path().join("bin")));
        folders.extend(["/usr/local/bin", "/usr/local/sbin", "/usr/bin", "/usr/sbin"].map(PathBuf::from));
        Search { folders, variable, packages }
    }

    /// The first folder that has all of `names`: these programs belong together.
    ///
    /// # Errors
    ///
    /// If there is none: the message says what to install.
    pub(crate) fn folder_with(&self, names: &[&str]) -> anyhow::Result<PathBuf> {
        let has_all = |folder: &&PathBuf| names.iter().all(|name| folder.join(name).is_file());
        self.folders.iter().find(has_all).cloned().ok_or_else(|| {
            anyhow!(
                "`{}` not found: install it (Debian: apt-get install {}) or set {} to the folder that has it",
                names.join("`, `"),
                self.packages,
                self.variable
            )
        })
    }

    /// The first program that has one of `names`. It tries the names in order.
    ///
    /// # Errors
    ///
    /// If there is none: the message says what to install.
    pub(crate) fn program(&self, names: &[&str]) -> anyhow::Result<PathBuf> {
        let found = names.iter().find_map(|name| Some(self.folder_with(&[name]).ok()?.join(name)));
        found.map_or_else(|| self.folder_with(&names[..1]), Ok)
    }
}

/// An ordinary user.
#[derive(Clone, Copy, Debug)]
pub(crate) struct User {
    pub(crate) user: u32,
    pub(crate) group: u32,
}

/// The user who runs a server. `None` if this process is not root; otherwise the first of `names` that exists.
///
/// # Errors
///
/// If this process is root and none of the users exists.
pub(crate) fn ordinary_user(names: &[&str]) -> anyhow::Result<Option<User>> {
    if fs::metadata("/proc/self").context("the harness needs Linux and its /proc")?.uid() != 0 {
        return Ok(None);
    }
    let users = fs::read_to_string(Path::new("/etc/passwd")).context("cannot read /etc/passwd")?;
    let find = |name: &&str| {
        users.lines().find_map(|line| {
            let mut fields = line.split(':');
            let named = fields.next() == Some(name);
            let (user, group) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
            named.then_some(User { user, group })
        })
    };
    let found = names.iter().find_map(find);
    found
        .map(Some)
        .with_context(|| format!("servers refuse root, and none of these users exists: {}", names.join(", ")))
}
