//! Measures what a table on MySQL or MariaDB holds, how much room it takes, and what gives room back.

use sqlx::mysql::MySqlConnection;
use sqlx::{Executor as _, Row as _};
use switchover_core::capabilities::{Remedy, Statistics};

use super::statements::no_time;
use crate::table::SessionTable;

/// By default MySQL shows sizes that may be a day old; this setting makes them current. MariaDB has no such setting,
/// and ignores a comment for this version.
const FRESH: &str = "SET SESSION autocommit = 1 /*!80000 , SESSION information_schema_stats_expiry = 0 */";

/// InnoDB extends the file of a growing table by so much at a time (MySQL's manual, `innodb_autoextend_increment`). So
/// about this much is free in a table that needs no repair, and would be free again with the next rows after a repair.
const GROWTH_BYTES: u64 = 4 << 20;

/// Counts every row: as slow as reading the whole table once. The room is InnoDB's own estimate, which may lag behind.
pub(super) async fn statistics(
    connection: &mut MySqlConnection,
    table: &SessionTable,
    now: Option<String>,
) -> Result<Statistics, sqlx::Error> {
    let [key, payload, end] = table.layout.columns();
    let name = table.table.quoted('`');
    let ended = format!("{end} < coalesce(cast(? AS datetime(6)), utc_timestamp(6))");
    let no_time = no_time(end);
    // InnoDB adds 33 bytes to a row and 16 to an entry of its second index, and fills pages to 15/16.
    let sql = format!(
        "SELECT cast(count(*) AS signed), cast(count(CASE WHEN {ended} THEN 1 END) AS signed), \
                cast(coalesce(sum(octet_length({payload})), 0) AS signed), \
                cast(coalesce(sum(CASE WHEN {ended} THEN octet_length({payload}) END), 0) AS signed), \
                cast(coalesce(ceil(sum(octet_length({key}) + octet_length({payload}) + 33) * 16 / 15), 0) AS signed), \
                cast(coalesce(ceil(sum(octet_length({key}) + 16) * 16 / 15), 0) AS signed), \
                cast(count(CASE WHEN NOT {ended} AND {no_time} THEN 1 END) AS signed) \
         FROM {name}"
    );
    let held = sqlx::query(&sql).persistent(false).bind(now.clone()).bind(now.clone()).bind(now);
    let held = held.fetch_one(&mut *connection).await?;
    let held = |at: usize| held.try_get::<i64, _>(at).map(i64::unsigned_abs);
    connection.execute(sqlx::raw_sql(FRESH)).await?;
    let room = sqlx::query(
        "SELECT cast(data_length AS signed), cast(index_length AS signed), cast(data_free AS signed) \
         FROM information_schema.tables WHERE table_schema = coalesce(?, database()) AND table_name = ?",
    )
    .persistent(false)
    .bind(table.table.schema())
    .bind(table.table.name())
    .fetch_one(connection)
    .await?;
    let room = |at: usize| room.try_get::<Option<i64>, _>(at).map(|bytes| bytes.map(i64::unsigned_abs));
    let (data, index, free) = (room(0)?, room(1)?, room(2)?);
    let (data_packed, index_packed) = (held(4)?, held(5)?);
    let unused = data.zip(index).zip(free).map(|((data, index), free)| {
        let holes = data.saturating_sub(data_packed) + index.saturating_sub(index_packed);
        free.saturating_sub(GROWTH_BYTES) + holes
    });
    Ok(Statistics {
        rows: held(0)?,
        expired_rows: held(1)?,
        unreadable_rows: held(6)?,
        payload_bytes: held(2)?,
        expired_payload_bytes: held(3)?,
        table_bytes: data.zip(free).map(|(data, free)| data + free),
        index_bytes: index,
        unused_bytes: unused,
        remedies: vec![Remedy::new(
            format!("OPTIMIZE TABLE {name}"),
            "makes the table anew beside the traffic, and needs its room once more meanwhile",
        )],
        ..Statistics::default()
    })
}
