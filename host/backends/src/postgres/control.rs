//! The control tables on PostgreSQL.

use std::time::Instant;

use async_trait::async_trait;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgRow};
use sqlx::query::Query;
use sqlx::{Column as _, Connection as _, Executor as _, Postgres, Row as _, TypeInfo as _};
use switchover_core::capabilities::DatabaseError;

use super::errors::{failure, unavailable};
use super::{address_of, place_of};
use crate::control::port::{Dialect, Opener, Port, Returned, Trouble, Value};
use crate::server::Failure;

const SETTINGS: &str = "SET default_transaction_isolation = 'read committed'; SET synchronous_commit = on; \
                        SET lock_timeout = '1s'; SET statement_timeout = '2s'; \
                        SET idle_in_transaction_session_timeout = '5s'";

const DIALECT: Dialect = Dialect {
    now: "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint",
    name: "VARCHAR(64) COLLATE \"C\"",
    text: "TEXT",
    table: "",
    finds_table: "SELECT 1::bigint FROM (SELECT to_regclass(?::text) AS found) AS named WHERE found IS NOT NULL",
    begin: "BEGIN",
    insert_if_absent: ["INSERT INTO", " ON CONFLICT DO NOTHING"],
    or_update: |keys| format!("ON CONFLICT ({keys}) DO UPDATE SET"),
    inserted: |column| format!("excluded.{column}"),
};

/// Opens connections for control tables.
pub(crate) struct PostgresControl {
    address: PgConnectOptions,
}

impl PostgresControl {
    pub(crate) fn new(url: &str) -> Result<Self, DatabaseError> {
        Ok(Self { address: address_of(url, "switchover control")? })
    }
}

#[async_trait]
impl Opener for PostgresControl {
    async fn open(&self, _deadline: Instant) -> Result<Box<dyn Port>, DatabaseError> {
        let mut connection = PgConnection::connect_with(&self.address).await.map_err(|error| unavailable(&error))?;
        connection.execute(sqlx::raw_sql(SETTINGS)).await.map_err(|error| unavailable(&error))?;
        Ok(Box::new(PostgresPort { connection }))
    }

    fn dialect(&self) -> Dialect {
        DIALECT
    }

    fn place(&self) -> String {
        format!("control tables on {}", place_of(&self.address))
    }
}

struct PostgresPort {
    connection: PgConnection,
}

#[async_trait]
impl Port for PostgresPort {
    async fn run(&mut self, sql: &str, values: Vec<Value>) -> Result<Returned, Trouble> {
        let sql = numbered(sql);
        let reads = sql.starts_with("SELECT");
        if reads {
            let rows = bound(&sql, values).fetch_all(&mut self.connection).await.map_err(|error| trouble(&error))?;
            let rows = rows.iter().map(values_of).collect::<Result<_, _>>()?;
            return Ok(Returned { rows, written: 0 });
        }
        let done = bound(&sql, values).execute(&mut self.connection).await.map_err(|error| trouble(&error))?;
        Ok(Returned { rows: Vec::new(), written: done.rows_affected() })
    }
}

fn bound(sql: &str, values: Vec<Value>) -> Query<'_, Postgres, PgArguments> {
    values.into_iter().fold(sqlx::query(sql), |query, value| match value {
        Value::Int(number) => query.bind(number),
        Value::Text(text) => query.bind(text),
        Value::Null => query.bind(None::<i64>),
    })
}

/// `$1`, `$2` and so on for each `?`.
fn numbered(sql: &str) -> String {
    let mut parts = sql.split('?');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.zip(1..).fold(first, |sql, (part, number)| format!("{sql}${number}{part}"))
}

fn values_of(row: &PgRow) -> Result<Vec<Value>, Trouble> {
    let value = |at: usize| {
        let name = row.column(at).type_info().name();
        if matches!(name, "INT8" | "INT4") { row.try_get(at).map(Value::Int) } else { row.try_get(at).map(Value::Text) }
    };
    (0..row.columns().len()).map(|at| value(at).map_err(|error| trouble(&error))).collect()
}

fn trouble(error: &sqlx::Error) -> Trouble {
    match failure(error, &mut false) {
        Failure::Refused(error) => Trouble::Refused(error),
        Failure::Row(message) => Trouble::Refused(DatabaseError::Corrupt { message }),
        Failure::Busy(message) => Trouble::Refused(DatabaseError::Conflict { message }),
        Failure::Lost(message) => Trouble::Lost(message),
    }
}
