//! Sessions on a PostgreSQL server.

mod batch;
mod clock;
mod connection;
mod control;
mod errors;
mod feeds;
mod functions;
mod moves;
mod others;
mod pooler;
mod schema;
mod statements;
mod statistics;
mod types;

use std::sync::Arc;

use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;
use switchover_core::capabilities::{DatabaseError, Endpoint};

use self::connection::Connection;
pub(crate) use self::control::PostgresControl;
pub use self::moves::{Rebuild, Transfer};
use self::statements::Statements;
use super::address::Shape;
use super::server::{Driver, Options, Server, ServerBuilder};
use crate::others::Shared;

const SHAPE: Shape = Shape {
    schemes: &["postgres", "postgresql"],
    example: "postgres://USER:PASSWORD@HOST:5432/DATABASE",
    parameters: &[
        "sslmode",
        "sslrootcert",
        "sslcert",
        "sslkey",
        "host",
        "hostaddr",
        "port",
        "user",
        "password",
        "dbname",
        "application_name",
        "options",
    ],
    choices: &[("sslmode", &["disable", "allow", "prefer", "require", "verify-ca", "verify-full"])],
};

/// Databases on PostgreSQL servers, 12 or newer.
///
/// ```no_run
/// # use switchover_backends::Postgres;
/// # async fn open() -> Result<(), switchover_core::capabilities::DatabaseError> {
/// let database = Postgres::connect("postgres://app:secret@db-1:5432/app?sslmode=verify-full").await?;
/// let by_socket =
///     Postgres::builder("postgres://app@%2Fvar%2Frun%2Fpostgresql/app").table("sessions").connect().await?;
/// # Ok(()) }
/// ```
///
/// The address is a URL as `psql` takes it, with the parameters `sslmode` (`disable`, `allow`, `prefer`, `require`,
/// `verify-ca`, `verify-full`), `sslrootcert`, `sslcert`, `sslkey`, `host` (a folder: a unix socket), `hostaddr`,
/// `port`, `user`, `password`, `dbname`, `application_name` and `options`. Any other parameter is refused. If the
/// address has no password, it is taken from `PGPASSWORD` or `~/.pgpass`. TLS uses rustls with the system's
/// certificates.
///
/// A connection pooler works in session mode. One in transaction mode keeps neither prepared statements nor the
/// settings of a connection. Opening the database detects such a pooler and fails, before any setting is made that
/// other clients of the pooler would get.
#[derive(Debug)]
pub struct Postgres;

impl Postgres {
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
        ServerBuilder::of::<PostgresDriver>(url)
    }
}

/// The options of an address, which is checked here and never repeated.
fn address_of(url: &str, application_name: &str) -> Result<PgConnectOptions, DatabaseError> {
    let wrong = |message| DatabaseError::Invalid { message };
    SHAPE.check(url).map_err(wrong)?;
    // The parser's own message may contain the address.
    let address: PgConnectOptions = url.parse().map_err(|_| wrong(SHAPE.invalid()))?;
    let name = address.get_application_name().unwrap_or(application_name).to_owned();
    // A pooler refuses parameters that it does not know, and sessions contain no floating-point numbers.
    Ok(address.application_name(&name).disable_statement_logging().extra_float_digits(None))
}

fn place_of(address: &PgConnectOptions) -> String {
    let place = match address.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", address.get_host(), address.get_port()),
    };
    format!("postgres at {place}, database {}", address.get_database().unwrap_or(address.get_username()))
}

struct PostgresDriver {
    address: PgConnectOptions,
    statements: Arc<Shared<Statements>>,
    options: Options,
}

impl Driver for PostgresDriver {
    type Link = Connection;

    const HAS_SIDE_TABLES: bool = true;

    fn new(url: &str, options: Options) -> Result<Self, DatabaseError> {
        let address = address_of(url, &options.application_name)?;
        let statements = Arc::new(Shared::new(Statements::of(&options.table, Vec::new())));
        Ok(Self { address, statements, options })
    }

    fn summary(&self) -> String {
        format!("{}, table {}", place_of(&self.address), self.options.table.table)
    }

    fn endpoint(&self) -> Endpoint {
        let (address, table) = (&self.address, &self.options.table.table);
        let database = address.get_database().unwrap_or(address.get_username());
        // The conventions join the two where the schema is known.
        let namespace = table.schema().map_or_else(|| database.to_owned(), |schema| format!("{database}|{schema}"));
        let endpoint = Endpoint::of("postgresql").namespace(namespace).collection(table.name());
        match address.get_socket() {
            Some(socket) => endpoint.server(socket.display().to_string(), None),
            None => endpoint.server(address.get_host(), Some(address.get_port())),
        }
    }

    async fn check(&self) -> Result<(), DatabaseError> {
        pooler::refuse_in_transaction_mode(&self.address).await
    }

    async fn connect(&self) -> Result<Connection, DatabaseError> {
        Connection::open(&self.address, &self.statements, &self.options).await
    }
}
