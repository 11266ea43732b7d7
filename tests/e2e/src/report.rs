//! Tables in Markdown and settings in a line, for the reports of benchmarks.

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};
use serde_json::Value;

/// An empty table.
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(header);
    table
}

/// The table as text. Columns from number `left` on are aligned right.
pub fn align(table: &mut Table, left: usize) -> String {
    for column in table.column_iter_mut().skip(left) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{table}\n")
}

/// Settings in a line.
pub fn settings(settings: &[(String, String)]) -> String {
    settings.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
}

/// Settings as an object.
pub fn settings_json(settings: &[(String, String)]) -> Value {
    let pairs = settings.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str())));
    pairs.collect::<serde_json::Map<_, _>>().into()
}

/// Whether a promise held in a run, in words.
pub fn holds(held: bool) -> &'static str {
    if held { "holds" } else { "DOES NOT HOLD" }
}
