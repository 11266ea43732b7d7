//! Texts in character sets that do not define every byte. The server sends an undefined byte as a question mark, so two
//! different texts would look the same.

use std::collections::BTreeMap;

/// In these, every text that a column can hold is the same after a conversion to UTF-8 and back.
const COMPLETE: [&str; 5] = ["utf8mb4", "utf8mb3", "utf8", "latin1", "binary"];

/// The columns of a table whose character sets may leave bytes undefined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CharacterSets(BTreeMap<String, String>);

impl CharacterSets {
    /// Notes the character set of a column; `None`: the column has none.
    pub(super) fn add(&mut self, column: &str, set: Option<String>) {
        if let Some(set) = set.filter(|set| !COMPLETE.contains(&set.as_str())) {
            self.0.insert(column.to_owned(), set);
        }
    }

    /// The expression that selects a text. `quoted` is the column in SQL. For a text with undefined bytes it selects
    /// bytes that are no UTF-8.
    pub(super) fn given_out(&self, column: &str, quoted: &str) -> Option<String> {
        let set = self.0.get(column)?;
        let (text, bytes) = (format!("convert({quoted} USING utf8mb4)"), format!("cast({quoted} AS binary)"));
        Some(format!(
            "CASE WHEN {quoted} IS NULL OR cast(convert({text} USING {set}) AS binary) = {bytes} \
             THEN cast({text} AS binary) ELSE concat(cast(x'ff' AS binary), {bytes}) END"
        ))
    }
}
