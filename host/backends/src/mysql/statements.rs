//! The SQL for one table. The texts of batches come in few lengths, so that a connection prepares each once.

/// Now, by the clock that the first parameter brings, or by the server's.
const NOW: &str = "coalesce(cast(? AS datetime(6)), utc_timestamp(6))";
/// The key of the row, byte for byte, whatever the collation and the character set; the index finds the row by the first half.
const KEY: &str = "session_key = ? AND cast(convert(session_key USING utf8mb4) AS binary) = cast(? AS binary)";
const ROW: &str = "session_key, session_data, cast(expire_date AS char(26))";

/// Rows or keys of one statement at most; a batch with more takes several.
pub(super) const CHUNK_MAX: usize = 128;
/// Characters of an application's name.
const APPLICATION_NAME_MAX: usize = 64;

/// The texts for one table.
pub(super) struct Statements {
    /// Before each text: whose it is.
    whose: String,
    table: String,
    pub(super) insert: String,
    pub(super) update: String,
    pub(super) touch: String,
    pub(super) delete: String,
    pub(super) delete_expired: String,
    pub(super) expired_left: String,
    pub(super) scan_first: String,
    pub(super) scan: String,
}

impl Statements {
    pub(super) fn of(table: &str, application_name: &str) -> Self {
        let (whose, table) = (comment(application_name), format!("`{table}`"));
        Self {
            insert: insert(&whose, &table, 1),
            update: format!("{whose}UPDATE {table} SET session_data = ?, expire_date = ? WHERE {KEY}"),
            touch: format!(
                "{whose}UPDATE {table} SET expire_date = greatest(expire_date, cast(? AS datetime(6))) WHERE {KEY}"
            ),
            delete: format!("{whose}DELETE FROM {table} WHERE {KEY}"),
            delete_expired: format!(
                "{whose}DELETE FROM {table} WHERE expire_date < least(coalesce(cast(? AS datetime(6)), {NOW}), {NOW}) \
                 ORDER BY expire_date LIMIT ?"
            ),
            expired_left: format!(
                "{whose}SELECT cast(count(*) AS signed) FROM {table} \
                 WHERE expire_date < least(coalesce(cast(? AS datetime(6)), {NOW}), {NOW})"
            ),
            scan_first: format!("{whose}SELECT {ROW}, expire_date > {NOW} FROM {table} ORDER BY session_key LIMIT ?"),
            scan: format!(
                "{whose}SELECT {ROW}, expire_date > {NOW} FROM {table} WHERE session_key > ? ORDER BY session_key LIMIT ?"
            ),
            whose,
            table,
        }
    }

    /// The unexpired rows of so many keys, and the clock.
    pub(super) fn load(&self, keys: usize) -> String {
        let (whose, table, keys) = (&self.whose, &self.table, list("?", keys));
        format!("{whose}SELECT {ROW} FROM {table} WHERE session_key IN ({keys}) AND expire_date > {NOW}")
    }

    pub(super) fn existing(&self, keys: usize) -> String {
        format!("{}SELECT session_key FROM {} WHERE session_key IN ({})", self.whose, self.table, list("?", keys))
    }

    /// Locks the rows of so many keys, in the order of the keys, and answers them, or their keys alone.
    pub(super) fn lock(&self, keys: usize, whole: bool, wait: bool) -> String {
        let nowait = if wait { "" } else { " NOWAIT" };
        let columns = if whole { ROW } else { "session_key" };
        let (whose, table, keys) = (&self.whose, &self.table, list("?", keys));
        format!(
            "{whose}SELECT {columns} FROM {table} WHERE session_key IN ({keys}) ORDER BY session_key FOR UPDATE{nowait}"
        )
    }

    pub(super) fn insert_many(&self, rows: usize) -> String {
        insert(&self.whose, &self.table, rows)
    }

    /// Inserts, or brings the row to payload and expiry; and to the key, where the collation took another key for it.
    pub(super) fn upsert_many(&self, rows: usize) -> String {
        format!(
            "{} ON DUPLICATE KEY UPDATE session_key = VALUES(session_key), session_data = VALUES(session_data), \
             expire_date = VALUES(expire_date)",
            insert(&self.whose, &self.table, rows)
        )
    }

    /// Moves the expiry of rows that are there, and locked: for each first its key and its end, then all keys once more.
    pub(super) fn touch_many(&self, rows: usize) -> String {
        let (whose, table, these) = (&self.whose, &self.table, list("?", rows));
        let ends = vec!["WHEN ? THEN cast(? AS datetime(6))"; rows].join(" ");
        format!(
            "{whose}UPDATE {table} SET expire_date = greatest(expire_date, CASE session_key {ends} END) \
             WHERE session_key IN ({these}) ORDER BY session_key LIMIT {rows}"
        )
    }

    /// Without order and limit MariaDB reads all of a small table, and waits for rows of other keys that somebody has locked.
    pub(super) fn delete_many(&self, keys: usize) -> String {
        let (whose, table, these) = (&self.whose, &self.table, list("?", keys));
        format!("{whose}DELETE FROM {table} WHERE session_key IN ({these}) ORDER BY session_key LIMIT {keys}")
    }
}

/// Nothing that ends a comment, or makes a hint or a statement of it, is left of the name.
fn comment(application_name: &str) -> String {
    let keep = |letter: char| if letter.is_ascii_alphanumeric() || "._- ".contains(letter) { letter } else { '_' };
    let name: String = application_name.chars().take(APPLICATION_NAME_MAX).map(keep).collect();
    if name.is_empty() { name } else { format!("/* {name} */ ") }
}

fn insert(whose: &str, table: &str, rows: usize) -> String {
    let rows = list("(?, ?, ?)", rows);
    format!("{whose}INSERT INTO {table} (session_key, session_data, expire_date) VALUES {rows}")
}

fn list(item: &str, times: usize) -> String {
    vec![item; times].join(", ")
}
