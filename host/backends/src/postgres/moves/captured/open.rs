//! Finds the table, its key and its columns.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor as _};
use switchover_core::Table;
use switchover_core::capabilities::DatabaseError;
use switchover_core::moves::Form;

use super::super::link::{Bind, Link, column, invalid};
use super::Captured;
use super::names::Names;
use crate::postgres::errors::unavailable;
use crate::postgres::{address_of, place_of};

/// A step waits this long for the lock of another copier, and never for an application.
const SETTINGS: &str = "SET default_transaction_isolation = 'read committed'; SET synchronous_commit = on; \
                        SET lock_timeout = '2s'; SET statement_timeout = '60s'; \
                        SET idle_in_transaction_session_timeout = '60s'";
/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What stands in the table.
#[derive(PartialEq, Eq)]
pub(in super::super) struct Shape {
    /// The column of the key, in quotes.
    pub(in super::super) key: String,
    /// Its type, as SQL writes it.
    pub(in super::super) key_type: String,
    /// Every column, in quotes.
    pub(in super::super) columns: Vec<String>,
    /// Their types, as SQL writes them.
    pub(in super::super) kinds: Vec<String>,
    /// Those that an insert may fill.
    pub(in super::super) filled: Vec<String>,
    /// Their types.
    pub(in super::super) filled_kinds: Vec<String>,
}

impl Shape {
    /// The condition of rows after a key. `$1` is the key, or is not looked at.
    pub(in super::super) fn after(&self, from: Option<&str>) -> String {
        match from {
            Some(_) => format!("{} > $1::{}", self.key, self.key_type),
            None => "$1::text IS NULL".to_owned(),
        }
    }
}

impl Captured {
    /// Connects, and finds the table by its name, as an operator writes it.
    ///
    /// # Errors
    ///
    /// The address is wrong, the server does not answer, or there is no such table with a key of one column.
    pub(in super::super) async fn open(url: &str, table: &Table, form: Form) -> Result<Self, DatabaseError> {
        let (mut link, place) = connected(url).await?;
        let (schema, name) = found(&mut link, table).await?;
        let names = Names::of(&schema, &name);
        // Where the table was, a seal or a bridge may be.
        let sealed = "SELECT (relkind IN ('v', 'f') OR relhassubclass) AND to_regclass($2) IS NOT NULL \
                      FROM pg_class WHERE oid = to_regclass($1)";
        let rows = link.rows(sealed, &[Bind::Text(Some(&names.table)), Bind::Text(Some(&names.old))]).await?;
        let is_sealed = rows.first().map_or(Ok(false), |row| column(row, 0))?;
        let shape = shape(&mut link, if is_sealed { &names.old } else { &names.table }).await?;
        Ok(Self { link, names, shape, form, place: format!("{place}, table {table}") })
    }

    /// Gives another table the owner and the rights of this one.
    pub(in super::super) async fn rights(&mut self, other: &str) -> Result<Vec<String>, DatabaseError> {
        let table = self.names.table.clone();
        let sql = "SELECT pg_get_userbyid(relowner)::text FROM pg_class WHERE oid = to_regclass($1)";
        let rows = self.link.rows(sql, &[Bind::Text(Some(&table))]).await?;
        let row = rows.first().ok_or_else(|| invalid("the table is gone"))?;
        let mut granted = vec![format!("ALTER TABLE {other} OWNER TO {}", Table::quote(column(row, 0)?, '"'))];
        let sql = "SELECT a.privilege_type, a.is_grantable, a.grantee::bigint, pg_get_userbyid(a.grantee)::text \
                   FROM pg_class AS c, aclexplode(c.relacl) AS a WHERE c.oid = to_regclass($1)";
        for right in self.link.rows(sql, &[Bind::Text(Some(&table))]).await? {
            let (what, passes): (String, bool) = (column(&right, 0)?, column(&right, 1)?);
            let grantee = if column::<i64>(&right, 2)? == 0 {
                "PUBLIC".to_owned()
            } else {
                Table::quote(column(&right, 3)?, '"')
            };
            let option = if passes { " WITH GRANT OPTION" } else { "" };
            granted.push(format!("GRANT {what} ON {other} TO {grantee}{option}"));
        }
        Ok(granted)
    }
}

/// A connection, and its server and database for people.
pub(in super::super) async fn connected(url: &str) -> Result<(Link, String), DatabaseError> {
    let address = address_of(url, "switchover move")?;
    let connected = tokio::time::timeout(PATIENCE, PgConnection::connect_with(&address)).await;
    let mut connection = connected.map_err(|_| DatabaseError::Timeout)?.map_err(|error| unavailable(&error))?;
    connection.execute(sqlx::raw_sql(SETTINGS)).await.map_err(|error| unavailable(&error))?;
    Ok((Link { connection }, place_of(&address)))
}

async fn found(link: &mut Link, table: &Table) -> Result<(String, String), DatabaseError> {
    let sql = "SELECT n.nspname::text, c.relname::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace \
               WHERE c.oid = to_regclass($1)";
    let name = table.quoted('"');
    let rows = link.rows(sql, &[Bind::Text(Some(&name))]).await?;
    let row =
        rows.first().ok_or_else(|| invalid(format!("there is no table {table}: check the name and the schema")))?;
    Ok((column(row, 0)?, column(row, 1)?))
}

pub(in super::super) async fn shape(link: &mut Link, table: &str) -> Result<Shape, DatabaseError> {
    let sql = "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), a.attgenerated <> '', \
                      EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = a.attrelid AND i.indisprimary \
                              AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum) \
               FROM pg_attribute AS a \
               WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";
    let bind = [Bind::Text(Some(table))];
    let rows = link.rows(sql, &bind).await?;
    let (mut key, mut columns, mut kinds) = (None, Vec::new(), Vec::new());
    let (mut filled, mut filled_kinds) = (Vec::new(), Vec::new());
    for row in &rows {
        let name = Table::quote(column(row, 0)?, '"');
        if column(row, 3)? {
            key = Some((name.clone(), column(row, 1)?));
        }
        let kind: String = column(row, 1)?;
        if !column::<bool>(row, 2)? {
            filled.push(name.clone());
            filled_kinds.push(kind.clone());
        }
        columns.push(name);
        kinds.push(kind);
    }
    let (key, key_type) = key.ok_or_else(|| {
        invalid(format!("{table} has no primary key of one column, so its rows cannot be told apart: give it one"))
    })?;
    Ok(Shape { key, key_type, columns, kinds, filled, filled_kinds })
}
