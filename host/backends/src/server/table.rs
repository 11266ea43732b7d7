//! Compares the columns of a table on a server with those of its layout.

use switchover_core::Layout;
use switchover_core::capabilities::DatabaseError;

use crate::table::SessionTable;

/// A column as the server describes it.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) nullable: bool,
    /// Whether the column compares texts byte for byte.
    pub(crate) exact: bool,
}

/// Checks that the columns are those of the layout. `kinds` has their types, in the order of [`Layout::columns`].
/// `remedy` makes the advice that is added to the difference, from a column's name and its type.
pub(crate) fn check_columns(
    table: &SessionTable,
    columns: &[Column],
    kinds: [&str; 3],
    remedy: impl Fn(&str, &str) -> Option<String>,
) -> Result<(), DatabaseError> {
    let [key, ..] = table.layout.columns();
    for (name, kind) in table.layout.columns().into_iter().zip(kinds) {
        let Some(column) = columns.iter().find(|column| column.name == name) else {
            return Err(table.different(format!("it has no column {name}")));
        };
        if column.kind != kind {
            let remedy = remedy(name, &column.kind).map(|remedy| format!("; {remedy}")).unwrap_or_default();
            return Err(table.different(format!("its column {name} is {:?}, not {kind:?}{remedy}", column.kind)));
        }
        if column.nullable {
            return Err(table.different(format!("its column {name} may be NULL")));
        }
        // The layout `django` has only keys of `a-z` and `0-9`; no collation takes two of them for the same.
        if name == key && !column.exact && table.layout != Layout::DJANGO {
            let difference =
                format!("the collation of its column {name} takes different keys for one: give it a binary one");
            return Err(table.different(difference));
        }
    }
    Ok(())
}
