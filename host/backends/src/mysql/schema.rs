//! The session table on MySQL and MariaDB. It is made if it is missing, and checked if it exists.

use sqlx::Row as _;
use sqlx::mysql::{MySqlConnection, MySqlRow};
use switchover_core::capabilities::DatabaseError;
use switchover_core::{Layout, Table};

use crate::server::{Column, check_columns};
use crate::table::{OWN_CASCADE, SessionTable};

/// The types of the columns of a layout, as the catalogue shows them. Those of the layout `django` are the ones that
/// Django's schema editor makes.
fn kinds(layout: Layout) -> [&'static str; 3] {
    if layout == Layout::DJANGO {
        ["varchar(40)", "longtext", "datetime(6)"]
    } else {
        ["varchar(255)", "longblob", "datetime(6)"]
    }
}

pub(super) enum Error {
    Driver(sqlx::Error),
    Different(DatabaseError),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Driver(error)
    }
}

/// The statements that would make what is missing. An index with another name that serves the same purpose is not
/// missing.
pub(super) async fn missing(connection: &mut MySqlConnection, table: &SessionTable) -> Result<Vec<String>, Error> {
    let Some(indexes) = checked(connection, table).await? else {
        return Ok(vec![create_table(table), expiry_index(table)]);
    };
    let has_expiry_index = indexes.iter().any(|index| index.place == 1 && index.column == table.layout.columns()[2]);
    Ok(if has_expiry_index { Vec::new() } else { vec![expiry_index(table)] })
}

/// Checks the columns that sessions need, if the table exists. Other columns do not matter here.
pub(super) async fn check(connection: &mut MySqlConnection, table: &SessionTable) -> Result<(), Error> {
    checked(connection, table).await.map(drop)
}

/// A column of an index.
struct Indexed {
    index: String,
    column: String,
    place: i64,
    is_cut: bool,
    is_unique: bool,
}

/// The indexes, if the columns hold what sessions need. `None`: there is no such table.
async fn checked(connection: &mut MySqlConnection, table: &SessionTable) -> Result<Option<Vec<Indexed>>, Error> {
    let found = sqlx::query(
        "SELECT cast(table_type AS char), cast(coalesce(engine, '') AS char) FROM information_schema.tables \
         WHERE table_schema = coalesce(?, database()) AND table_name = ?",
    )
    .bind(table.table.schema())
    .bind(table.table.name())
    .fetch_optional(&mut *connection)
    .await?;
    let Some(found) = found else { return Ok(None) };
    let (kind, engine): (String, String) = (found.try_get(0)?, found.try_get(1)?);
    if kind != "BASE TABLE" {
        return Err(Error::Different(table.different("it is not a table: name the table itself, not a view of it")));
    }
    if !engine.eq_ignore_ascii_case("innodb") {
        let difference =
            format!("its engine is {engine}, which has no transactions: `ALTER TABLE ... ENGINE = InnoDB`");
        return Err(Error::Different(table.different(difference)));
    }
    if cascades_to_itself(connection, table).await? {
        return Err(Error::Different(table.different(OWN_CASCADE)));
    }
    let columns = columns(connection, table).await?;
    check_columns(table, &columns, kinds(table.layout), |column, kind| remedy(table, column, kind))
        .map_err(Error::Different)?;
    let indexes = indexes(connection, table).await?;
    let mut primary = indexes.iter().filter(|index| index.index == "PRIMARY");
    let is_primary = primary.next().is_some_and(|first| first.column == table.layout.columns()[0] && !first.is_cut);
    if !is_primary || primary.next().is_some() {
        return Err(Error::Different(
            table.different(format!("its {} is not the primary key", table.layout.columns()[0])),
        ));
    }
    // An upsert replaces the row that any unique index finds. That row could be the session of somebody else.
    if let Some(other) = indexes.iter().find(|index| index.is_unique && index.index != "PRIMARY") {
        let difference = format!(
            "it has the unique index {} beside its primary key, by which a write would take another session's row for \
             its own: make it an index that is not unique",
            other.index
        );
        return Err(Error::Different(table.different(difference)));
    }
    Ok(Some(indexes))
}

async fn cascades_to_itself(connection: &mut MySqlConnection, table: &SessionTable) -> Result<bool, sqlx::Error> {
    let sql = "SELECT 1 FROM information_schema.referential_constraints \
               WHERE constraint_schema = coalesce(?, database()) AND unique_constraint_schema = constraint_schema \
                 AND table_name = ? AND referenced_table_name = table_name AND delete_rule = 'CASCADE' LIMIT 1";
    let found = sqlx::query(sql).bind(table.table.schema()).bind(table.table.name());
    Ok(found.fetch_optional(connection).await?.is_some())
}

/// A column of whole seconds cannot hold the end of a session, so the two databases of a migration would always differ.
fn remedy(table: &SessionTable, column: &str, kind: &str) -> Option<String> {
    (column == table.layout.columns()[2] && kind.starts_with("datetime")).then(|| {
        format!(
            "it truncates the fraction of a second; `ALTER TABLE {} MODIFY {column} datetime(6) NOT NULL` corrects it: \
             the table is rewritten, and writes wait meanwhile",
            table.table.quoted('`')
        )
    })
}

async fn indexes(connection: &mut MySqlConnection, table: &SessionTable) -> Result<Vec<Indexed>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT cast(index_name AS char), coalesce(cast(column_name AS char), ''), cast(seq_in_index AS signed), \
                cast(sub_part IS NOT NULL AS signed), cast(non_unique = 0 AS signed) \
         FROM information_schema.statistics \
         WHERE table_schema = coalesce(?, database()) AND table_name = ? \
         ORDER BY index_name, seq_in_index",
    )
    .bind(table.table.schema())
    .bind(table.table.name())
    .fetch_all(connection)
    .await?;
    let index = |row: &MySqlRow| {
        let (index, column, place) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let (is_cut, is_unique) = (row.try_get::<i64, _>(3)? != 0, row.try_get::<i64, _>(4)? != 0);
        Ok(Indexed { index, column, place, is_cut, is_unique })
    };
    rows.iter().map(index).collect()
}

async fn columns(connection: &mut MySqlConnection, table: &SessionTable) -> Result<Vec<Column>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT cast(column_name AS char), cast(column_type AS char), cast(is_nullable AS char), \
                cast(coalesce(collation_name, 'binary') AS char) \
         FROM information_schema.columns WHERE table_schema = coalesce(?, database()) AND table_name = ?",
    )
    .bind(table.table.schema())
    .bind(table.table.name())
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let nullable: String = row.try_get(2)?;
            let (name, kind, collation): (_, _, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(3)?);
            let exact = collation == "binary" || collation.ends_with("_bin");
            Ok(Column { name, kind, nullable: nullable == "YES", exact })
        })
        .collect()
}

fn create_table(table: &SessionTable) -> String {
    let ([key, payload, end], kinds) = (table.layout.columns(), kinds(table.layout));
    let collation = if table.layout == Layout::DJANGO { "" } else { " CHARACTER SET utf8mb4 COLLATE utf8mb4_bin" };
    format!(
        "CREATE TABLE {} (`{key}` {}{collation} NOT NULL PRIMARY KEY, `{payload}` {} NOT NULL, `{end}` {} NOT NULL);",
        table.table.quoted('`'),
        kinds[0],
        kinds[1],
        kinds[2],
    )
}

fn expiry_index(table: &SessionTable) -> String {
    let [.., end] = table.layout.columns();
    let name = table.index(end, "a5c62663", "");
    format!("CREATE INDEX {} ON {} (`{end}`);", Table::quote(&name, '`'), table.table.quoted('`'))
}
