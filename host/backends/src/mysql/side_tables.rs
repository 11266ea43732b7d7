//! The side tables of migrations on MySQL and MariaDB: their definitions, and the statements on them.

use switchover_core::Table;

/// The names of the tables, quoted, beside the session table.
pub(super) struct SideNames {
    schema: Option<String>,
    pub(super) fence: String,
    pub(super) key: String,
    /// The table of keys in a statement that locks rows of it.
    pub(super) key_locked: String,
}

/// The two tables, by their names.
pub(super) const FENCE: &str = "switchover_fence";
pub(super) const KEY: &str = "switchover_key";

/// Now, in microseconds since 1970, whatever the zone of the connection.
pub(super) const NOW: &str = "timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))";

impl SideNames {
    /// Of the side tables beside this session table.
    pub(super) fn of(table: &Table) -> Self {
        let schema = table.schema().map(str::to_owned);
        let quoted = |name: &str| match &schema {
            Some(schema) => format!("{}.{}", Table::quote(schema, '`'), Table::quote(name, '`')),
            None => Table::quote(name, '`'),
        };
        let key = quoted(KEY);
        Self { fence: quoted(FENCE), key_locked: format!("{key} FORCE INDEX (PRIMARY)"), key, schema }
    }

    pub(super) fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// The statement that makes one of the tables.
    pub(super) fn create(&self, name: &str) -> String {
        let migration = "migration VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL";
        if name == FENCE {
            return format!(
                "CREATE TABLE IF NOT EXISTS {} ({migration} PRIMARY KEY, epoch BIGINT NOT NULL) ENGINE=InnoDB",
                self.fence
            );
        }
        format!(
            "CREATE TABLE IF NOT EXISTS {} ({migration}, session_key VARBINARY(255) NOT NULL, \
             number BIGINT NOT NULL DEFAULT 0, mark BIGINT, since BIGINT NOT NULL DEFAULT 0, \
             attempts INT NOT NULL DEFAULT 0, PRIMARY KEY (migration, session_key), \
             KEY switchover_key_mark (migration, since)) ENGINE=InnoDB",
            self.key
        )
    }
}

/// A text as a literal that needs no escape, for statements that are sent several at a time.
pub(super) fn literal(text: &str) -> String {
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    if hex.is_empty() { "''".to_owned() } else { format!("convert(x'{hex}' USING utf8mb4)") }
}
