//! Django's table on MySQL and MariaDB: made where it is missing and checked where it is not.

use sqlx::Row as _;
use sqlx::mysql::MySqlConnection;

use crate::backends::server::{Column, check_columns};
use crate::backends::table::{TableName, different};
use crate::capabilities::DatabaseError;

/// What Django's schema editor makes, as the catalogue shows it.
const KINDS: [&str; 3] = ["varchar(40)", "longtext", "datetime(6)"];

pub(super) enum Error {
    Driver(sqlx::Error),
    Different(DatabaseError),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Driver(error)
    }
}

/// The statements that would make what is missing. An index under another name that serves as well is not missing.
pub(super) async fn missing(connection: &mut MySqlConnection, table: &TableName) -> Result<Vec<String>, Error> {
    let found = sqlx::query(
        "SELECT cast(table_type AS char), cast(coalesce(engine, '') AS char) FROM information_schema.tables \
         WHERE table_schema = database() AND table_name = ?",
    )
    .bind(table.as_str())
    .fetch_optional(&mut *connection)
    .await?;
    let Some(found) = found else { return Ok(vec![create_table(table), expiry_index(table)]) };
    let (kind, engine): (String, String) = (found.try_get(0)?, found.try_get(1)?);
    if kind != "BASE TABLE" {
        return Err(Error::Different(different(table, "it is no table".to_owned())));
    }
    if !engine.eq_ignore_ascii_case("innodb") {
        let difference =
            format!("its engine is {engine}, which has no transactions: `ALTER TABLE ... ENGINE = InnoDB`");
        return Err(Error::Different(different(table, difference)));
    }
    check_columns(table, &columns(connection, table).await?, KINDS).map_err(Error::Different)?;
    let indexes = sqlx::query(
        "SELECT cast(index_name AS char), cast(column_name AS char) FROM information_schema.statistics \
         WHERE table_schema = database() AND table_name = ? AND seq_in_index = 1",
    )
    .bind(table.as_str())
    .fetch_all(&mut *connection)
    .await?;
    let indexes: Vec<(String, String)> =
        indexes.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect::<Result<_, sqlx::Error>>()?;
    if !indexes.iter().any(|(name, column)| name == "PRIMARY" && column == "session_key") {
        return Err(Error::Different(different(table, "its session_key is not the primary key".to_owned())));
    }
    let has_expiry_index = indexes.iter().any(|(_, column)| column == "expire_date");
    Ok(if has_expiry_index { Vec::new() } else { vec![expiry_index(table)] })
}

async fn columns(connection: &mut MySqlConnection, table: &TableName) -> Result<Vec<Column>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT cast(column_name AS char), cast(column_type AS char), cast(is_nullable AS char) \
         FROM information_schema.columns WHERE table_schema = database() AND table_name = ?",
    )
    .bind(table.as_str())
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let nullable: String = row.try_get(2)?;
            Ok(Column { name: row.try_get(0)?, kind: row.try_get(1)?, nullable: nullable == "YES" })
        })
        .collect()
}

fn create_table(table: &TableName) -> String {
    format!(
        "CREATE TABLE `{}` (`session_key` varchar(40) NOT NULL PRIMARY KEY, `session_data` longtext NOT NULL, \
         `expire_date` datetime(6) NOT NULL);",
        table.as_str()
    )
}

fn expiry_index(table: &TableName) -> String {
    format!("CREATE INDEX `{}` ON `{}` (`expire_date`);", table.index("expire_date", "a5c62663", ""), table.as_str())
}
