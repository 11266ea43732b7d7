//! The columns of a table on a server, compared with those of its layout.

use switchover_core::Layout;
use switchover_core::capabilities::DatabaseError;

use crate::table::SessionTable;

/// A column as the server describes it.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) nullable: bool,
    /// Whether texts of it are equal only if their bytes are.
    pub(crate) exact: bool,
}

/// Checks that the columns are those of the layout, whose types are `kinds` in the order of [`Layout::columns`]. `remedy`: what
/// is said beside the difference, from the name of a column and the type that it has.
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
        // Django's keys have no two that a collation takes for one.
        if name == key && !column.exact && table.layout != Layout::DJANGO {
            let difference =
                format!("the collation of its column {name} takes different keys for one: give it a binary one");
            return Err(table.different(difference));
        }
    }
    Ok(())
}
