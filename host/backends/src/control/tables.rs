//! The control tables, as statements.

use super::port::Dialect;

/// A table: its name, its columns with their types, and its primary key.
pub(super) struct ControlTable {
    pub(super) name: &'static str,
    columns: &'static [(&'static str, Type)],
    key: &'static str,
}

enum Type {
    Name,
    NameOrNull,
    Text,
    TextOrNull,
    Int,
    IntOrNull,
}

use Type::{Int, IntOrNull, Name, NameOrNull, Text, TextOrNull};

pub(super) const TABLES: [ControlTable; 5] = [
    ControlTable {
        name: "switchover_control",
        columns: &[
            ("migration", Name),
            ("version", Int),
            ("epoch", Int),
            ("phase", Name),
            ("profile", Name),
            ("policy", Name),
            ("flags", Text),
            ("sealed", Int),
            ("settled", IntOrNull),
            ("verified", IntOrNull),
            ("backfilled", IntOrNull),
            ("held", TextOrNull),
            ("rate", IntOrNull),
            ("old_table", Text),
            ("new_table", Text),
            ("since", Int),
            ("continued_by", NameOrNull),
        ],
        key: "migration",
    },
    ControlTable {
        name: "switchover_host",
        columns: &[
            ("migration", Name),
            ("host", Name),
            ("incarnation", Name),
            ("acknowledged", Int),
            ("lease_until", Int),
            ("given_up", IntOrNull),
            ("about", Text),
        ],
        key: "migration, host",
    },
    ControlTable {
        name: "switchover_job",
        columns: &[
            ("migration", Name),
            ("job", Name),
            ("host", Name),
            ("incarnation", Name),
            ("lease_until", Int),
            ("epoch", Int),
            ("position", TextOrNull),
            ("done", Int),
            ("total", IntOrNull),
            ("note", Text),
            ("began", Int),
            ("reported", Int),
        ],
        key: "migration, job",
    },
    ControlTable {
        name: "switchover_suspension",
        columns: &[("migration", Name), ("host", Name), ("incarnation", Name), ("lease_until", Int)],
        key: "migration, host, incarnation",
    },
    ControlTable {
        name: "switchover_log",
        columns: &[
            ("migration", Name),
            ("at", Int),
            ("id", Name),
            ("epoch", Int),
            ("decision", Text),
            ("guards", Text),
        ],
        key: "migration, at, id",
    },
];

impl ControlTable {
    /// The statement that makes the table.
    pub(super) fn create(&self, dialect: &Dialect) -> String {
        let column = |(name, kind): &(&str, Type)| {
            let kind = match kind {
                Name => format!("{} NOT NULL", dialect.name),
                NameOrNull => dialect.name.to_owned(),
                Text => format!("{} NOT NULL", dialect.text),
                TextOrNull => dialect.text.to_owned(),
                Int => "BIGINT NOT NULL".to_owned(),
                IntOrNull => "BIGINT".to_owned(),
            };
            format!("  {name} {kind}")
        };
        let columns = self.columns.iter().map(column).collect::<Vec<_>>().join(",\n");
        format!("CREATE TABLE {} (\n{columns},\n  PRIMARY KEY ({})){}", self.name, self.key, dialect.table)
    }

    /// All columns, in their order.
    pub(super) fn columns(&self) -> String {
        self.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }
}
