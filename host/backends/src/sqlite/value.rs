//! The values of the other columns. SQLite accepts a value of any type in every column, whatever type was declared.

use rusqlite::Row;
use rusqlite::types::{ToSqlOutput, Value as Owned, ValueRef};
use switchover_core::{Column, ColumnKind, Value};

use crate::others::time;

/// The kind of a column, from its declared type: by the names that Django and others use, and by SQLite's own rules for
/// the rest.
pub(super) fn kind(declared: &str) -> ColumnKind {
    let declared = declared.to_ascii_lowercase();
    let (name, length) = declared.split_once('(').unwrap_or((&declared, ""));
    let length = length.trim_end_matches(')').trim().parse().ok();
    match name.trim() {
        "bool" | "boolean" => ColumnKind::Boolean,
        "datetime" | "timestamp" => ColumnKind::Time { digits: 6 },
        name if name.contains("int") => ColumnKind::Integer { bits: 64 },
        name if ["char", "clob", "text"].iter().any(|word| name.contains(word)) => {
            ColumnKind::Text { characters: length }
        }
        name if name.contains("blob") => ColumnKind::Bytes { bytes: None },
        _ => ColumnKind::Other { database: "sqlite", kind: declared },
    }
}

/// Reads the value of a column of a row.
pub(super) fn of_row(column: &Column, row: &Row<'_>, at: usize) -> Value {
    let text = |bytes, value: fn(&str) -> Option<Value>| str::from_utf8(bytes).ok().and_then(value);
    let read = match (&column.kind, row.get_ref(at)) {
        (_, Ok(ValueRef::Null)) => Some(Value::Null),
        (ColumnKind::Boolean, Ok(ValueRef::Integer(number @ 0..=1))) => Some(Value::Boolean(number == 1)),
        (ColumnKind::Integer { .. } | ColumnKind::Other { .. }, Ok(ValueRef::Integer(number))) => {
            Some(Value::Integer(number))
        }
        (ColumnKind::Text { .. } | ColumnKind::Other { .. }, Ok(ValueRef::Text(bytes))) => {
            text(bytes, |text| Some(Value::Text(text.into())))
        }
        (ColumnKind::Bytes { .. } | ColumnKind::Other { .. }, Ok(ValueRef::Blob(bytes))) => {
            Some(Value::Bytes(bytes.into()))
        }
        (ColumnKind::Time { .. }, Ok(ValueRef::Text(bytes))) => {
            text(bytes, |text| time(text).map(|time| Value::Time(time.into())))
        }
        (ColumnKind::Other { .. }, Ok(ValueRef::Real(number))) => {
            Some(Value::Other(number.to_bits().to_string().into()))
        }
        _ => None,
    };
    read.unwrap_or(Value::Unreadable)
}

/// The value in the form in which SQLite stores it. Times are written as Django writes them.
pub(super) fn stored(value: &Value) -> ToSqlOutput<'_> {
    let borrowed = match value {
        Value::Boolean(truth) => ValueRef::Integer(i64::from(*truth)),
        Value::Integer(number) => ValueRef::Integer(*number),
        Value::Text(text) => ValueRef::Text(text.as_bytes()),
        Value::Bytes(bytes) => ValueRef::Blob(bytes),
        Value::Time(time) => ValueRef::Text(time.strip_suffix(".000000").unwrap_or(time).as_bytes()),
        Value::Other(bits) => {
            return ToSqlOutput::Owned(bits.parse().map_or(Owned::Null, |bits| Owned::Real(f64::from_bits(bits))));
        }
        _ => ValueRef::Null,
    };
    ToSqlOutput::Borrowed(borrowed)
}
