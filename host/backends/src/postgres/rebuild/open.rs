//! Finds the table, its key and its columns.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor as _};
use switchover_core::Table;
use switchover_core::capabilities::DatabaseError;

use super::names::Names;
use super::{Bind, Rebuild, bound, column, error_of, invalid};
use crate::postgres::errors::unavailable;
use crate::postgres::{address_of, place_of};

/// A step waits this long for the lock of another copier, and never for an application.
const SETTINGS: &str = "SET default_transaction_isolation = 'read committed'; SET synchronous_commit = on; \
                        SET lock_timeout = '2s'; SET statement_timeout = '60s'; \
                        SET idle_in_transaction_session_timeout = '60s'";
/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What stands in the table.
pub(super) struct Shape {
    /// The column of the key, in quotes.
    pub(super) key: String,
    /// Its type, as SQL writes it.
    pub(super) key_type: String,
    /// Every column, in quotes.
    pub(super) columns: Vec<String>,
    /// Those that an insert may fill.
    pub(super) filled: Vec<String>,
}

impl Rebuild {
    /// Connects, and finds the table by its name, as an operator writes it.
    ///
    /// # Errors
    ///
    /// The address is wrong, the server does not answer, or there is no such table with a key of one column.
    pub async fn open(url: &str, table: &Table) -> Result<Self, DatabaseError> {
        let address = address_of(url, "switchover move")?;
        let connected = tokio::time::timeout(PATIENCE, PgConnection::connect_with(&address)).await;
        let mut connection = connected.map_err(|_| DatabaseError::Timeout)?.map_err(|error| unavailable(&error))?;
        connection.execute(sqlx::raw_sql(SETTINGS)).await.map_err(|error| unavailable(&error))?;
        let (schema, name) = found(&mut connection, table).await?;
        let names = Names::of(&schema, &name);
        let shape = shape(&mut connection, &names, table).await?;
        Ok(Self { connection, names, shape, place: format!("{}, table {table}", place_of(&address)) })
    }
}

async fn found(connection: &mut PgConnection, table: &Table) -> Result<(String, String), DatabaseError> {
    let sql = "SELECT n.nspname::text, c.relname::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace \
               WHERE c.oid = to_regclass($1)";
    let name = table.quoted('"');
    let row =
        bound(sql, &[Bind::Text(Some(&name))]).fetch_optional(connection).await.map_err(|error| error_of(&error))?;
    let row = row.ok_or_else(|| invalid(format!("there is no table {table}: check the name and the schema")))?;
    Ok((column(&row, 0)?, column(&row, 1)?))
}

async fn shape(connection: &mut PgConnection, names: &Names, table: &Table) -> Result<Shape, DatabaseError> {
    let sql = "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), a.attgenerated <> '', \
                      EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = a.attrelid AND i.indisprimary \
                              AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum) \
               FROM pg_attribute AS a \
               WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";
    let bind = [Bind::Text(Some(&names.table))];
    let rows = bound(sql, &bind).fetch_all(connection).await.map_err(|error| error_of(&error))?;
    let (mut key, mut columns, mut filled) = (None, Vec::new(), Vec::new());
    for row in &rows {
        let name = Table::quote(column(row, 0)?, '"');
        if column(row, 3)? {
            key = Some((name.clone(), column(row, 1)?));
        }
        if !column::<bool>(row, 2)? {
            filled.push(name.clone());
        }
        columns.push(name);
    }
    let (key, key_type) = key.ok_or_else(|| {
        invalid(format!("{table} has no primary key of one column, so its rows cannot be told apart: give it one"))
    })?;
    Ok(Shape { key, key_type, columns, filled })
}
