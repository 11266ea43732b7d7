//! The table that a database keeps its sessions in, and the errors for a table that does not match its layout.

use switchover_core::capabilities::DatabaseError;
use switchover_core::{Layout, Table};

use crate::others::OtherColumn;

/// What to do about a missing table. The statement that misses it may be that of a trigger.
pub(super) const MISSING_TABLE: &str = "the session table is made by `switchover init` or Django's `migrate`, a table \
                                        that a trigger needs by whoever made the trigger";

/// Why a table whose rows delete each other is refused.
pub(super) const OWN_CASCADE: &str = "its rows refer to rows of the same table with ON DELETE CASCADE, so the \
                                      deletion of an expired session may delete living ones: give the reference \
                                      another action";

/// A table and its layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SessionTable {
    pub(super) table: Table,
    pub(super) layout: Layout,
}

impl SessionTable {
    /// `name` is the table's name as the operator writes it; `None` means the layout's default table.
    pub(super) fn parse(name: Option<&str>, layout: Layout) -> Result<Self, DatabaseError> {
        let table = Table::parse(name.unwrap_or(layout.default_table()));
        let table = table.map_err(|error| DatabaseError::Invalid { message: error.to_string() })?;
        Ok(Self { table, layout })
    }

    /// The name of an index on one of the table's columns. In the table `django_session`, Django ends the name with
    /// eight digits of the MD5 of table and column. For any other table the name has no such digits, and it is cut to
    /// fit.
    pub(super) fn index(&self, column: &str, django: &str, suffix: &str) -> String {
        match self.table.name() {
            "django_session" if self.layout == Layout::DJANGO => format!("django_session_{column}_{django}{suffix}"),
            other => format!("{}_{column}{suffix}", &other[..other.floor_char_boundary(40)]),
        }
    }

    /// Checks that a row can be inserted without values for the table's other columns.
    pub(super) fn check_others(&self, others: &[OtherColumn]) -> Result<(), DatabaseError> {
        match others.iter().find(|other| !other.column.nullable && !other.has_default) {
            Some(OtherColumn { column, .. }) => Err(self.different(format!(
                "its column {} must be filled, and only the application knows with what: give it a default",
                column.name
            ))),
            None => Ok(()),
        }
    }

    /// The error for a table that does not match its layout; `difference` says what it has or lacks.
    pub(super) fn different(&self, difference: impl AsRef<str>) -> DatabaseError {
        let (table, layout, difference) = (&self.table, self.layout.name(), difference.as_ref());
        DatabaseError::Corrupt { message: format!("{table} is not a table of the layout `{layout}`: {difference}") }
    }
}
