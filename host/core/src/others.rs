//! The other columns of a session table: their values, and whether another table can hold them.

use std::fmt;
use std::sync::Arc;

/// The values of the other columns of a row, by name. Cheap to clone. `Debug` prints how many there are.
///
/// It is empty if the table has no other columns, if the row came from a cache, and if an application made the session.
/// A write of a session without other columns leaves those of the row unchanged; a new row gets the table's defaults.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Others(Option<Arc<[Named]>>);

/// A value, and the name of its column.
type Named = (Arc<str>, Value);

impl Others {
    /// Takes pairs of name and value, in any order.
    pub fn new(columns: impl IntoIterator<Item = (Arc<str>, Value)>) -> Self {
        let mut columns: Vec<_> = columns.into_iter().collect();
        columns.sort_by(|(one, _), (other, _)| one.cmp(other));
        Self((!columns.is_empty()).then(|| columns.into()))
    }

    /// Whether there are no other columns.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The value of a column; `None` if there is no column of this name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let columns = self.0.as_deref()?;
        let at = columns.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        Some(&columns[at].1)
    }

    /// About how many bytes the values take in a statement.
    pub fn bytes(&self) -> usize {
        let value = |value: &Value| match value {
            Value::Text(text) | Value::Time(text) | Value::Other(text) => text.len(),
            Value::Bytes(bytes) => bytes.len() * 2,
            Value::Null | Value::Boolean(_) | Value::Integer(_) | Value::Unreadable => 0,
        };
        self.0.iter().flat_map(|columns| columns.iter()).map(|(_, one)| 32 + value(one)).sum()
    }

    /// The first column whose value is [`Value::Unreadable`].
    pub fn unreadable(&self) -> Option<&str> {
        let mut columns = self.0.iter().flat_map(|columns| columns.iter());
        columns.find(|(_, value)| *value == Value::Unreadable).map(|(name, _)| &**name)
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|columns| columns.iter()).map(|(name, _)| &**name)
    }
}

impl fmt::Debug for Others {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Others({} columns)", self.0.as_ref().map_or(0, |columns| columns.len()))
    }
}

/// The value of a column, in a form that every database reads and writes without loss. Two values are equal if their
/// columns hold the same.
#[derive(Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Value {
    /// NULL.
    Null,
    /// A truth value.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// Text.
    Text(Arc<str>),
    /// Bytes.
    Bytes(Arc<[u8]>),
    /// An instant in UTC: `YYYY-MM-DD HH:MM:SS.ffffff`.
    Time(Arc<str>),
    /// A value of a type of one kind of database, as that database writes it.
    Other(Arc<str>),
    /// A value that does not match the type of its column. The session can be read, but the row can be neither carried
    /// nor compared.
    Unreadable,
}

/// Prints only the kind: a value may be a credential or personal data.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "Null",
            Self::Boolean(_) => "Boolean",
            Self::Integer(_) => "Integer",
            Self::Text(_) => "Text",
            Self::Bytes(_) => "Bytes",
            Self::Time(_) => "Time",
            Self::Other(_) => "Other",
            Self::Unreadable => "Unreadable",
        })
    }
}

/// The type of a column.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ColumnKind {
    /// Holds a [`Value::Boolean`].
    Boolean,
    /// Holds a [`Value::Integer`].
    Integer {
        /// The size in bits: 8, 16, 32 or 64. For an unsigned type it is the size that holds all its numbers.
        bits: u32,
    },
    /// Holds a [`Value::Text`].
    Text {
        /// The greatest length in characters; `None`: longer than any value of a session.
        characters: Option<u64>,
    },
    /// Holds a [`Value::Bytes`].
    Bytes {
        /// The greatest length in bytes; `None`: longer than any value of a session.
        bytes: Option<u64>,
    },
    /// Holds a [`Value::Time`].
    Time {
        /// How many digits of a fraction of a second it keeps.
        digits: u32,
    },
    /// Holds a [`Value::Other`]: a type that only one kind of database has.
    Other {
        /// The kind of database, `postgres` for example.
        database: &'static str,
        /// The name of the type in that database.
        kind: String,
    },
}

impl ColumnKind {
    /// Whether a column of this kind holds everything that a column of the kind `old` holds.
    fn holds(&self, old: &Self) -> bool {
        let enough = |new: &Option<u64>, old: &Option<u64>| new.is_none_or(|new| old.is_some_and(|old| old <= new));
        match (old, self) {
            (Self::Integer { bits: old }, Self::Integer { bits: new }) => old <= new,
            (Self::Text { characters: old }, Self::Text { characters: new }) => enough(new, old),
            (Self::Bytes { bytes: old }, Self::Bytes { bytes: new }) => enough(new, old),
            (Self::Time { digits: old }, Self::Time { digits: new }) => old <= new,
            (old, new) => old == new,
        }
    }
}

impl fmt::Display for ColumnKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean => f.write_str("a truth value"),
            Self::Integer { bits } => write!(f, "a number of {bits} bits"),
            Self::Text { characters: None } => f.write_str("text"),
            Self::Text { characters: Some(characters) } => write!(f, "text of {characters} characters"),
            Self::Bytes { bytes: None } => f.write_str("bytes"),
            Self::Bytes { bytes: Some(bytes) } => write!(f, "{bytes} bytes"),
            Self::Time { digits } => write!(f, "an instant with {digits} digits of a second"),
            Self::Other { database, kind } => write!(f, "{kind} of {database}"),
        }
    }
}

/// Another column of a session table: not the key, the payload or the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: Arc<str>,
    /// The type of its values.
    pub kind: ColumnKind,
    /// Whether it may be NULL.
    pub nullable: bool,
}

/// Checks that a table with the columns `new` can hold everything in the columns `old`, and that it needs no further
/// value.
///
/// # Errors
///
/// The reason, with the name of the first column that cannot be carried.
pub fn columns_carried(old: &[Column], new: &[Column]) -> Result<(), String> {
    for column in old {
        let Some(twin) = new.iter().find(|twin| twin.name == column.name) else {
            return Err(format!("the new table has no column {}: add it", column.name));
        };
        if !twin.kind.holds(&column.kind) {
            let (name, old, new) = (&column.name, &column.kind, &twin.kind);
            return Err(format!("the column {name} holds {old} in the old table, and only {new} in the new one"));
        }
        if column.nullable && !twin.nullable {
            return Err(format!("the column {} may be NULL in the old table, and not in the new one", column.name));
        }
    }
    match new.iter().find(|column| old.iter().all(|twin| twin.name != column.name)) {
        Some(extra) => Err(format!("the old table has no column {}, so the new one has no value for it", extra.name)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, kind: ColumnKind, nullable: bool) -> Column {
        Column { name: name.into(), kind, nullable }
    }

    #[test]
    fn columns_are_carried_into_wider_ones_alone() {
        let text = |characters| ColumnKind::Text { characters };
        let carried = |old: &ColumnKind, new: &ColumnKind| {
            columns_carried(&[column("a", old.clone(), false)], &[column("a", new.clone(), false)]).is_ok()
        };
        for (narrow, wide) in [
            (ColumnKind::Integer { bits: 32 }, ColumnKind::Integer { bits: 64 }),
            (text(Some(40)), text(Some(41))),
            (text(Some(40)), text(None)),
            (ColumnKind::Bytes { bytes: Some(1) }, ColumnKind::Bytes { bytes: None }),
            (ColumnKind::Time { digits: 0 }, ColumnKind::Time { digits: 6 }),
        ] {
            assert!(
                carried(&narrow, &narrow) && carried(&narrow, &wide) && !carried(&wide, &narrow),
                "{narrow}, {wide}"
            );
        }
        let inet = |database| ColumnKind::Other { database, kind: "inet".to_owned() };
        assert!(carried(&inet("postgres"), &inet("postgres")) && !carried(&inet("postgres"), &inet("mysql")));
        assert!(!carried(&inet("postgres"), &text(None)) && !carried(&ColumnKind::Boolean, &text(None)));
    }

    #[test]
    fn missing_further_and_stricter_columns_are_refused_by_name() {
        let boolean = |name, nullable| column(name, ColumnKind::Boolean, nullable);
        let why = |old: &[Column], new: &[Column]| columns_carried(old, new).unwrap_err();
        assert_eq!(columns_carried(&[], &[]), Ok(()));
        assert_eq!(columns_carried(&[boolean("a", false)], &[boolean("a", true)]), Ok(()));
        assert!(why(&[boolean("lost", false)], &[]).contains("lost"));
        assert!(why(&[], &[boolean("further", true)]).contains("further"));
        assert!(why(&[boolean("strict", true)], &[boolean("strict", false)]).contains("strict"));
    }

    #[test]
    fn values_are_found_by_name_and_never_printed() {
        let others = Others::new([("b".into(), Value::Text("secret".into())), ("a".into(), Value::Integer(7))]);
        assert_eq!(others.names().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((others.get("a"), others.get("c")), (Some(&Value::Integer(7)), None));
        assert!(!format!("{others:?} {:?}", others.get("b")).contains("secret"));
        assert!(Others::new([]).is_empty() && Others::default() == Others::new([]));
    }
}
