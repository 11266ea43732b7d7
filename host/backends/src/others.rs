//! The other columns of a session table in statements, and the values of a row in the order of these columns.

use std::sync::Arc;

use arc_swap::ArcSwap;
use switchover_core::{Column, ColumnKind, Others, Value};

/// Digits of a fraction of a second in [`Value::Time`].
const DIGITS: usize = 6;

/// A column of the table that is not part of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OtherColumn {
    pub(crate) column: Column,
    /// The database's name of its type.
    pub(crate) sql_type: String,
    /// Whether a row can be inserted without a value for it.
    pub(crate) has_default: bool,
}

/// The values that a write sets, in the order of the columns; `None`: the write leaves the columns as they are.
///
/// # Errors
///
/// A text that says why the columns cannot hold these values. It names the first column that cannot.
pub(crate) fn values<'o>(columns: &[OtherColumn], others: &'o Others) -> Result<Option<Vec<&'o Value>>, String> {
    if others.is_empty() {
        return Ok(None);
    }
    if let Some(unknown) = others.names().find(|name| columns.iter().all(|known| *known.column.name != **name)) {
        return Err(format!("comes with a column {unknown} that this table has not"));
    }
    let values = columns.iter().map(|OtherColumn { column, .. }| {
        let name = &column.name;
        let value = others.get(name).ok_or_else(|| format!("comes without the column {name} that this table has"))?;
        if holds(&column.kind, value) {
            Ok(value)
        } else {
            Err(format!("comes with a value {value:?} for the column {name}, which holds {}", column.kind))
        }
    });
    values.collect::<Result<_, _>>().map(Some)
}

fn holds(kind: &ColumnKind, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Boolean(_) => *kind == ColumnKind::Boolean,
        Value::Integer(_) => matches!(kind, ColumnKind::Integer { .. } | ColumnKind::Other { database: "sqlite", .. }),
        Value::Text(_) => matches!(kind, ColumnKind::Text { .. } | ColumnKind::Other { database: "sqlite", .. }),
        Value::Bytes(_) => matches!(kind, ColumnKind::Bytes { .. } | ColumnKind::Other { database: "sqlite", .. }),
        Value::Time(_) => matches!(kind, ColumnKind::Time { .. }),
        Value::Unreadable => false,
        _ => matches!(kind, ColumnKind::Other { .. }),
    }
}

/// Makes the other columns of a row from their values.
pub(crate) fn of_row(columns: &[OtherColumn], values: impl IntoIterator<Item = Value>) -> Others {
    Others::new(columns.iter().map(|column| Arc::clone(&column.column.name)).zip(values))
}

/// Parses a value from the text that a statement selects; `None` is NULL. Bytes are not selected as text.
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(crate) fn value_of_text(column: &Column, text: Option<&str>) -> Value {
    let Some(text) = text else { return Value::Null };
    match &column.kind {
        ColumnKind::Boolean => match text {
            "true" | "1" => Value::Boolean(true),
            "false" | "0" => Value::Boolean(false),
            _ => Value::Unreadable,
        },
        ColumnKind::Integer { .. } => text.parse().map_or(Value::Unreadable, Value::Integer),
        ColumnKind::Text { .. } => Value::Text(text.into()),
        ColumnKind::Time { .. } => time(text).map_or(Value::Unreadable, |time| Value::Time(time.into())),
        _ => Value::Other(text.into()),
    }
}

/// Adds the missing digits of the fraction to a time `YYYY-MM-DD HH:MM:SS`, with or without a fraction. `None`: the
/// text has another form.
pub(crate) fn time(text: &str) -> Option<String> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let looks_right =
        seconds.len() == "YYYY-MM-DD HH:MM:SS".len() && seconds.starts_with(|first: char| first.is_ascii_digit());
    (looks_right && is_digits(fraction) && fraction.len() <= DIGITS).then(|| format!("{seconds}.{fraction:0<DIGITS$}"))
}

/// The statements on one table, shared by all connections. They are written anew when the table's other columns have
/// changed.
pub(crate) struct Shared<Statements> {
    latest: ArcSwap<Statements>,
}

impl<Statements> Shared<Statements> {
    pub(crate) fn new(statements: Statements) -> Self {
        Self { latest: ArcSwap::from_pointee(statements) }
    }

    pub(crate) fn get(&self) -> Arc<Statements> {
        self.latest.load_full()
    }

    pub(crate) fn set(&self, statements: Statements) {
        self.latest.store(Arc::new(statements));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_gets_all_its_digits() {
        assert_eq!(time("2026-12-06 15:05:26").as_deref(), Some("2026-12-06 15:05:26.000000"));
        assert_eq!(time("2026-12-06 15:05:26.5").as_deref(), Some("2026-12-06 15:05:26.500000"));
        assert_eq!(time("2026-12-06 15:05:26.123456").as_deref(), Some("2026-12-06 15:05:26.123456"));
        for text in [
            "",
            "infinity",
            "2026-12-06",
            "2026-12-06 15:05:26.1234567",
            "2026-12-06 15:05:26.x",
            "0044-03-15 00:00:00 BC",
        ] {
            assert_eq!(time(text), None, "{text}");
        }
    }

    #[test]
    fn value_that_no_column_holds_is_refused_by_name() {
        let column = |name: &str, kind| OtherColumn {
            column: Column { name: name.into(), kind, nullable: true },
            sql_type: String::new(),
            has_default: false,
        };
        let columns = [
            column("user_id", ColumnKind::Integer { bits: 64 }),
            column("agent", ColumnKind::Text { characters: None }),
        ];
        let others =
            |values: &[(&str, Value)]| Others::new(values.iter().map(|(name, value)| ((*name).into(), value.clone())));
        let both = others(&[("agent", Value::Text("a".into())), ("user_id", Value::Integer(7))]);
        assert_eq!(values(&columns, &both), Ok(Some(vec![&Value::Integer(7), &Value::Text("a".into())])));
        assert_eq!(values(&columns, &Others::default()), Ok(None));
        for (wrong, name) in [
            (others(&[("agent", Value::Null)]), "user_id"),
            (others(&[("agent", Value::Null), ("user_id", Value::Null), ("ip", Value::Null)]), "ip"),
            (others(&[("agent", Value::Integer(1)), ("user_id", Value::Null)]), "agent"),
        ] {
            assert!(values(&columns, &wrong).unwrap_err().contains(name));
        }
    }
}
