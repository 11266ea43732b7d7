//! A running server: its addresses, and how to stop, kill, pause and restart it.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Child;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use crate::keeper::{Keeper, Order};
use crate::kind::Kind;
use crate::options::DATABASES;
use crate::site::{Site, run};

/// How long any step may take: a start under load with a recovery before it, or an orderly end.
const PATIENCE: Duration = Duration::from_secs(60);
/// The pause between two checks of a process.
const PAUSE: Duration = Duration::from_millis(10);
/// The pause between two questions to a starting server. Each question starts a client, which takes time from the
/// server.
const ASK_PAUSE: Duration = Duration::from_millis(30);

/// How many ports are tried, because another program may take a port first.
const PORTS_TRIED_MAX: usize = 5;

/// A real server of any kind, in a temporary folder, at a free port of 127.0.0.1 and a unix socket.
///
/// Its methods take `&self`, so one task can cause faults while others use the server. The methods run one after the
/// other. Dropping it kills the server, even if it is paused, and removes its folder; that blocks for some tens of
/// milliseconds. If the test's process dies in any way, the server's keeper, a small shell process, does the same.
pub struct Server {
    kind: &'static dyn Kind,
    pub(crate) site: Site,
    process: Mutex<Option<Child>>,
    keeper: Option<Keeper>,
    databases: AtomicU32,
    temporary: Option<TempDir>,
}

impl Server {
    pub(crate) fn new(kind: &'static dyn Kind, site: Site, keeper: Keeper, temporary: TempDir) -> Server {
        let databases = AtomicU32::new(1);
        let (process, keeper, temporary) = (Mutex::new(None), Some(keeper), Some(temporary));
        Server { kind, site, process, keeper, databases, temporary }
    }

    /// The port of 127.0.0.1 at which it listens. It stays the same after a restart.
    pub fn port(&self) -> u16 {
        self.site.port
    }

    /// Address and port at which it listens, for a [`Proxy`](crate::Proxy).
    pub fn address(&self) -> SocketAddr {
        self.site.address()
    }

    /// The address of its first database over TCP: `postgres://`, `mysql://` or `redis://`.
    pub fn url(&self) -> String {
        self.url_of(self.kind.first_database())
    }

    /// The address of a database over TCP. A database of Redis is a number.
    pub fn url_of(&self, database: &str) -> String {
        self.kind.url(&self.site, database)
    }

    /// The address of its first database through the unix socket, in the form of sqlx and of the crate `redis`.
    pub fn socket_url(&self) -> String {
        self.socket_url_of(self.kind.first_database())
    }

    /// The address of a database through the unix socket.
    pub fn socket_url_of(&self, database: &str) -> String {
        self.kind.socket_url(&self.site, database)
    }

    /// The address of its first database over TCP with TLS. The addresses of PostgreSQL and MariaDB require a
    /// certificate of the right authority for the right name. A client of Redis needs [`Server::authority`].
    ///
    /// # Errors
    ///
    /// If it was started without TLS.
    pub fn tls_url(&self) -> anyhow::Result<String> {
        self.tls_url_of(self.kind.first_database())
    }

    /// The address of a database over TCP with TLS.
    ///
    /// # Errors
    ///
    /// If it was started without TLS.
    pub fn tls_url_of(&self, database: &str) -> anyhow::Result<String> {
        self.authority()?;
        Ok(self.kind.tls_url(&self.site, database))
    }

    /// The file with the certificate that clients must trust, in PEM.
    ///
    /// # Errors
    ///
    /// If it was started without TLS.
    pub fn authority(&self) -> anyhow::Result<PathBuf> {
        ensure!(self.site.options.tls.is_some(), "{} was started without `Builder::tls`", self.kind.name());
        Ok(self.site.folder.join("ca.pem"))
    }

    /// The folder with its data, its socket and its log. Dropping the server removes it.
    pub fn folder(&self) -> PathBuf {
        self.site.folder.clone()
    }

    /// Everything that the server has printed since it was created.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.site.log()).unwrap_or_default()).into_owned()
    }

    /// Creates a database and returns its address over TCP, so that tests can share a server. For Redis this is the
    /// next free logical database, whatever the name.
    ///
    /// # Errors
    ///
    /// If the name has characters other than ASCII letters, digits and `_`, if the database exists, if the server does
    /// not answer, or if Redis has no logical database left.
    pub async fn create_database(&self, name: &str) -> anyhow::Result<String> {
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        ensure!(plain && !name.is_empty(), "`{name}` is not a name of a database: use ASCII letters, digits and `_`");
        let Some(command) = self.kind.create_database(&self.site, name) else {
            let number = self.databases.fetch_add(1, Ordering::Relaxed);
            ensure!(number < DATABASES, "all {DATABASES} logical databases of this server are taken");
            return Ok(self.url_of(&number.to_string()));
        };
        let output = run(command, deadline()).await?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "{} could not create the database `{name}`: {}",
            self.kind.name(),
            said.trim()
        );
        Ok(self.url_of(name))
    }

    /// Shuts the server down in an orderly way, and returns when it has ended. Resumes a paused server first. Does
    /// nothing if the server does not run.
    ///
    /// # Errors
    ///
    /// If it does not end within a minute.
    pub async fn stop(&self) -> anyhow::Result<()> {
        self.end(&mut *self.process.lock().await).await
    }

    /// Kills all processes of the server with SIGKILL, and returns when none is left. The data stay for
    /// [`Server::restart`].
    ///
    /// # Errors
    ///
    /// If a process could not be killed.
    pub async fn kill(&self) -> anyhow::Result<()> {
        let mut process = self.process.lock().await;
        self.order(Order::Kill).await?;
        if let Some(mut child) = process.take() {
            child.wait()?;
        }
        Ok(())
    }

    /// Stops all processes of the server with SIGSTOP, and returns when they stand still. Connections stay open, the
    /// kernel accepts new ones, and nothing answers.
    ///
    /// # Errors
    ///
    /// If it does not run, or a process could not be stopped.
    pub async fn pause(&self) -> anyhow::Result<()> {
        let process = self.process.lock().await;
        ensure!(process.is_some(), "{} does not run: `restart` it first", self.kind.name());
        self.order(Order::Pause).await
    }

    /// Lets all processes of the server continue after [`Server::pause`].
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub async fn resume(&self) -> anyhow::Result<()> {
        let process = self.process.lock().await;
        ensure!(process.is_some(), "{} does not run: `restart` it first", self.kind.name());
        self.order(Order::Resume).await
    }

    /// Starts the server again with the same data at the same port, and returns when it answers. Stops a running server
    /// first.
    ///
    /// # Errors
    ///
    /// If it does not start within a minute: the error has the end of its log.
    pub async fn restart(&self) -> anyhow::Result<()> {
        let mut process = self.process.lock().await;
        self.end(&mut process).await?;
        match self.serve(&mut process).await? {
            Started::Answers => Ok(()),
            Started::PortTaken => bail!("another program has taken port {} in the meantime", self.site.port),
        }
    }

    pub(crate) async fn start_at_any_port(&mut self) -> anyhow::Result<()> {
        for _ in 0..PORTS_TRIED_MAX {
            let mut process = self.process.lock().await;
            if let Started::Answers = self.serve(&mut process).await? {
                return Ok(());
            }
            drop(process);
            self.site.take_ports()?;
        }
        bail!("{} found {PORTS_TRIED_MAX} ports taken that were free just before", self.kind.name())
    }

    /// Starts the process, and asks it through its socket until it answers. Only this server can answer there.
    async fn serve(&self, process: &mut Option<Child>) -> anyhow::Result<Started> {
        let deadline = deadline();
        let before = self.log().len();
        let log = File::options().append(true).open(self.site.log())?;
        let mut command = self.kind.serve(&self.site);
        command.stdout(log.try_clone()?).stderr(log);
        let child = process.insert(command.spawn().with_context(|| format!("cannot start {}", self.kind.name()))?);
        loop {
            if let Some(status) = child.try_wait()? {
                *process = None;
                if self.log().get(before..).is_some_and(|said| said.contains("Address already in use")) {
                    return Ok(Started::PortTaken);
                }
                bail!("{} ended at once, {status}; the end of its log:\n{}", self.kind.name(), self.log_end());
            }
            let output = run(self.kind.ask(&self.site), deadline).await?;
            if self.kind.answered(&output) {
                return Ok(Started::Answers);
            }
            if Instant::now() >= deadline {
                bail!("{} does not answer; the end of its log:\n{}", self.kind.name(), self.log_end());
            }
            sleep(ASK_PAUSE).await;
        }
    }

    async fn end(&self, process: &mut Option<Child>) -> anyhow::Result<()> {
        let Some(child) = process else { return Ok(()) };
        if child.try_wait()?.is_none() {
            self.order(Order::Resume).await?;
            self.order(Order::Signal(self.kind.stop_signal(), child.id())).await?;
        }
        let deadline = deadline();
        while child.try_wait()?.is_none() {
            ensure!(Instant::now() < deadline, "{} does not end:\n{}", self.kind.name(), self.log_end());
            sleep(PAUSE).await;
        }
        *process = None;
        Ok(())
    }

    async fn order(&self, order: Order) -> anyhow::Result<()> {
        self.keeper.as_ref().context("the server is being dropped")?.order(order).await
    }

    fn log_end(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

enum Started {
    Answers,
    PortTaken,
}

pub(crate) fn deadline() -> Instant {
    Instant::now() + PATIENCE
}

impl Drop for Server {
    fn drop(&mut self) {
        // The keeper is dropped first: it kills the process that this waits for next.
        drop(self.keeper.take());
        if let Some(mut child) = self.process.get_mut().take() {
            let _ = child.wait();
        }
        // The keeper has removed the folder, unless only this process may write beside it.
        drop(self.temporary.take());
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {}", self.kind.name(), self.site.address())
    }
}
