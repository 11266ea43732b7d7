//! Where a database or a cache is, for traces.

/// Where a database or a cache is, in the words of OpenTelemetry's
/// [conventions for databases](https://opentelemetry.io/docs/specs/semconv/db/). It has no user and no password.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Endpoint {
    /// `db.system.name`: `postgresql`, `mysql`, `sqlite`, `redis`, or `memory` for the memory of this process.
    pub system: &'static str,
    /// `db.namespace`: the database on the server, or the path of the file.
    pub namespace: Option<String>,
    /// `db.collection.name`: the table.
    pub collection: Option<String>,
    /// `server.address`: the host, or the path of the socket.
    pub address: Option<String>,
    /// `server.port`.
    pub port: Option<u16>,
}

impl Endpoint {
    /// An endpoint of this system, of which nothing else is known.
    pub fn of(system: &'static str) -> Self {
        Self { system, namespace: None, collection: None, address: None, port: None }
    }

    /// With the database on the server, or the path of the file.
    #[must_use]
    pub fn namespace(self, name: impl Into<String>) -> Self {
        Self { namespace: Some(name.into()), ..self }
    }

    /// With the table.
    #[must_use]
    pub fn collection(self, name: impl Into<String>) -> Self {
        Self { collection: Some(name.into()), ..self }
    }

    /// With the host and port, or the path of the socket.
    #[must_use]
    pub fn server(self, address: impl Into<String>, port: Option<u16>) -> Self {
        Self { address: Some(address.into()), port, ..self }
    }
}
