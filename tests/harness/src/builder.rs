//! The options of a server.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;

use crate::certificates::Certificates;
use crate::keeper::Keeper;
use crate::kind::Kind;
use crate::options::{Durability, Options};
use crate::programs::ordinary_user;
use crate::server::Server;
use crate::site::{Site, run};

/// Starts a server with options.
///
/// ```no_run
/// # async fn example() -> anyhow::Result<()> {
/// use switchover_harness::{Certificates, Durability, Postgres};
///
/// let certificates = Certificates::generate()?;
/// let server = Postgres::builder()
///     .durability(Durability::Fast)
///     .connections(20)
///     .tls(&certificates)
///     .setting("log_statement", "all")
///     .start()
///     .await?;
/// println!("{}", server.tls_url()?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "nothing runs before `start`"]
pub struct Builder {
    kind: &'static dyn Kind,
    options: Options,
}

impl Builder {
    pub(crate) fn new(kind: &'static dyn Kind) -> Builder {
        let settings = Vec::new();
        let options = Options { durability: Durability::Durable, connections: 200, tls: None, settings };
        Builder { kind, options }
    }

    /// Sets what a commit promises; the default is [`Durability::Durable`]. For Redis, which keeps nothing, it makes no
    /// difference.
    pub fn durability(mut self, durability: Durability) -> Builder {
        self.options.durability = durability;
        self
    }

    /// Sets how many connections the server accepts at a time; the default is 200.
    pub fn connections(mut self, connections: u32) -> Builder {
        self.options.connections = connections;
        self
    }

    /// Offers TLS beside plain connections, with these certificates. [`Server::tls_url`] is the address. Redis uses a
    /// separate port for TLS.
    pub fn tls(mut self, certificates: &Certificates) -> Builder {
        self.options.tls = Some(certificates.clone());
        self
    }

    /// Sets any setting of the server, by its name in the server's own configuration. It overrides the harness's.
    pub fn setting(mut self, name: &str, value: &str) -> Builder {
        self.options.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the server, and returns when it answers.
    ///
    /// Dropping this future ends what was started.
    ///
    /// # Errors
    ///
    /// If a program is missing: the error says what to install. If the server does not start: the error has the end of
    /// its log.
    pub async fn start(self) -> anyhow::Result<Server> {
        let Builder { kind, options } = self;
        let programs = kind.programs().with_context(|| format!("{} cannot be started", kind.name()))?;
        let user = ordinary_user(kind.users())?;
        let temporary = tempfile::Builder::new().prefix("switchover-").tempdir().context("no temporary folder")?;
        let (folder, data) = (temporary.path().to_owned(), temporary.path().join("data"));
        let mut site = Site { programs, user, folder, data, port: 0, tls_port: 0, options };
        site.take_ports()?;
        lay_out(&site)?;
        // From here on, everything that runs in the folder ends with this process.
        let keeper = Keeper::start(&site)?;
        if let Some(command) = kind.initialise(&site) {
            let output = run(command, crate::server::deadline()).await?;
            anyhow::ensure!(
                output.status.success(),
                "{} could not make its data folder:\n{}{}",
                kind.name(),
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        let mut server = Server::new(kind, site, keeper, temporary);
        server.start_at_any_port().await?;
        Ok(server)
    }
}

fn lay_out(site: &Site) -> anyhow::Result<()> {
    fs::create_dir(&site.data)?;
    let mut files: Vec<(PathBuf, &str)> = vec![(site.log(), "")];
    if let Some(tls) = &site.options.tls {
        for (name, text) in [("ca.pem", tls.authority()), ("server.pem", tls.certificate()), ("server.key", tls.key())]
        {
            files.push((site.folder.join(name), text));
        }
    }
    for (path, text) in files {
        fs::write(&path, text)?;
        site.give(&path)?;
    }
    site.give(&site.data)?;
    site.give(&site.folder)
}
