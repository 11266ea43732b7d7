//! Reads a table in an SQLite file.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use rusqlite::{Connection, OpenFlags, TransactionBehavior, params};

use super::time::{from_django, to_django};
use super::{RawRow, SIDE_TABLES, Table, Wanted};

pub(super) fn exists(path: &Path, table: &str) -> Result<bool> {
    if !path.exists() {
        return Ok(false);
    }
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = ?1)";
    Ok(open(path)?.query_row(sql, [table], |row| row.get(0))?)
}

pub(super) fn insert(path: &Path, table: &Table, rows: &[RawRow]) -> Result<()> {
    let mut connection = open(path)?;
    let transaction = connection.transaction()?;
    {
        let mut statement =
            transaction.prepare(&format!("INSERT INTO {} VALUES (?1, {}, ?3)", table.name, stored(table)))?;
        for row in rows {
            statement.execute(params![row.key, row.data, to_django(row.expires_at.as_micros())])?;
        }
    }
    transaction.commit().with_context(|| format!("cannot write sessions into {}", path.display()))
}

pub(super) fn rows(path: &Path, table: &Table, wanted: Wanted) -> Result<Vec<RawRow>> {
    let connection = open(path)?;
    let plain = |column: &str| column.to_owned();
    let sql = table.look_sql(wanted, |payload| format!("CAST({payload} AS TEXT)"), [&plain, &plain]);
    let mut statement = connection.prepare(&sql)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?)))?;
    rows.map(|row| {
        let (key, data, expire_date) = row?;
        Ok(RawRow { key, data, expires_at: from_django(&expire_date)? })
    })
    .collect()
}

/// A payload, as its column holds it.
fn stored(table: &Table) -> &'static str {
    if table.layout.has_bytes() { "CAST(?2 AS BLOB)" } else { "?2" }
}

pub(super) fn execute(path: &Path, sql: &str) -> Result<()> {
    Ok(open(path)?.execute_batch(sql)?)
}

pub(super) fn forget(path: &Path, migration: &str, tables: bool) -> Result<()> {
    let mut file = open(path)?;
    let transaction = file.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for table in SIDE_TABLES {
        transaction.execute(&format!("DELETE FROM {table} WHERE migration = ?1"), [migration])?;
    }
    let is_empty = |table: &&str| {
        transaction.query_row(&format!("SELECT NOT EXISTS (SELECT 1 FROM {table})"), [], |row| row.get(0))
    };
    let empty: Vec<bool> = SIDE_TABLES.iter().map(is_empty).collect::<Result<_, _>>()?;
    if tables && !empty.contains(&false) {
        for table in SIDE_TABLES {
            transaction.execute_batch(&format!("DROP TABLE {table}"))?;
        }
    }
    Ok(transaction.commit()?)
}

fn open(path: &Path) -> Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
        .with_context(|| format!("cannot open {}", path.display()))?;
    connection.busy_timeout(Duration::from_secs(5))?;
    Ok(connection)
}
