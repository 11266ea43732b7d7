//! PostgreSQL.

use std::fs;
use std::process::{Command, Output};

use anyhow::ensure;
use tokio::sync::OnceCell;

use crate::builder::Builder;
use crate::kind::Kind;
use crate::options::Durability;
use crate::programs::{Programs, Search};
use crate::server::{Server, deadline};
use crate::site::{Site, in_query, run};

/// PostgreSQL: the superuser `postgres` without a password, and the database `postgres`.
///
/// The harness looks for its binaries in the folder `SWITCHOVER_POSTGRES_BIN`, in `PATH`, and in
/// `/usr/lib/postgresql/*/bin`.
#[derive(Clone, Copy, Debug)]
pub struct Postgres;

impl Postgres {
    /// Starts a server with the usual options, in about a second.
    ///
    /// # Errors
    ///
    /// If a program is missing: the error says what to install. If the server does not start: the error has the end of
    /// its log.
    pub async fn start() -> anyhow::Result<Server> {
        Postgres::builder().start().await
    }

    /// Returns a builder, for a server with other options.
    pub fn builder() -> Builder {
        Builder::new(&Postgres)
    }

    /// Returns the one server that all tests of this process share. The first caller starts it; it ends with the
    /// process. Create your own database, and leave the server as it is.
    ///
    /// # Errors
    ///
    /// As [`Postgres::start`]. The next caller tries again.
    pub async fn shared() -> anyhow::Result<&'static Server> {
        static SHARED: OnceCell<Server> = OnceCell::const_new();
        SHARED.get_or_try_init(Postgres::start).await
    }
}

impl Server {
    /// Creates a role of PostgreSQL that may do nothing, and whose password the server asks for. Everybody else comes in
    /// without one.
    ///
    /// # Errors
    ///
    /// If the name or the password has characters other than ASCII letters and digits, or if the server does not answer.
    pub async fn create_role(&self, name: &str, password: &str) -> anyhow::Result<()> {
        let plain = [name, password].iter().all(|text| text.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        ensure!(plain, "use ASCII letters and digits for a role and its password");
        let access = self.site.data.join("pg_hba.conf");
        let before = fs::read_to_string(&access)?;
        fs::write(&access, format!("host all {name} all scram-sha-256\n{before}"))?;
        for statement in
            [format!("CREATE ROLE {name} LOGIN PASSWORD '{password}'"), "SELECT pg_reload_conf()".to_owned()]
        {
            let output = run(psql(&self.site, &statement), deadline()).await?;
            ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }
}

impl Kind for Postgres {
    fn name(&self) -> &'static str {
        "PostgreSQL"
    }

    fn users(&self) -> &'static [&'static str] {
        &["postgres", "nobody"]
    }

    fn programs(&self) -> anyhow::Result<Programs> {
        let search = Search::new("SWITCHOVER_POSTGRES_BIN", "postgresql");
        let folder = search.folder_with(&["postgres", "initdb", "psql"])?;
        let setup = Some(folder.join("initdb"));
        Ok(Programs { server: folder.join("postgres"), setup, client: folder.join("psql") })
    }

    fn initialise(&self, site: &Site) -> Option<Command> {
        let mut command = site.command(site.programs.setup.as_ref()?);
        command.args(["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "-D"]);
        command.arg(&site.data);
        Some(command)
    }

    fn serve(&self, site: &Site) -> Command {
        let options = &site.options;
        let (always, commit) = match options.durability {
            Durability::Durable => ("on", "on"),
            Durability::Fast => ("off", "off"),
        };
        let mut command = site.command(&site.programs.server);
        command.arg("-D").arg(&site.data);
        let mut set = |name: &str, value: &str| {
            command.arg("-c").arg(format!("{name}={value}"));
        };
        set("port", &site.port.to_string());
        set("listen_addresses", "127.0.0.1");
        set("unix_socket_directories", &site.folder.to_string_lossy());
        set("max_connections", &options.connections.to_string());
        set("fsync", always);
        set("full_page_writes", always);
        set("synchronous_commit", commit);
        // The other kinds of shared memory would stay in the system after a kill.
        set("dynamic_shared_memory_type", "mmap");
        if options.tls.is_some() {
            set("ssl", "on");
            set("ssl_cert_file", &site.folder.join("server.pem").to_string_lossy());
            set("ssl_key_file", &site.folder.join("server.key").to_string_lossy());
        }
        for (name, value) in &options.settings {
            set(name, value);
        }
        command
    }

    fn ask(&self, site: &Site) -> Command {
        psql(site, "SELECT 1")
    }

    fn answered(&self, output: &Output) -> bool {
        output.stdout.trim_ascii() == b"1"
    }

    fn stop_signal(&self) -> &'static str {
        "INT"
    }

    fn first_database(&self) -> &'static str {
        "postgres"
    }

    fn create_database(&self, site: &Site, name: &str) -> Option<Command> {
        Some(psql(site, &format!("CREATE DATABASE \"{name}\"")))
    }

    fn url(&self, site: &Site, database: &str) -> String {
        format!("postgres://postgres@{}/{database}", site.address())
    }

    fn tls_url(&self, site: &Site, database: &str) -> String {
        let authority = in_query(&site.folder.join("ca.pem"));
        format!("{}?sslmode=verify-full&sslrootcert={authority}", self.url(site, database))
    }

    fn socket_url(&self, site: &Site, database: &str) -> String {
        format!("postgres:///{database}?host={}&port={}&user=postgres", in_query(&site.folder), site.port)
    }
}

fn psql(site: &Site, statement: &str) -> Command {
    let mut command = site.command(&site.programs.client);
    command.env("PGCONNECT_TIMEOUT", "2").args(["--no-psqlrc", "-Atq", "-U", "postgres", "-d", "postgres", "-h"]);
    command.arg(&site.folder).args(["-p", &site.port.to_string(), "-c", statement]);
    command
}
