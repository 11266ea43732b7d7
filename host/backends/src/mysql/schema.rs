//! Django's table on MySQL and MariaDB: made where it is missing and checked where it is not.

use sqlx::Row as _;
use sqlx::mysql::{MySqlConnection, MySqlRow};
use switchover_core::capabilities::DatabaseError;

use crate::server::{Column, check_columns, check_no_more};
use crate::table::{TableName, different};

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
    let Some((columns, indexes)) = checked(connection, table).await? else {
        return Ok(vec![create_table(table), expiry_index(table)]);
    };
    check_no_more(table, &columns).map_err(Error::Different)?;
    let has_expiry_index = indexes.iter().any(|index| index.place == 1 && index.column == "expire_date");
    Ok(if has_expiry_index { Vec::new() } else { vec![expiry_index(table)] })
}

/// Whether the columns that sessions need are Django's, if the table is there; others are no matter.
pub(super) async fn check(connection: &mut MySqlConnection, table: &TableName) -> Result<(), Error> {
    checked(connection, table).await.map(drop)
}

/// A column of an index.
struct Indexed {
    index: String,
    column: String,
    place: i64,
    is_cut: bool,
}

/// The columns and the indexes, if they hold what sessions need. `None`: there is no such table.
async fn checked(
    connection: &mut MySqlConnection,
    table: &TableName,
) -> Result<Option<(Vec<Column>, Vec<Indexed>)>, Error> {
    let found = sqlx::query(
        "SELECT cast(table_type AS char), cast(coalesce(engine, '') AS char) FROM information_schema.tables \
         WHERE table_schema = database() AND table_name = ?",
    )
    .bind(table.as_str())
    .fetch_optional(&mut *connection)
    .await?;
    let Some(found) = found else { return Ok(None) };
    let (kind, engine): (String, String) = (found.try_get(0)?, found.try_get(1)?);
    if kind != "BASE TABLE" {
        return Err(Error::Different(different(table, "it is no table".to_owned())));
    }
    if !engine.eq_ignore_ascii_case("innodb") {
        let difference =
            format!("its engine is {engine}, which has no transactions: `ALTER TABLE ... ENGINE = InnoDB`");
        return Err(Error::Different(different(table, difference)));
    }
    let columns = columns(connection, table).await?;
    check_columns(table, &columns, KINDS, |column, kind| remedy(table, column, kind)).map_err(Error::Different)?;
    let indexes = indexes(connection, table).await?;
    let mut primary = indexes.iter().filter(|index| index.index == "PRIMARY");
    let is_primary = primary.next().is_some_and(|first| first.column == "session_key" && !first.is_cut);
    if !is_primary || primary.next().is_some() {
        return Err(Error::Different(different(table, "its session_key is not the primary key".to_owned())));
    }
    Ok(Some((columns, indexes)))
}

/// Whole seconds cannot hold the end that a session is given, so both databases of a migration would differ for ever.
fn remedy(table: &TableName, column: &str, kind: &str) -> Option<String> {
    (column == "expire_date" && kind.starts_with("datetime")).then(|| {
        format!(
            "it cuts the fraction of a second off; `ALTER TABLE {} MODIFY expire_date datetime(6) NOT NULL` mends it: the table is \
             rewritten, and writes wait meanwhile",
            table.as_str()
        )
    })
}

async fn indexes(connection: &mut MySqlConnection, table: &TableName) -> Result<Vec<Indexed>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT cast(index_name AS char), cast(column_name AS char), cast(seq_in_index AS signed), \
                cast(sub_part IS NOT NULL AS signed) FROM information_schema.statistics \
         WHERE table_schema = database() AND table_name = ? AND column_name IS NOT NULL ORDER BY index_name, seq_in_index",
    )
    .bind(table.as_str())
    .fetch_all(connection)
    .await?;
    let index = |row: &MySqlRow| {
        let (index, column, place) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        Ok(Indexed { index, column, place, is_cut: row.try_get::<i64, _>(3)? != 0 })
    };
    rows.iter().map(index).collect()
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
