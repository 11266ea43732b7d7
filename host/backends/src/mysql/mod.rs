//! Sessions on a MySQL or MariaDB server.

mod batch;
mod character_sets;
mod connection;
mod control;
mod errors;
mod feeds;
mod others;
mod schema;
mod side_tables;
mod statements;
mod statistics;

use std::sync::Arc;

use sqlx::ConnectOptions as _;
use sqlx::mysql::MySqlConnectOptions;
use switchover_core::capabilities::{DatabaseError, Endpoint};

use self::connection::Connection;
pub(crate) use self::control::MySqlControl;
use self::others::Columns;
use self::statements::Statements;
use super::address::Shape;
use super::server::{Driver, Options, Server, ServerBuilder};
use crate::others::Shared;

const SHAPE: Shape = Shape {
    schemes: &["mysql", "mariadb"],
    example: "mysql://USER:PASSWORD@HOST:3306/DATABASE",
    parameters: &["ssl-mode", "ssl-ca", "ssl-cert", "ssl-key", "socket"],
    choices: &[("ssl-mode", &["DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY"])],
};

/// Databases on MySQL servers, 8.0 or newer, and MariaDB servers, 10.6 or newer. The table's engine must be InnoDB.
///
/// ```no_run
/// # use switchover_backends::MySql;
/// # async fn open() -> Result<(), switchover_core::capabilities::DatabaseError> {
/// let database = MySql::connect("mysql://app:secret@db-2:3306/app?ssl-mode=VERIFY_IDENTITY").await?;
/// let by_socket =
///     MySql::builder("mysql://app@localhost/app?socket=/run/mysqld/mysqld.sock").table("sessions").connect().await?;
/// # Ok(()) }
/// ```
///
/// The address is a URL with the parameters `ssl-mode` (`DISABLED`, `PREFERRED`, `REQUIRED`, `VERIFY_CA`,
/// `VERIFY_IDENTITY`), `ssl-ca`, `ssl-cert`, `ssl-key` and `socket`. Any other parameter is refused. TLS uses rustls
/// with the system's certificates.
///
/// - **Time.** `datetime(6)` has no time zone: the table holds UTC, as Django writes it with `USE_TZ = True`. A project
///   with `USE_TZ = False` stores local time and cannot share its table.
/// - **Keys.** The usual collations treat `ABC` and `abc` as equal. The host compares every key byte for byte, so it
///   never reads, changes or deletes the row of another key. But a table with such a collation holds only one of the
///   two keys, and an upsert of one replaces the other.
#[derive(Debug)]
pub struct MySql;

impl MySql {
    /// Connects with the default of every option.
    ///
    /// # Errors
    ///
    /// Those of [`ServerBuilder::connect`].
    pub async fn connect(url: impl Into<String>) -> Result<Server, DatabaseError> {
        Self::builder(url).connect().await
    }

    /// Options for the server at `url`.
    pub fn builder(url: impl Into<String>) -> ServerBuilder {
        ServerBuilder::of::<MySqlDriver>(url)
    }
}

/// The options of an address, which is checked here and never repeated.
fn address_of(url: &str) -> Result<MySqlConnectOptions, DatabaseError> {
    let wrong = |message| DatabaseError::Invalid { message };
    SHAPE.check(url).map_err(wrong)?;
    // The parser's own message may contain the address.
    let address: MySqlConnectOptions = url.parse().map_err(|_| wrong(SHAPE.invalid()))?;
    if address.get_database().is_none() {
        return Err(wrong(SHAPE.invalid()));
    }
    Ok(address.disable_statement_logging())
}

fn place_of(address: &MySqlConnectOptions) -> String {
    let place = match address.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", address.get_host(), address.get_port()),
    };
    format!("mysql at {place}, database {}", address.get_database().unwrap_or_default())
}

struct MySqlDriver {
    address: MySqlConnectOptions,
    statements: Arc<Shared<Statements>>,
    options: Options,
}

impl Driver for MySqlDriver {
    type Link = Connection;

    const HAS_SIDE_TABLES: bool = true;

    fn new(url: &str, options: Options) -> Result<Self, DatabaseError> {
        let address = address_of(url)?;
        let statements = Statements::of(&options.table, Columns::default(), &options.application_name);
        let statements = Arc::new(Shared::new(statements));
        Ok(Self { address, statements, options })
    }

    fn summary(&self) -> String {
        format!("{}, table {}", place_of(&self.address), self.options.table.table)
    }

    fn endpoint(&self) -> Endpoint {
        let (address, table) = (&self.address, &self.options.table.table);
        // Here a schema is a database.
        let database = table.schema().or(address.get_database()).unwrap_or_default();
        let endpoint = Endpoint::of("mysql").namespace(database).collection(table.name());
        match address.get_socket() {
            Some(socket) => endpoint.server(socket.display().to_string(), None),
            None => endpoint.server(address.get_host(), Some(address.get_port())),
        }
    }

    async fn connect(&self) -> Result<Connection, DatabaseError> {
        Connection::open(&self.address, &self.statements, &self.options).await
    }
}
