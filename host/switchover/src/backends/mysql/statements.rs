//! The SQL for one table. The texts of batches come in few lengths, so that a connection prepares each once.

/// Now, by the clock that the first parameter brings, or by the server's.
const NOW: &str = "coalesce(cast(? AS datetime(6)), utc_timestamp(6))";
/// The key of the row, byte for byte, whatever the collation; the index finds the row by the first half.
const KEY: &str = "session_key = ? AND cast(session_key AS binary) = cast(? AS binary)";
const ROW: &str = "session_key, session_data, cast(expire_date AS char(26))";

/// Rows or keys of one statement at most; a batch with more takes several.
pub(super) const CHUNK_MAX: usize = 128;

/// The texts for one table.
pub(super) struct Statements {
    table: String,
    pub(super) insert: String,
    pub(super) update: String,
    pub(super) touch: String,
    pub(super) delete: String,
    pub(super) delete_expired: String,
    pub(super) scan: String,
}

impl Statements {
    pub(super) fn of(table: &str) -> Self {
        let table = format!("`{table}`");
        Self {
            insert: insert(&table, 1),
            update: format!("UPDATE {table} SET session_data = ?, expire_date = ? WHERE {KEY}"),
            touch: format!(
                "UPDATE {table} SET expire_date = greatest(expire_date, cast(? AS datetime(6))) WHERE {KEY}"
            ),
            delete: format!("DELETE FROM {table} WHERE {KEY}"),
            delete_expired: format!(
                "DELETE FROM {table} WHERE expire_date < least(coalesce(cast(? AS datetime(6)), {NOW}), {NOW}) \
                 ORDER BY expire_date LIMIT ?"
            ),
            scan: format!(
                "SELECT {ROW}, expire_date > {NOW} FROM {table} WHERE session_key > ? ORDER BY session_key LIMIT ?"
            ),
            table,
        }
    }

    /// The unexpired rows of so many keys, and the clock.
    pub(super) fn load(&self, keys: usize) -> String {
        format!("SELECT {ROW} FROM {} WHERE session_key IN ({}) AND expire_date > {NOW}", self.table, list("?", keys))
    }

    pub(super) fn existing(&self, keys: usize) -> String {
        format!("SELECT session_key FROM {} WHERE session_key IN ({})", self.table, list("?", keys))
    }

    /// Locks the rows of so many keys, in the order of the keys, and answers them.
    pub(super) fn lock(&self, keys: usize, wait: bool) -> String {
        let nowait = if wait { "" } else { " NOWAIT" };
        let keys = list("?", keys);
        format!(
            "SELECT {ROW} FROM {} WHERE session_key IN ({keys}) ORDER BY session_key FOR UPDATE{nowait}",
            self.table
        )
    }

    pub(super) fn insert_many(&self, rows: usize) -> String {
        insert(&self.table, rows)
    }

    /// Inserts, or brings the row to payload and expiry; and to the key, where the collation took another key for it.
    pub(super) fn upsert_many(&self, rows: usize) -> String {
        format!(
            "{} ON DUPLICATE KEY UPDATE session_key = VALUES(session_key), session_data = VALUES(session_data), \
             expire_date = VALUES(expire_date)",
            insert(&self.table, rows)
        )
    }

    /// Moves the expiry of rows that are there; the payload is not looked at.
    pub(super) fn touch_many(&self, rows: usize) -> String {
        format!(
            "{} ON DUPLICATE KEY UPDATE expire_date = greatest(expire_date, VALUES(expire_date))",
            insert(&self.table, rows)
        )
    }

    /// Without order and limit MariaDB reads all of a small table, and waits for rows of other keys that somebody has locked.
    pub(super) fn delete_many(&self, keys: usize) -> String {
        let these = list("?", keys);
        format!("DELETE FROM {} WHERE session_key IN ({these}) ORDER BY session_key LIMIT {keys}", self.table)
    }
}

fn insert(table: &str, rows: usize) -> String {
    format!("INSERT INTO {table} (session_key, session_data, expire_date) VALUES {}", list("(?, ?, ?)", rows))
}

fn list(item: &str, times: usize) -> String {
    vec![item; times].join(", ")
}
