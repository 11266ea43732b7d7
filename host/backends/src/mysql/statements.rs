//! The SQL for one table. The texts of batches come in few lengths, so that a connection prepares each once.

use switchover_core::{Layout, Table};

use super::character_sets::CharacterSets;
use super::others::{Columns, given_out, taken_in};
use super::side_tables::SideNames;
use crate::others::OtherColumn;
use crate::table::SessionTable;

/// The current time, by the clock whose time is the first parameter, or by the server's if that is NULL.
const NOW: &str = "coalesce(cast(? AS datetime(6)), utc_timestamp(6))";
/// How many rows or keys one statement has at most. A batch with more takes several statements.
pub(super) const CHUNK_MAX: usize = 128;
/// How many characters of an application's name are kept.
const APPLICATION_NAME_MAX: usize = 64;

/// The texts for one table.
pub(super) struct Statements {
    /// A comment before each text that names the application.
    whose: String,
    /// The quoted name.
    table: String,
    layout: Layout,
    pub(super) columns: Columns,
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
    /// Writes the statements for the table and its columns.
    pub(super) fn of(SessionTable { table, layout }: &SessionTable, columns: Columns, application_name: &str) -> Self {
        let (whose, table) = (comment(application_name), table.quoted('`'));
        let Columns { others, character_sets } = &columns;
        let ([key, payload, end], of_key) = (layout.columns(), of_key(*layout));
        let (row, given_out) = (row(*layout, &[], character_sets), given_out_all(others, character_sets));
        let (no_time, cut) = (no_time(end), format!("least(coalesce(cast(? AS datetime(6)), {NOW}), {NOW})"));
        Self {
            insert: insert(&whose, &table, *layout, &[], 1),
            update: format!("{whose}UPDATE {table} SET {payload} = ?, {end} = ? WHERE {of_key}"),
            touch: format!("{whose}UPDATE {table} SET {end} = greatest({end}, cast(? AS datetime(6))) WHERE {of_key}"),
            delete: format!("{whose}DELETE FROM {table} WHERE {of_key}"),
            // The order of the join is fixed: whoever reads the table first would wait for locked rows.
            delete_expired: format!(
                "{whose}DELETE t FROM (\
                     SELECT {key} FROM {table} WHERE {end} < {cut} \
                     ORDER BY {end} LIMIT ? OFFSET ? FOR UPDATE SKIP LOCKED) AS found \
                 STRAIGHT_JOIN {table} AS t ON t.{key} = found.{key} \
                 WHERE t.{end} < {cut}"
            ),
            expired_left: format!(
                "{whose}SELECT cast((SELECT count(*) FROM {table} WHERE {end} < {cut}) AS signed), \
                        cast((SELECT count(*) FROM {table} WHERE {end} >= {cut} AND {no_time}) AS signed)"
            ),
            scan_first: format!("{whose}SELECT {row}, {end} > {NOW}{given_out} FROM {table} ORDER BY {key} LIMIT ?"),
            scan: format!(
                "{whose}SELECT {row}, {end} > {NOW}{given_out} FROM {table} WHERE {key} > ? ORDER BY {key} LIMIT ?"
            ),
            whose,
            table,
            layout: *layout,
            columns,
        }
    }

    /// Selects the unexpired rows of so many keys. The parameters are the clock's time and the keys.
    pub(super) fn load(&self, keys: usize) -> String {
        let (whose, table, keys) = (&self.whose, &self.table, list("?", keys));
        let ([key, _, end], row) = (self.layout.columns(), self.row(&self.columns.others));
        format!("{whose}SELECT {row} FROM {table} WHERE {key} IN ({keys}) AND {end} > {NOW}")
    }

    /// As [`Statements::load`], with a first row that has the fence of the migration, which is the first parameter. The
    /// last column is its epoch, and NULL in the others.
    pub(super) fn load_under(&self, keys: usize, names: &SideNames) -> String {
        let nulls = "NULL, ".repeat(3 + self.columns.others.len());
        let (whose, table, keys) = (&self.whose, &self.table, list("?", keys));
        let ([key, _, end], row) = (self.layout.columns(), self.row(&self.columns.others));
        format!(
            "{whose}SELECT {nulls}epoch FROM {} WHERE migration = ? UNION ALL \
             SELECT {row}, NULL FROM {table} WHERE {key} IN ({keys}) AND {end} > {NOW}",
            names.fence
        )
    }

    /// As [`Statements::existing`], with a first row as in [`Statements::load_under`].
    pub(super) fn existing_under(&self, keys: usize, names: &SideNames) -> String {
        let (whose, table, [key, ..]) = (&self.whose, &self.table, self.layout.columns());
        let given_out = text(key, &self.columns.character_sets);
        format!(
            "{whose}SELECT NULL, epoch FROM {} WHERE migration = ? UNION ALL \
             SELECT {given_out}, NULL FROM {table} WHERE {key} IN ({})",
            names.fence,
            list("?", keys)
        )
    }

    /// Selects the rows of so many keys, whether they have ended or not.
    pub(super) fn rows(&self, keys: usize) -> String {
        let (whose, table, [key, ..]) = (&self.whose, &self.table, self.layout.columns());
        format!("{whose}SELECT {} FROM {table} WHERE {key} IN ({})", self.row(&self.columns.others), list("?", keys))
    }

    /// The fence, the rows of so many keys and their marks in one snapshot. The last two columns say which it is (0, 1,
    /// 2) and have the epoch or the token. The parameters are the migration, the keys, and both once more.
    pub(super) fn marked_rows(&self, keys: usize, names: &SideNames) -> String {
        let more = "NULL, ".repeat(2 + self.columns.others.len());
        let (whose, table, these) = (&self.whose, &self.table, list("?", keys));
        let ([key, ..], row) = (self.layout.columns(), self.row(&self.columns.others));
        format!(
            "{whose}SELECT NULL, {more}cast(0 AS signed), epoch FROM {} WHERE migration = ? UNION ALL \
             SELECT {row}, 1, NULL FROM {table} WHERE {key} IN ({these}) UNION ALL \
             SELECT session_key, {more}2, mark FROM {} WHERE migration = ? AND session_key IN ({these}) \
             AND mark IS NOT NULL",
            names.fence, names.key
        )
    }

    pub(super) fn existing(&self, keys: usize) -> String {
        let (whose, table, [key, ..]) = (&self.whose, &self.table, self.layout.columns());
        let given_out = text(key, &self.columns.character_sets);
        format!("{whose}SELECT {given_out} FROM {table} WHERE {key} IN ({})", list("?", keys))
    }

    /// Locks the rows of so many keys, in the order of the keys, and selects them or only their keys.
    ///
    /// Without order and limit, MariaDB reads all of a small table and waits for rows of other keys that somebody has
    /// locked. This holds for each statement that locks many rows.
    pub(super) fn lock(&self, keys: usize, whole: bool, wait: bool) -> String {
        let nowait = if wait { "" } else { " NOWAIT" };
        let [key, ..] = self.layout.columns();
        let columns = if whole { self.row(&self.columns.others) } else { text(key, &self.columns.character_sets) };
        let (whose, table, these) = (&self.whose, &self.table, list("?", keys));
        format!(
            "{whose}SELECT {columns} FROM {table} WHERE {key} IN ({these}) ORDER BY {key} LIMIT {keys} FOR UPDATE{nowait}"
        )
    }

    /// With `whole`, the rows have values for the other columns.
    pub(super) fn insert_many(&self, rows: usize, whole: bool) -> String {
        insert(&self.whose, &self.table, self.layout, self.others_of(whole), rows)
    }

    fn others_of(&self, whole: bool) -> &[OtherColumn] {
        if whole { &self.columns.others } else { &[] }
    }

    fn row(&self, others: &[OtherColumn]) -> String {
        row(self.layout, others, &self.columns.character_sets)
    }

    /// Inserts, or sets payload and expiry of the row; it sets the key too, in case the collation found another key's
    /// row.
    pub(super) fn upsert_many(&self, rows: usize, whole: bool) -> String {
        let set = |column: &str| format!("{column} = VALUES({column})");
        let own = self.layout.columns().map(set).into_iter();
        let others = self.others_of(whole).iter().map(|other| set(&quoted(other)));
        let set = own.chain(others).collect::<Vec<_>>().join(", ");
        format!("{} ON DUPLICATE KEY UPDATE {set}", self.insert_many(rows, whole))
    }

    /// Moves the expiry of rows that exist and are locked. The parameters are key and end of each row, then all keys
    /// once more.
    pub(super) fn touch_many(&self, rows: usize) -> String {
        let (whose, table, these) = (&self.whose, &self.table, list("?", rows));
        let [key, _, end] = self.layout.columns();
        let ends = vec!["WHEN ? THEN cast(? AS datetime(6))"; rows].join(" ");
        format!(
            "{whose}UPDATE {table} SET {end} = greatest({end}, CASE {key} {ends} END) \
             WHERE {key} IN ({these}) ORDER BY {key} LIMIT {rows}"
        )
    }

    pub(super) fn delete_many(&self, keys: usize) -> String {
        let (whose, table, these) = (&self.whose, &self.table, list("?", keys));
        let [key, ..] = self.layout.columns();
        format!("{whose}DELETE FROM {table} WHERE {key} IN ({these}) ORDER BY {key} LIMIT {keys}")
    }
}

/// Removes from the name everything that ends a comment, or makes it a hint or a statement.
fn comment(application_name: &str) -> String {
    let keep = |letter: char| if letter.is_ascii_alphanumeric() || "._- ".contains(letter) { letter } else { '_' };
    let name: String = application_name.chars().take(APPLICATION_NAME_MAX).map(keep).collect();
    if name.is_empty() { name } else { format!("/* {name} */ ") }
}

/// The columns of a row: key, payload, the end as text, and the other columns.
fn row(layout: Layout, others: &[OtherColumn], sets: &CharacterSets) -> String {
    let [key, payload, end] = layout.columns();
    let (key, payload) = (text(key, sets), text(payload, sets));
    format!("{key}, {payload}, cast({end} AS char(26)){}", given_out_all(others, sets))
}

fn given_out_all(others: &[OtherColumn], sets: &CharacterSets) -> String {
    others.iter().map(|other| format!(", {}", given_out(other, sets))).collect()
}

/// Selects a key or a payload.
fn text(column: &str, sets: &CharacterSets) -> String {
    sets.given_out(column, column).unwrap_or_else(|| column.to_owned())
}

/// Whether an end is no time: a month or a day is 0, or the month has no such day. Some modes of the server let it be
/// stored.
pub(super) fn no_time(end: &str) -> String {
    format!("(month({end}) = 0 OR dayofmonth({end}) = 0 OR dayofmonth({end}) > dayofmonth(last_day({end})))")
}

fn quoted(other: &OtherColumn) -> String {
    Table::quote(&other.column.name, '`')
}

/// Compares the key byte for byte, with any collation and character set. The index finds the row by the first half.
fn of_key(layout: Layout) -> String {
    let [key, ..] = layout.columns();
    format!("{key} = ? AND cast(convert({key} USING utf8mb4) AS binary) = cast(? AS binary)")
}

fn insert(whose: &str, table: &str, layout: Layout, others: &[OtherColumn], rows: usize) -> String {
    let [key, payload, end] = layout.columns();
    let names: String = others.iter().map(|other| format!(", {}", quoted(other))).collect();
    let values: String = others.iter().map(|other| format!(", {}", taken_in(other))).collect();
    let rows = list(&format!("(?, ?, ?{values})"), rows);
    format!("{whose}INSERT INTO {table} ({key}, {payload}, {end}{names}) VALUES {rows}")
}

fn list(item: &str, times: usize) -> String {
    vec![item; times].join(", ")
}
