//! Measures what a table on PostgreSQL holds, how much room it takes, and what gives room back.

use sqlx::Row as _;
use sqlx::postgres::PgConnection;
use switchover_core::capabilities::{Remedy, Statistics};

use super::types::Instant;
use crate::table::SessionTable;

/// Counts every row: as slow as reading the whole table once.
pub(super) async fn statistics(
    connection: &mut PgConnection,
    table: &SessionTable,
    now: Option<Instant>,
) -> Result<Statistics, sqlx::Error> {
    let sql = sql(table);
    let row = sqlx::query(&sql).persistent(false).bind(table.table.quoted('"')).bind(now).fetch_one(connection).await?;
    let count = |at: usize| row.try_get::<i64, _>(at).map(i64::unsigned_abs);
    let maybe = |at: usize| row.try_get::<Option<i64>, _>(at).map(|count| count.map(i64::unsigned_abs));
    Ok(Statistics {
        rows: count(0)?,
        expired_rows: count(1)?,
        payload_bytes: count(2)?,
        expired_payload_bytes: count(3)?,
        table_bytes: maybe(4)?,
        index_bytes: maybe(5)?,
        dead_rows: maybe(6)?,
        unused_bytes: maybe(7)?,
        remedies: remedies(table),
        ..Statistics::default()
    })
}

fn remedies(table: &SessionTable) -> Vec<Remedy> {
    let (name, table) = (table.table.to_string(), table.table.quoted('"'));
    vec![
        Remedy::new(
            format!("VACUUM (FULL, ANALYZE) {table}"),
            "rewrites the table, locks everybody out meanwhile, and needs the room of what is alive once more",
        ),
        Remedy::new(format!("pg_repack --table={name}"), "an extension: does the same with short locks"),
        Remedy::new(
            format!("REINDEX TABLE CONCURRENTLY {table}"),
            "rebuilds only the indexes, without blocking traffic",
        ),
    ]
}

/// The room that the rows would take if they were packed is computed from PostgreSQL's page layout. A row has 24 bytes
/// of header and 4 of pointer, aligned to 8; a page has 8,192 bytes, of which 8,168 are usable. Index entries have 16
/// bytes or more and fill 90 % of a page, the fill factor of B-trees.
fn sql(table: &SessionTable) -> String {
    let [key, payload, end] = table.layout.columns();
    let table = table.table.quoted('"');
    let index_of = |column: &str| {
        format!(
            "(SELECT count(*) FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = i.indrelid \
                 AND a.attnum = i.indkey[0] \
             WHERE i.indrelid = to_regclass($1) AND a.attname = '{column}')"
        )
    };
    let (key_indexes, expiry_indexes) = (index_of(key), index_of(end));
    format!(
        "WITH held AS (\
             SELECT count(*) AS rows, \
                    count(*) FILTER (WHERE {end} < coalesce($2, statement_timestamp())) AS expired_rows, \
                    coalesce(sum(octet_length({payload})), 0)::bigint AS payload_bytes, \
                    coalesce(sum(octet_length({payload})) \
                        FILTER (WHERE {end} < coalesce($2, statement_timestamp())), 0)::bigint \
                        AS expired_payload_bytes, \
                    coalesce(sum(pg_column_size({key})), 0)::bigint AS keys_packed, \
                    coalesce(sum((24 + pg_column_size({key}) + pg_column_size({payload}) + 8 + 14) / 8 * 8 + 4), \
                        0)::bigint AS rows_packed \
             FROM {table}), \
         room AS (\
             SELECT sum(pg_table_size(part.relid))::bigint AS table_bytes, \
                    sum(pg_indexes_size(part.relid))::bigint AS index_bytes, \
                    sum((SELECT n_dead_tup FROM pg_stat_user_tables AS s \
                        WHERE s.relid = part.relid))::bigint AS dead_rows, \
                    {key_indexes} AS key_indexes, {expiry_indexes} AS expiry_indexes \
             FROM (SELECT to_regclass($1) AS relid \
                   UNION SELECT relid FROM pg_partition_tree(to_regclass($1))) AS part), \
         packed AS (\
             SELECT ceil(rows_packed / 8168.0) * 8192 AS table_bytes, \
                    key_indexes * ceil((rows * 19 + keys_packed) / 0.9 / 8152) * 8192 \
                        + expiry_indexes * ceil(rows * 20 / 0.9 / 8152) * 8192 AS index_bytes \
             FROM held, room) \
         SELECT rows, expired_rows, payload_bytes, expired_payload_bytes, room.table_bytes, room.index_bytes, \
                dead_rows, \
                greatest(room.table_bytes - packed.table_bytes, 0)::bigint \
                    + greatest(room.index_bytes - packed.index_bytes, 0)::bigint \
         FROM held, room, packed"
    )
}
