//! The control tables in an SQLite file.

use std::path::{Path, PathBuf};
use std::time::Instant;

use async_trait::async_trait;
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, params_from_iter};
use switchover_core::capabilities::DatabaseError;

use super::connection::{Connections, Synchronous, database_error};
use crate::control::port::{Dialect, Opener, Port, Returned, Trouble, Value};

const DIALECT: Dialect = Dialect {
    now: "cast((julianday('now') - 2440587.5) * 86400000000.0 AS integer)",
    name: "VARCHAR(64)",
    text: "TEXT",
    table: "",
    finds_table: "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?",
    begin: "BEGIN IMMEDIATE",
    insert_if_absent: ["INSERT OR IGNORE INTO", ""],
    or_update: |keys| format!("ON CONFLICT ({keys}) DO UPDATE SET"),
    inserted: |column| format!("excluded.{column}"),
};

/// Opens connections for control tables; makes the file if it is missing.
pub(crate) struct SqliteControl {
    path: PathBuf,
}

impl SqliteControl {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }
}

#[async_trait]
impl Opener for SqliteControl {
    async fn open(&self, _deadline: Instant) -> Result<Box<dyn Port>, DatabaseError> {
        let path = self.path.clone();
        let opened = tokio::task::spawn_blocking(move || Connections::open(&path, true, 0, Synchronous::Full)).await;
        let opened = opened.map_err(|_| DatabaseError::Unavailable { message: "opening the file panicked".to_owned() });
        Ok(Box::new(SqlitePort { connection: Some(opened??.writer) }))
    }

    fn dialect(&self) -> Dialect {
        DIALECT
    }

    fn place(&self) -> String {
        format!("control tables in {}", self.path.display())
    }
}

struct SqlitePort {
    /// `None` while a statement runs, and after one whose caller has gone away.
    connection: Option<Connection>,
}

#[async_trait]
impl Port for SqlitePort {
    async fn run(&mut self, sql: &str, values: Vec<Value>) -> Result<Returned, Trouble> {
        let lost = |what: &str| Trouble::Lost(format!("the connection to the file was lost: {what}"));
        let Some(connection) = self.connection.take() else { return Err(lost("an earlier statement did not end")) };
        let sql = sql.to_owned();
        let ran = tokio::task::spawn_blocking(move || {
            let returned = run(&connection, &sql, values);
            (connection, returned)
        });
        let (connection, returned) = ran.await.map_err(|_| lost("a statement panicked"))?;
        self.connection = Some(connection);
        returned.map_err(|error| Trouble::Refused(database_error(&error)))
    }
}

fn run(connection: &Connection, sql: &str, values: Vec<Value>) -> rusqlite::Result<Returned> {
    let mut statement = connection.prepare_cached(sql)?;
    if statement.column_count() == 0 {
        let written = statement.execute(params_from_iter(values))?;
        return Ok(Returned { rows: Vec::new(), written: u64::try_from(written).unwrap_or_default() });
    }
    let columns = statement.column_count();
    let rows = statement.query_map(params_from_iter(values), |row| {
        (0..columns)
            .map(|at| {
                Ok(match row.get_ref(at)? {
                    ValueRef::Integer(number) => Value::Int(Some(number)),
                    ValueRef::Text(text) => Value::Text(Some(String::from_utf8_lossy(text).into_owned())),
                    // What a column without a value would have been is told by who reads it.
                    ValueRef::Null => Value::Null,
                    ValueRef::Real(_) | ValueRef::Blob(_) => Value::Text(None),
                })
            })
            .collect()
    })?;
    Ok(Returned { rows: rows.collect::<rusqlite::Result<_>>()?, written: 0 })
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Self::Int(Some(number)) => number.to_sql(),
            Self::Text(Some(text)) => text.to_sql(),
            Self::Int(None) | Self::Text(None) | Self::Null => rusqlite::types::Null.to_sql(),
        }
    }
}
