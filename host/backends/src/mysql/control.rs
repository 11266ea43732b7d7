//! The control tables on MySQL and MariaDB.

use std::time::Instant;

use async_trait::async_trait;
use sqlx::mysql::{MySqlArguments, MySqlConnectOptions, MySqlConnection, MySqlRow};
use sqlx::query::Query;
use sqlx::{Column as _, Connection as _, Executor as _, MySql, Row as _, TypeInfo as _};
use switchover_core::capabilities::DatabaseError;

use super::errors::{schema_failure, unavailable};
use super::{address_of, place_of};
use crate::control::port::{Dialect, Opener, Port, Returned, Trouble, Value};
use crate::server::Failure;

/// The same overrides as for sessions, and a zone without jumps: instants go through `unix_timestamp`.
const SETTINGS: &str = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; SET SESSION autocommit = 1; \
                        SET SESSION completion_type = 0; SET SESSION innodb_lock_wait_timeout = 1; \
                        SET SESSION sql_safe_updates = 0; SET SESSION sql_select_limit = 18446744073709551615; \
                        SET SESSION time_zone = '+00:00'; \
                        SET SESSION sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION'";

const DIALECT: Dialect = Dialect {
    now: "cast(unix_timestamp(sysdate(6)) * 1000000 AS signed)",
    name: "VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin",
    text: "MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    table: " ENGINE=InnoDB",
    finds_table: "SELECT cast(1 AS signed) FROM information_schema.tables \
                  WHERE table_schema = database() AND table_name = ?",
    begin: "START TRANSACTION",
    insert_if_absent: ["INSERT IGNORE INTO", ""],
    or_update: |_| "ON DUPLICATE KEY UPDATE".to_owned(),
    inserted: |column| format!("VALUES({column})"),
};

/// Opens connections for control tables.
pub(crate) struct MySqlControl {
    address: MySqlConnectOptions,
}

impl MySqlControl {
    pub(crate) fn new(url: &str) -> Result<Self, DatabaseError> {
        Ok(Self { address: address_of(url)? })
    }
}

#[async_trait]
impl Opener for MySqlControl {
    async fn open(&self, _deadline: Instant) -> Result<Box<dyn Port>, DatabaseError> {
        let mut connection = MySqlConnection::connect_with(&self.address).await.map_err(|error| unavailable(&error))?;
        connection.execute(sqlx::raw_sql(SETTINGS)).await.map_err(|error| unavailable(&error))?;
        Ok(Box::new(MySqlPort { connection }))
    }

    fn dialect(&self) -> Dialect {
        DIALECT
    }

    fn place(&self) -> String {
        format!("control tables on {}", place_of(&self.address))
    }
}

struct MySqlPort {
    connection: MySqlConnection,
}

#[async_trait]
impl Port for MySqlPort {
    async fn run(&mut self, sql: &str, values: Vec<Value>) -> Result<Returned, Trouble> {
        if values.is_empty() && !sql.starts_with("SELECT") {
            // Transactions are not begun and ended by prepared statements.
            let done = self.connection.execute(sqlx::raw_sql(sql)).await.map_err(|error| trouble(&error))?;
            return Ok(Returned { rows: Vec::new(), written: done.rows_affected() });
        }
        if sql.starts_with("SELECT") {
            let rows = bound(sql, values).fetch_all(&mut self.connection).await.map_err(|error| trouble(&error))?;
            let rows = rows.iter().map(values_of).collect::<Result<_, _>>()?;
            return Ok(Returned { rows, written: 0 });
        }
        let done = bound(sql, values).execute(&mut self.connection).await.map_err(|error| trouble(&error))?;
        Ok(Returned { rows: Vec::new(), written: done.rows_affected() })
    }
}

fn bound(sql: &str, values: Vec<Value>) -> Query<'_, MySql, MySqlArguments> {
    values.into_iter().fold(sqlx::query(sql), |query, value| match value {
        Value::Int(number) => query.bind(number),
        Value::Text(text) => query.bind(text),
        Value::Null => query.bind(None::<i64>),
    })
}

fn values_of(row: &MySqlRow) -> Result<Vec<Value>, Trouble> {
    let value = |at: usize| {
        if row.column(at).type_info().name().contains("INT") {
            return row.try_get(at).map(Value::Int);
        }
        // Text with a binary collation is bytes to the driver.
        let bytes: Option<Vec<u8>> = row.try_get_unchecked(at)?;
        Ok(Value::Text(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())))
    };
    (0..row.columns().len()).map(|at| value(at).map_err(|error| trouble(&error))).collect()
}

fn trouble(error: &sqlx::Error) -> Trouble {
    match schema_failure(error, &mut false) {
        Failure::Refused(error) => Trouble::Refused(error),
        Failure::Row(message) => Trouble::Refused(DatabaseError::Corrupt { message }),
        Failure::Busy(message) => Trouble::Refused(DatabaseError::Conflict { message }),
        Failure::Lost(message) => Trouble::Lost(message),
    }
}
