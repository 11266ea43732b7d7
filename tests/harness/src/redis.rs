//! Redis, or Valkey in its place.

use std::path::PathBuf;
use std::process::{Command, Output};

use tokio::sync::OnceCell;

use crate::builder::Builder;
use crate::kind::Kind;
use crate::options::DATABASES;
use crate::programs::{Programs, Search};
use crate::server::Server;
use crate::site::{Site, in_query};

/// Redis, or Valkey where there is no Redis: no password, nothing on disk, 1,024 logical databases.
///
/// So it is empty after a restart; `.setting("appendonly", "yes").setting("appendfsync", "always")` changes that. The
/// harness looks for its binaries in the folder `SWITCHOVER_REDIS_BIN`, in `PATH`, and in `/usr/bin`.
#[derive(Clone, Copy, Debug)]
pub struct Redis;

impl Redis {
    /// Starts a server with the usual options, in some tens of milliseconds.
    ///
    /// # Errors
    ///
    /// If a program is missing: the error says what to install. If the server does not start: the error has the end of
    /// its log.
    pub async fn start() -> anyhow::Result<Server> {
        Redis::builder().start().await
    }

    /// Returns a builder, for a server with other options.
    pub fn builder() -> Builder {
        Builder::new(&Redis)
    }

    /// Returns the one server that all tests of this process share. The first caller starts it; it ends with the
    /// process. Take your own database, leave the server as it is, and do not `FLUSHALL`.
    ///
    /// # Errors
    ///
    /// As [`Redis::start`]. The next caller tries again.
    pub async fn shared() -> anyhow::Result<&'static Server> {
        static SHARED: OnceCell<Server> = OnceCell::const_new();
        SHARED.get_or_try_init(Redis::start).await
    }
}

impl Kind for Redis {
    fn name(&self) -> &'static str {
        "Redis"
    }

    fn users(&self) -> &'static [&'static str] {
        &["redis", "valkey", "nobody"]
    }

    fn programs(&self) -> anyhow::Result<Programs> {
        let search = Search::new("SWITCHOVER_REDIS_BIN", "redis-server");
        let server = search.program(&["redis-server", "valkey-server"])?;
        Ok(Programs { server, setup: None, client: search.program(&["redis-cli", "valkey-cli"])? })
    }

    fn initialise(&self, _: &Site) -> Option<Command> {
        None
    }

    fn serve(&self, site: &Site) -> Command {
        let options = &site.options;
        let mut command = site.command(&site.programs.server);
        let mut set = |name: &str, value: &str| {
            command.arg(format!("--{name}")).arg(value);
        };
        set("dir", &site.data.to_string_lossy());
        set("bind", "127.0.0.1");
        set("port", &site.port.to_string());
        set("unixsocket", &socket(site).to_string_lossy());
        set("maxclients", &options.connections.to_string());
        set("databases", &DATABASES.to_string());
        set("save", "");
        set("appendonly", "no");
        if options.tls.is_some() {
            set("tls-port", &site.tls_port.to_string());
            set("tls-auth-clients", "no");
            set("tls-ca-cert-file", &site.folder.join("ca.pem").to_string_lossy());
            set("tls-cert-file", &site.folder.join("server.pem").to_string_lossy());
            set("tls-key-file", &site.folder.join("server.key").to_string_lossy());
        }
        for (name, value) in &options.settings {
            set(name, value);
        }
        command
    }

    fn ask(&self, site: &Site) -> Command {
        let mut command = site.command(&site.programs.client);
        command.arg("-s").arg(socket(site)).arg("PING");
        command
    }

    fn answered(&self, output: &Output) -> bool {
        output.stdout.trim_ascii() == b"PONG"
    }

    fn stop_signal(&self) -> &'static str {
        "TERM"
    }

    fn first_database(&self) -> &'static str {
        "0"
    }

    fn create_database(&self, _: &Site, _: &str) -> Option<Command> {
        None
    }

    fn url(&self, site: &Site, database: &str) -> String {
        format!("redis://{}/{database}", site.address())
    }

    fn tls_url(&self, site: &Site, database: &str) -> String {
        format!("rediss://127.0.0.1:{}/{database}", site.tls_port)
    }

    fn socket_url(&self, site: &Site, database: &str) -> String {
        format!("redis+unix://{}?db={database}", in_query(&socket(site)))
    }
}

fn socket(site: &Site) -> PathBuf {
    site.folder.join("socket")
}
