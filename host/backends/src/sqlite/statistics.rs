//! Measures what a table holds and how much room it takes, as SQLite reports it.

use std::time::Instant;

use rusqlite::{Connection, Row};
use switchover_core::Timestamp;
use switchover_core::capabilities::{DatabaseError, Remedy, Statistics};

use super::connection::database_error;
use super::statements::{expired, no_time};
use crate::django_time as time;
use crate::table::SessionTable;

/// After how many steps of SQLite's virtual machine the clock is checked: well below a millisecond.
const STEPS: i32 = 10_000;

/// Stops work that may take long at `deadline`.
pub(super) fn until<T>(
    connection: &Connection,
    deadline: Instant,
    work: impl FnOnce() -> Result<T, DatabaseError>,
) -> Result<T, DatabaseError> {
    connection
        .progress_handler(STEPS, Some(move || deadline <= Instant::now()))
        .map_err(|error| database_error(&error))?;
    let done = work();
    let ended = connection.progress_handler(0, None::<fn() -> bool>).map_err(|error| database_error(&error));
    done.and_then(|done| ended.map(|()| done))
}

/// Counts and asks.
pub(super) fn statistics(
    connection: &Connection,
    table: &SessionTable,
    now: Timestamp,
) -> Result<Statistics, DatabaseError> {
    count(connection, table, now).map_err(|error| database_error(&error))
}

fn count(connection: &Connection, table: &SessionTable, now: Timestamp) -> rusqlite::Result<Statistics> {
    let mut statistics = Statistics::default();
    let [_, payload, _] = table.layout.columns();
    let (expired, no_time) = (expired(table.layout), no_time(table.layout));
    let bytes = format!("octet_length({payload})");
    let sql = format!(
        "SELECT count(*), count(*) FILTER (WHERE {expired}), coalesce(sum({bytes}), 0), \
         coalesce(sum({bytes}) FILTER (WHERE {expired}), 0), count(*) FILTER (WHERE {no_time}) FROM {}",
        table.table.quoted('"')
    );
    connection.query_row(&sql, [time::to_text(now)], |row| {
        statistics.rows = number(row, 0)?;
        statistics.expired_rows = number(row, 1)?;
        statistics.payload_bytes = number(row, 2)?;
        statistics.expired_payload_bytes = number(row, 3)?;
        statistics.unreadable_rows = number(row, 4)?;
        Ok(())
    })?;
    let one = |sql: &str| connection.query_row(sql, [], |row| number(row, 0));
    let page = one("PRAGMA page_size")?;
    let mut unused = one("PRAGMA freelist_count")? * page;
    statistics.file_bytes = Some(one("PRAGMA page_count")? * page);
    // Without this table SQLite reports only the size of the file. The bundled SQLite has it.
    if one("SELECT count(*) FROM pragma_module_list WHERE name = 'dbstat'")? > 0 {
        let sql = "SELECT coalesce(sum(pgsize), 0), coalesce(sum(unused), 0) FROM dbstat \
                   WHERE name IN (SELECT name FROM sqlite_master WHERE type = ?1 AND tbl_name = ?2 COLLATE NOCASE)";
        let room = |kind: &str| {
            connection.query_row(sql, [kind, table.table.name()], |row| Ok((number(row, 0)?, number(row, 1)?)))
        };
        let ((table, in_table), (index, in_index)) = (room("table")?, room("index")?);
        (statistics.table_bytes, statistics.index_bytes) = (Some(table), Some(index));
        unused += in_table + in_index;
    }
    statistics.unused_bytes = Some(unused);
    statistics.remedies = vec![Remedy::new(
        "VACUUM",
        "every write of the file waits; it needs the room of what is left a second time, beside the file and in its \
         log",
    )];
    Ok(statistics)
}

/// SQLite's numbers are signed; none of these is ever negative.
fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(|number| u64::try_from(number).unwrap_or(0))
}
