//! The names of what a rebuild makes beside its table. They begin with the table's own, so that whoever finds them knows.

use switchover_core::Table;

/// PostgreSQL cuts names after 63 bytes, and the longest ending has 14.
const BASE_BYTES_MAX: usize = 48;
/// The triggers on the table that counts.
pub(super) const TRIGGERS: [&str; 2] = ["switchover_move", "switchover_move_all"];

/// Each in quotes and with its schema.
pub(super) struct Names {
    /// The table of the applications, whichever of the two it is.
    pub(super) table: String,
    /// The new table until the cut, and again after a way back.
    pub(super) new: String,
    /// The old table after the cut.
    pub(super) old: String,
    /// The keys that were written and not carried yet.
    pub(super) changes: String,
    pub(super) state: String,
    pub(super) log: String,
    /// The function of the triggers.
    pub(super) note: String,
    schema: String,
    base: String,
    plain: String,
}

impl Names {
    pub(super) fn of(schema: &str, table: &str) -> Self {
        let base = table[..table.floor_char_boundary(BASE_BYTES_MAX)].to_owned();
        let name = |ending: &str| quoted(schema, &format!("{base}{ending}"));
        Self {
            table: quoted(schema, table),
            new: name("_move_new"),
            old: name("_move_old"),
            changes: name("_move_changes"),
            state: name("_move"),
            log: name("_move_log"),
            note: name("_move_note"),
            schema: schema.to_owned(),
            plain: table.to_owned(),
            base,
        }
    }

    /// The name of the table without its schema, in quotes: what `RENAME TO` takes.
    pub(super) fn plain(&self) -> String {
        Table::quote(&self.plain, '"')
    }

    pub(super) fn plain_new(&self) -> String {
        Table::quote(&format!("{}_move_new", self.base), '"')
    }

    pub(super) fn plain_old(&self) -> String {
        Table::quote(&format!("{}_move_old", self.base), '"')
    }

    /// An index of the schema.
    pub(super) fn index(&self, name: &str) -> String {
        quoted(&self.schema, name)
    }
}

fn quoted(schema: &str, name: &str) -> String {
    format!("{}.{}", Table::quote(schema, '"'), Table::quote(name, '"'))
}
