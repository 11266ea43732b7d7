//! The table that a database keeps its sessions in, and what is said of one that is not as its layout says.

use switchover_core::capabilities::DatabaseError;
use switchover_core::{Layout, Table};

use crate::others::OtherColumn;

/// A table, and how sessions stand in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SessionTable {
    pub(super) table: Table,
    pub(super) layout: Layout,
}

impl SessionTable {
    /// `name`: as the operator writes it; `None`: the layout's own.
    pub(super) fn parse(name: Option<&str>, layout: Layout) -> Result<Self, DatabaseError> {
        let table = Table::parse(name.unwrap_or(layout.default_table()));
        let table = table.map_err(|error| DatabaseError::Invalid { message: error.to_string() })?;
        Ok(Self { table, layout })
    }

    /// The name of an index on one of its columns. Django ends it with eight digits of the MD5 of table and column, for the table that
    /// everybody has; for any other table the name is without, and cut so that it fits.
    pub(super) fn index(&self, column: &str, django: &str, suffix: &str) -> String {
        match self.table.name() {
            "django_session" if self.layout == Layout::DJANGO => format!("django_session_{column}_{django}{suffix}"),
            other => format!("{}_{column}{suffix}", &other[..other.floor_char_boundary(40)]),
        }
    }

    /// Whether rows can be made without knowing its other columns.
    pub(super) fn check_others(&self, others: &[OtherColumn]) -> Result<(), DatabaseError> {
        match others.iter().find(|other| !other.column.nullable && !other.has_default) {
            Some(OtherColumn { column, .. }) => Err(self.different(format!(
                "its column {} must be filled, and only the application knows with what: give it a default",
                column.name
            ))),
            None => Ok(()),
        }
    }

    /// What it has that its layout has not, or the other way round.
    pub(super) fn different(&self, difference: impl AsRef<str>) -> DatabaseError {
        let (table, layout, difference) = (&self.table, self.layout.name(), difference.as_ref());
        DatabaseError::Corrupt { message: format!("{table} is not a table of the layout `{layout}`: {difference}") }
    }
}
