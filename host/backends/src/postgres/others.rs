//! The other columns of a session table on PostgreSQL. A statement returns them as one array of texts, and takes each
//! column as one array.

use std::fmt::Write as _;

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Executor as _, Row as _};
use switchover_core::{Column, ColumnKind, Others, Table, Value};

use crate::others::{OtherColumn, of_row, value_of_text};

/// The other columns, except those whose values PostgreSQL generates. Empty if there is no table. One round trip.
pub(super) async fn columns(
    connection: &mut PgConnection,
    table: &Table,
    own: [&str; 3],
) -> Result<Vec<OtherColumn>, sqlx::Error> {
    let name = table.quoted('"').replace('\'', "''");
    let own = own.map(|name| format!("'{name}'")).join(", ");
    let sql = format!(
        "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull, d.adbin IS NOT NULL \
         FROM pg_attribute AS a \
         LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
         WHERE a.attrelid = to_regclass('{name}') AND a.attnum > 0 AND NOT a.attisdropped AND a.attname NOT IN ({own}) \
               AND a.attgenerated = '' AND a.attidentity = '' \
               AND coalesce(pg_get_expr(d.adbin, d.adrelid), '') NOT LIKE 'nextval(%' ORDER BY a.attnum"
    );
    let rows = connection.fetch_all(sqlx::raw_sql(&sql)).await?;
    let column = |row: &PgRow| {
        let (name, sql_type): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let column = Column { name: name.into(), kind: kind(&sql_type), nullable: row.try_get(2)? };
        Ok(OtherColumn { column, sql_type, has_default: row.try_get(3)? })
    };
    rows.iter().map(column).collect()
}

fn kind(sql_type: &str) -> ColumnKind {
    let (name, length) = match (sql_type.find('('), sql_type.find(')')) {
        (Some(from), Some(to)) if from < to => {
            (format!("{}{}", &sql_type[..from], &sql_type[to + 1..]), sql_type[from + 1..to].parse::<u32>().ok())
        }
        _ => (sql_type.to_owned(), None),
    };
    match name.as_str() {
        "boolean" => ColumnKind::Boolean,
        "smallint" => ColumnKind::Integer { bits: 16 },
        "integer" => ColumnKind::Integer { bits: 32 },
        "bigint" => ColumnKind::Integer { bits: 64 },
        "text" => ColumnKind::Text { characters: None },
        "character varying" => ColumnKind::Text { characters: length.map(u64::from) },
        "bytea" => ColumnKind::Bytes { bytes: None },
        "timestamp with time zone" => ColumnKind::Time { digits: length.unwrap_or(6) },
        _ => ColumnKind::Other { database: "postgres", kind: sql_type.to_owned() },
    }
}

/// The expression that returns the values of a row as an array of texts; `of` is put before the names.
pub(super) fn given_out(others: &[OtherColumn], of: &str) -> String {
    let text = |OtherColumn { column, .. }: &OtherColumn| {
        let name = format!("{of}{}", Table::quote(&column.name, '"'));
        match column.kind {
            ColumnKind::Bytes { .. } => format!("encode({name}, 'hex')"),
            // A time without such a form is returned as PostgreSQL writes it, and is not taken for a time.
            ColumnKind::Time { .. } => format!(
                "CASE WHEN isfinite({name}) AND {name} >= '0001-01-02' \
                 THEN to_char({name} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') ELSE {name}::text END"
            ),
            _ => format!("{name}::text"),
        }
    };
    format!("ARRAY[{}]::text[]", others.iter().map(text).collect::<Vec<_>>().join(", "))
}

/// The expression that turns a text parameter into the value of a column. The assignment refuses a value that does not
/// fit; a cast to the column's type would truncate it.
pub(super) fn taken_in(OtherColumn { column, sql_type, .. }: &OtherColumn, text: &str) -> String {
    match column.kind {
        ColumnKind::Boolean => format!("{text}::boolean"),
        ColumnKind::Integer { .. } => format!("{text}::bigint"),
        ColumnKind::Text { .. } => text.to_owned(),
        ColumnKind::Bytes { .. } => format!("decode({text}, 'hex')"),
        ColumnKind::Time { .. } => format!("({text} || '+00')::timestamptz"),
        _ => format!("{text}::{sql_type}"),
    }
}

/// Reads what [`given_out`] returned, in column `at` of a row.
pub(super) fn of_column(others: &[OtherColumn], row: &PgRow, at: usize) -> Others {
    if others.is_empty() {
        return Others::default();
    }
    let texts: Vec<Option<String>> = match row.try_get(at) {
        Ok(texts) => texts,
        // The text of one of them is not UTF-8.
        Err(_) => return of_row(others, others.iter().map(|_| Value::Unreadable)),
    };
    let values = others.iter().zip(&texts).map(|(other, text)| match (&other.column.kind, text) {
        (ColumnKind::Bytes { .. }, Some(text)) => {
            from_hex(text).map_or(Value::Unreadable, |bytes| Value::Bytes(bytes.into()))
        }
        (_, text) => value_of_text(&other.column, text.as_deref()),
    });
    of_row(others, values)
}

/// A value as a text parameter.
pub(super) fn parameter(value: &Value) -> Option<String> {
    match value {
        Value::Boolean(truth) => Some(truth.to_string()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Text(text) | Value::Time(text) | Value::Other(text) => Some(text.to_string()),
        Value::Bytes(bytes) => Some(bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
            let _infallible = write!(hex, "{byte:02x}");
            hex
        })),
        _ => None,
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.as_bytes().chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect()
}
