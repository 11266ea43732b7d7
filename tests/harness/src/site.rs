//! The site of one server: folder, ports, programs, user and options, and the commands that run there.

use std::ffi::OsStr;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use tokio::time::{Instant, sleep};

use crate::options::Options;
use crate::programs::{Programs, User};

/// These are below the ports that Linux gives to outgoing connections, so none of those can take a port while its
/// server is down.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Where and how one server runs.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) programs: Programs,
    pub(crate) user: Option<User>,
    pub(crate) folder: PathBuf,
    pub(crate) data: PathBuf,
    pub(crate) port: u16,
    /// Only for Redis, which speaks TLS at a separate port.
    pub(crate) tls_port: u16,
    pub(crate) options: Options,
}

impl Site {
    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    pub(crate) fn take_ports(&mut self) -> anyhow::Result<()> {
        self.port = free_port()?;
        self.tls_port = free_port()?;
        Ok(())
    }

    /// A command that runs as the server's user. It has its own process group, so that Ctrl-C reaches only the tests.
    /// It does not see what the environment says about other servers.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if ["PG", "MYSQL", "MARIADB", "REDISCLI", "LC_"].iter().any(|prefix| text.starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        command.env("LC_ALL", "C").current_dir("/").process_group(0).stdin(Stdio::null());
        if let Some(User { user, group }) = self.user {
            command.uid(user).gid(group);
        }
        command
    }

    /// Makes the server's user the owner of a file or folder, which nobody else may read.
    pub(crate) fn give(&self, path: &Path) -> anyhow::Result<()> {
        let mode = if path.is_dir() { 0o700 } else { 0o600 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        if let Some(User { user, group }) = self.user {
            chown(path, Some(user), Some(group))
                .with_context(|| format!("cannot change the owner of {}", path.display()))?;
        }
        Ok(())
    }
}

/// Runs a command to its end and returns its output. Kills it at the deadline or when this future is dropped.
pub(crate) async fn run(mut command: Command, deadline: Instant) -> anyhow::Result<Output> {
    struct Killed(Option<Child>);
    impl Drop for Killed {
        fn drop(&mut self) {
            if let Some(child) = &mut self.0 {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
    let name = command.get_program().to_string_lossy().into_owned();
    // The output of these commands fits into the pipes, so nobody has to read it before they end.
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut running = Killed(Some(child.with_context(|| format!("cannot start {name}"))?));
    while let Some(child) = &mut running.0 {
        if child.try_wait()?.is_some() {
            break;
        }
        if Instant::now() >= deadline {
            bail!("{name} did not end in time");
        }
        sleep(Duration::from_millis(5)).await;
    }
    let child = running.0.take().ok_or_else(|| anyhow!("{name} was taken twice"))?;
    Ok(child.wait_with_output()?)
}

/// Escapes a text for the query of a URL.
pub(crate) fn in_query(path: &Path) -> String {
    let mut text = String::new();
    for byte in path.to_string_lossy().bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            text.push(byte.into());
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// Returns a port of 127.0.0.1 that is free now, below those that Linux gives to outgoing connections. The caller must be
/// ready to try another.
///
/// # Errors
///
/// If none of a hundred random ports is free.
pub fn free_port() -> anyhow::Result<u16> {
    let ports = std::iter::repeat_with(|| fastrand::u16(PORTS)).take(100);
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    ports.into_iter().find(free).context("no port of 127.0.0.1 between 20000 and 32000 is free")
}
