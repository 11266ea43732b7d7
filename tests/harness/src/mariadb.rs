//! MariaDB.

use std::path::PathBuf;
use std::process::{Command, Output};

use tokio::sync::OnceCell;

use crate::builder::Builder;
use crate::kind::Kind;
use crate::options::Durability;
use crate::programs::{Programs, Search};
use crate::server::Server;
use crate::site::{Site, in_query};

/// MariaDB: `root` without a password, and the database `test`. There is no binary log, and text is `utf8mb4`.
///
/// The harness looks for its binaries in the folder `SWITCHOVER_MARIADB_BIN`, in `PATH`, and in `/usr/bin` and
/// `/usr/sbin`.
#[derive(Clone, Copy, Debug)]
pub struct MariaDb;

impl MariaDb {
    /// Starts a server with the usual options, in about a second.
    ///
    /// # Errors
    ///
    /// If a program is missing: the error says what to install. If the server does not start: the error has the end of
    /// its log.
    pub async fn start() -> anyhow::Result<Server> {
        MariaDb::builder().start().await
    }

    /// Returns a builder, for a server with other options.
    pub fn builder() -> Builder {
        Builder::new(&MariaDb)
    }

    /// Returns the one server that all tests of this process share. The first caller starts it; it ends with the
    /// process. Create your own database, and leave the server as it is.
    ///
    /// # Errors
    ///
    /// As [`MariaDb::start`]. The next caller tries again.
    pub async fn shared() -> anyhow::Result<&'static Server> {
        static SHARED: OnceCell<Server> = OnceCell::const_new();
        SHARED.get_or_try_init(MariaDb::start).await
    }
}

impl Kind for MariaDb {
    fn name(&self) -> &'static str {
        "MariaDB"
    }

    fn users(&self) -> &'static [&'static str] {
        &["mysql", "nobody"]
    }

    fn programs(&self) -> anyhow::Result<Programs> {
        let search = Search::new("SWITCHOVER_MARIADB_BIN", "mariadb-server");
        let setup = Some(search.program(&["mariadb-install-db"])?);
        Ok(Programs { server: search.program(&["mariadbd"])?, setup, client: search.program(&["mariadb"])? })
    }

    fn initialise(&self, site: &Site) -> Option<Command> {
        let mut command = site.command(site.programs.setup.as_ref()?);
        command.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
        // As with `initdb --no-sync`: nothing is promised yet, and flushes take seconds on a busy disk.
        command.args(["--skip-name-resolve", "--innodb-log-file-size=16M", "--debug-no-sync"]);
        command.arg(format!("--datadir={}", site.data.display()));
        command.arg(format!("--tmpdir={}", site.folder.display()));
        Some(command)
    }

    fn serve(&self, site: &Site) -> Command {
        let options = &site.options;
        let mut command = site.command(&site.programs.server);
        command.arg("--no-defaults");
        let mut set = |name: &str, value: &str| {
            command.arg(format!("--{name}={value}"));
        };
        set("datadir", &site.data.to_string_lossy());
        // A starting server removes everything there that looks like a temporary table, also another server's.
        set("tmpdir", &site.folder.to_string_lossy());
        set("socket", &socket(site).to_string_lossy());
        set("pid-file", &site.folder.join("pid").to_string_lossy());
        set("port", &site.port.to_string());
        set("bind-address", "127.0.0.1");
        set("skip-name-resolve", "ON");
        set("max-connections", &options.connections.to_string());
        set("character-set-server", "utf8mb4");
        set("collation-server", "utf8mb4_general_ci");
        // A large log takes longer to make than the rest of the start.
        set("innodb-log-file-size", "16M");
        match options.durability {
            Durability::Durable => set("innodb-flush-log-at-trx-commit", "1"),
            Durability::Fast => {
                set("innodb-flush-log-at-trx-commit", "0");
                set("innodb-doublewrite", "0");
            }
        }
        if options.tls.is_some() {
            set("ssl-ca", &site.folder.join("ca.pem").to_string_lossy());
            set("ssl-cert", &site.folder.join("server.pem").to_string_lossy());
            set("ssl-key", &site.folder.join("server.key").to_string_lossy());
        }
        for (name, value) in &options.settings {
            set(name, value);
        }
        command
    }

    fn ask(&self, site: &Site) -> Command {
        client(site, "CREATE DATABASE IF NOT EXISTS test; SELECT 1")
    }

    fn answered(&self, output: &Output) -> bool {
        output.stdout.trim_ascii() == b"1"
    }

    fn stop_signal(&self) -> &'static str {
        "TERM"
    }

    fn first_database(&self) -> &'static str {
        "test"
    }

    fn create_database(&self, site: &Site, name: &str) -> Option<Command> {
        Some(client(site, &format!("CREATE DATABASE `{name}`")))
    }

    fn url(&self, site: &Site, database: &str) -> String {
        format!("mysql://root@{}/{database}", site.address())
    }

    fn tls_url(&self, site: &Site, database: &str) -> String {
        let authority = in_query(&site.folder.join("ca.pem"));
        format!("{}?ssl-mode=VERIFY_IDENTITY&ssl-ca={authority}", self.url(site, database))
    }

    fn socket_url(&self, site: &Site, database: &str) -> String {
        format!("mysql://root@localhost/{database}?socket={}", in_query(&socket(site)))
    }
}

fn socket(site: &Site) -> PathBuf {
    site.folder.join("socket")
}

fn client(site: &Site, statement: &str) -> Command {
    let mut command = site.command(&site.programs.client);
    command.args(["--no-defaults", "--user=root", "--connect-timeout=2", "-NB"]);
    command.arg(format!("--socket={}", socket(site).display())).args(["-e", statement]);
    command
}
