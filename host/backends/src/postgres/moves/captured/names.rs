//! The names of what a rebuild makes beside its table. They begin with the table's own, so that whoever finds them knows.

use switchover_core::Table;

use super::super::link::literal;

/// PostgreSQL cuts names after 63 bytes, and the longest ending has 14.
const BASE_BYTES_MAX: usize = 48;
/// The triggers on the table that counts.
pub(in super::super) const TRIGGERS: [&str; 2] = ["switchover_move", "switchover_move_all"];

/// Each in quotes and with its schema.
pub(in super::super) struct Names {
    /// The table of the applications, whichever of the two it is.
    pub(in super::super) table: String,
    /// The new table until the cut, and again after a way back.
    pub(in super::super) new: String,
    /// The old table after the cut.
    pub(in super::super) old: String,
    /// The keys that were written and not carried yet.
    pub(in super::super) changes: String,
    pub(in super::super) state: String,
    pub(in super::super) log: String,
    /// Beside the new table on another server: which copier may put.
    pub(in super::super) fence: String,
    /// The functions of a sealed table.
    pub(in super::super) sealed: String,
    pub(in super::super) refuse: String,
    /// The server of a bridge, and the foreign table behind a table that takes upserts.
    pub(in super::super) bridge: String,
    /// The function that carries an insert over the bridge.
    pub(in super::super) over: String,
    /// The function of the triggers.
    pub(in super::super) note: String,
    schema: String,
    base: String,
    plain: String,
}

impl Names {
    pub(in super::super) fn of(schema: &str, table: &str) -> Self {
        let base = table[..table.floor_char_boundary(BASE_BYTES_MAX)].to_owned();
        let name = |ending: &str| quoted(schema, &format!("{base}{ending}"));
        Self {
            table: quoted(schema, table),
            new: name("_move_new"),
            old: name("_move_old"),
            changes: name("_move_changes"),
            state: name("_move"),
            log: name("_move_log"),
            fence: name("_move_fence"),
            sealed: name("_move_sealed"),
            refuse: name("_move_refuse"),
            bridge: name("_move_bridge"),
            over: name("_move_over"),
            note: name("_move_note"),
            schema: schema.to_owned(),
            plain: table.to_owned(),
            base,
        }
    }

    /// The name of the table without its schema, in quotes: what `RENAME TO` takes.
    pub(in super::super) fn plain(&self) -> String {
        Table::quote(&self.plain, '"')
    }

    pub(in super::super) fn plain_new(&self) -> String {
        Table::quote(&format!("{}_move_new", self.base), '"')
    }

    /// The name of the bridge's server, which is in no schema.
    pub(in super::super) fn server(&self) -> String {
        Table::quote(&format!("{}_move_bridge", self.base), '"')
    }

    /// The schema and a table in it, as a foreign table's options.
    pub(in super::super) fn options(&self, table: &str) -> String {
        format!("schema_name {}, table_name {}", literal(&self.schema), literal(table))
    }

    /// The table's name without its schema and without quotes.
    pub(in super::super) fn unquoted(&self) -> &str {
        &self.plain
    }

    /// The name of the new table, in the same way.
    pub(in super::super) fn unquoted_new(&self) -> String {
        format!("{}_move_new", self.base)
    }

    /// The name of the fence, in the same way.
    pub(in super::super) fn unquoted_fence(&self) -> String {
        format!("{}_move_fence", self.base)
    }

    pub(in super::super) fn plain_old(&self) -> String {
        Table::quote(&format!("{}_move_old", self.base), '"')
    }

    /// An index of the schema.
    pub(in super::super) fn index(&self, name: &str) -> String {
        quoted(&self.schema, name)
    }
}

fn quoted(schema: &str, name: &str) -> String {
    format!("{}.{}", Table::quote(schema, '"'), Table::quote(name, '"'))
}
