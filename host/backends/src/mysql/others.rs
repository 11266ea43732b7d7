//! The other columns of a session table on MySQL or MariaDB. They are selected and bound as texts, except bytes.

use sqlx::Row as _;
use sqlx::mysql::{MySqlConnection, MySqlRow};
use switchover_core::{Column, ColumnKind, Others, Table, Value};

use super::character_sets::CharacterSets;
use crate::others::{OtherColumn, of_row, value_of_text};

/// What the catalogue says of the columns of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Columns {
    /// The other columns, except those whose values the server generates.
    pub(super) others: Vec<OtherColumn>,
    /// Of all columns.
    pub(super) character_sets: CharacterSets,
}

/// Reads the columns. There are none if there is no table.
pub(super) async fn columns(
    connection: &mut MySqlConnection,
    table: &Table,
    own: [&str; 3],
) -> Result<Columns, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT cast(column_name AS char), cast(column_type AS char), cast(is_nullable AS char), \
                cast(column_default IS NOT NULL AS signed), cast(extra AS char), cast(character_set_name AS char) \
         FROM information_schema.columns \
         WHERE table_schema = coalesce(?, database()) AND table_name = ? ORDER BY ordinal_position",
    )
    .persistent(false)
    .bind(table.schema())
    .bind(table.name())
    .fetch_all(connection)
    .await?;
    let mut columns = Columns::default();
    for row in &rows {
        let (name, sql_type): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let (nullable, extra): (String, String) = (row.try_get(2)?, row.try_get(4)?);
        columns.character_sets.add(&name, row.try_get(5)?);
        // The catalogue also calls a column generated if its default is an expression, but with another word.
        let is_made = ["auto_increment", "virtual generated", "stored generated", "persistent generated"]
            .iter()
            .any(|made| extra.to_ascii_lowercase().contains(made));
        if is_made || own.contains(&name.as_str()) {
            continue;
        }
        let has_default = row.try_get::<i64, _>(3)? != 0;
        let column = Column { name: name.into(), kind: kind(&sql_type), nullable: nullable == "YES" };
        columns.others.push(OtherColumn { column, sql_type, has_default });
    }
    Ok(columns)
}

fn kind(sql_type: &str) -> ColumnKind {
    let (name, rest) = sql_type.split_once(['(', ' ']).unwrap_or((sql_type, ""));
    let length = rest.split(')').next().and_then(|length| length.parse::<u32>().ok());
    let is_unsigned = sql_type.contains("unsigned");
    let bits = |bits: u32| ColumnKind::Integer { bits: if is_unsigned { bits * 2 } else { bits } };
    let characters = |characters: u32| ColumnKind::Text { characters: Some(characters.into()) };
    let bytes = |bytes: u32| ColumnKind::Bytes { bytes: Some(bytes.into()) };
    match name {
        "tinyint" if length == Some(1) && !is_unsigned => ColumnKind::Boolean,
        "tinyint" => bits(8),
        "smallint" => bits(16),
        "mediumint" | "int" => bits(32),
        "bigint" if !is_unsigned => bits(64),
        "varchar" | "char" => ColumnKind::Text { characters: length.map(u64::from) },
        "tinytext" => characters(255),
        "text" => characters(65_535),
        "mediumtext" | "longtext" => ColumnKind::Text { characters: None },
        "varbinary" => ColumnKind::Bytes { bytes: length.map(u64::from) },
        "tinyblob" => bytes(255),
        "blob" => bytes(65_535),
        "mediumblob" | "longblob" => ColumnKind::Bytes { bytes: None },
        "datetime" | "timestamp" => ColumnKind::Time { digits: length.unwrap_or(0) },
        _ => ColumnKind::Other { database: "mysql", kind: sql_type.to_owned() },
    }
}

/// Whether the values of a column depend on the time zone of the connection.
pub(super) fn has_zone(other: &OtherColumn) -> bool {
    other.sql_type.starts_with("timestamp")
}

/// The expression that selects the value of a column.
pub(super) fn given_out(OtherColumn { column, sql_type, .. }: &OtherColumn, sets: &CharacterSets) -> String {
    let name = Table::quote(&column.name, '`');
    match &column.kind {
        ColumnKind::Bytes { .. } => name,
        ColumnKind::Other { .. } if sql_type.starts_with("float") => format!("cast({name} + 0e0 AS char)"),
        ColumnKind::Other { .. } if sql_type.starts_with("bit") => format!("cast({name} + 0 AS char)"),
        ColumnKind::Other { .. } if has_no_text(sql_type) => format!("hex({name})"),
        _ => sets.given_out(&column.name, &name).unwrap_or_else(|| format!("cast({name} AS char)")),
    }
}

/// The parameter for a value of a column.
pub(super) fn taken_in(other: &OtherColumn) -> &'static str {
    match &*other.sql_type {
        sql_type if sql_type.starts_with("bit") => "cast(? AS unsigned)",
        sql_type if has_no_text(sql_type) => "unhex(?)",
        _ => "?",
    }
}

/// Whether the server does not cast values of this type to text: geometries, vectors, and binary strings of a fixed
/// length, which end in zeros.
fn has_no_text(sql_type: &str) -> bool {
    let name = sql_type.split(['(', ' ']).next().unwrap_or_default();
    let geometries = ["geometry", "point", "linestring", "polygon", "geometrycollection", "geomcollection"];
    geometries.contains(&name) || name.starts_with("multi") || ["vector", "binary"].contains(&name)
}

/// The values of a row, from column `at` on.
pub(super) fn of_columns(others: &[OtherColumn], row: &MySqlRow, at: usize) -> Others {
    let values = others.iter().zip(at..).map(|(other, at)| {
        match (&other.column.kind, row.try_get_unchecked::<Option<&[u8]>, _>(at)) {
            (_, Err(_)) => Value::Unreadable,
            (_, Ok(None)) => Value::Null,
            (ColumnKind::Bytes { .. }, Ok(Some(bytes))) => Value::Bytes(bytes.into()),
            (_, Ok(Some(bytes))) => match str::from_utf8(bytes) {
                Ok(text) => value_of_text(&other.column, Some(text)),
                Err(_) => Value::Unreadable,
            },
        }
    });
    of_row(others, values)
}
