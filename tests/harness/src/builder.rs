//! How a server is to run.

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

/// A server to be started, with options.
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

    /// What a commit promises; without this [`Durability::Durable`]. Redis, which keeps nothing, knows no difference.
    pub fn durability(mut self, durability: Durability) -> Builder {
        self.options.durability = durability;
        self
    }

    /// How many connections the server takes at a time; without this 200.
    pub fn connections(mut self, connections: u32) -> Builder {
        self.options.connections = connections;
        self
    }

    /// Offers TLS beside plain connections, with these certificates; [`Server::tls_url`] is the address. Redis has a
    /// port of its own for it.
    pub fn tls(mut self, certificates: &Certificates) -> Builder {
        self.options.tls = Some(certificates.clone());
        self
    }

    /// Any setting of the server by the name that its own configuration has for it. It wins over the harness's.
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
    /// If a program is missing, with what to install, or the server does not start, with the end of its log.
    pub async fn start(self) -> anyhow::Result<Server> {
        let Builder { kind, options } = self;
        let programs = kind.programs().with_context(|| format!("{} cannot be started", kind.name()))?;
        let user = ordinary_user(kind.users())?;
        let temporary = tempfile::Builder::new().prefix("switchover-").tempdir().context("no temporary folder")?;
        let (folder, data) = (temporary.path().to_owned(), temporary.path().join("data"));
        let mut site = Site { programs, user, folder, data, port: 0, tls_port: 0, options };
        site.take_ports()?;
        lay_out(&site)?;
        // From here on whatever runs in the folder ends with this process.
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
