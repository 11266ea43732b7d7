//! A host as a process, which may be killed, stopped, and started again.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use switchover_workload::remote::{Remote, Report};
use tokio::sync::Mutex;

/// How long a host may take to start, with servers that come and go.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);
/// A start that does not succeed by then begins again.
const START: Duration = Duration::from_secs(10);

/// A host of a fleet.
pub(crate) struct Process {
    name: &'static str,
    configuration: PathBuf,
    socket: PathBuf,
    child: Mutex<Option<Child>>,
}

impl Process {
    /// Starts a host under this name. `configuration` is a file, and the socket lies beside it.
    pub(crate) async fn start(name: &'static str, configuration: PathBuf) -> Result<Self> {
        let socket = configuration.with_extension("socket");
        let process = Self { name, configuration, socket, child: Mutex::new(None) };
        process.restart().await?;
        Ok(process)
    }

    pub(crate) fn name(&self) -> &str {
        self.name
    }

    pub(crate) fn remote(&self) -> Remote {
        Remote::new(self.socket.clone())
    }

    /// Starts it, again and again until it answers.
    pub(crate) async fn restart(&self) -> Result<()> {
        let give_up = Instant::now() + PATIENCE;
        let mut running = self.child.lock().await;
        while Instant::now() < give_up {
            std::fs::remove_file(&self.socket).or_else(|error| match error.kind() {
                std::io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            })?;
            let mut child = Command::new(env!("CARGO_BIN_EXE_fleet_host"))
                .args([&self.configuration, &self.socket])
                .env("SWITCHOVER_HOST", self.name)
                .stdin(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()?;
            let started = Instant::now();
            while started.elapsed() < START && child.try_wait()?.is_none() {
                if self.report().await.is_ok() {
                    *running = Some(child);
                    return Ok(());
                }
                tokio::time::sleep(PAUSE).await;
            }
            end(&mut child)?;
        }
        bail!("the host {} does not start", self.name)
    }

    /// SIGKILL. Returns once it is gone.
    pub(crate) async fn kill(&self) -> Result<()> {
        self.child.lock().await.take().map_or(Ok(()), |mut child| end(&mut child))
    }

    /// Lets it end in an orderly way. Returns once it has ended.
    pub(crate) async fn stop(&self) -> Result<()> {
        let Some(mut child) = self.child.lock().await.take() else { return Ok(()) };
        drop(child.stdin.take());
        let give_up = Instant::now() + PATIENCE;
        while Instant::now() < give_up {
            if child.try_wait()?.is_some() {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
        end(&mut child)?;
        bail!("the host {} does not end", self.name)
    }

    /// SIGSTOP.
    pub(crate) async fn pause(&self) -> Result<()> {
        self.signal("STOP").await
    }

    /// SIGCONT.
    pub(crate) async fn resume(&self) -> Result<()> {
        self.signal("CONT").await
    }

    pub(crate) async fn report(&self) -> Result<Report> {
        self.remote().report().await
    }

    async fn signal(&self, signal: &str) -> Result<()> {
        let child = self.child.lock().await;
        let id = child.as_ref().context("the host is gone")?.id();
        let sent = Command::new("kill").args([format!("-{signal}"), id.to_string()]).status()?;
        ensure!(sent.success(), "kill -{signal} failed");
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = self.child.get_mut() {
            let _gone_already = end(child);
        }
    }
}

fn end(child: &mut Child) -> Result<()> {
    child.kill()?;
    child.wait()?;
    Ok(())
}
