//! The SQL for one table. Each text is fixed, so that a connection prepares it once.

use switchover_core::Layout;

use crate::table::SessionTable;

/// The texts for one table.
pub(super) struct Statements {
    pub(super) load: String,
    pub(super) existing: String,
    pub(super) write: String,
    pub(super) delete_expired: String,
    pub(super) expired_left: String,
    pub(super) scan_first: String,
    pub(super) scan: String,
    /// Of one row, all but its payload.
    pub(super) scan_past_first: String,
    pub(super) scan_past: String,
}

impl Statements {
    pub(super) fn of(table: &SessionTable) -> Self {
        let [key, payload, end] = table.layout.columns();
        let (layout, table) = (table.layout, table.table.quoted('"'));
        let row = format!("{key}, {payload}, {end}");
        let scan = |payload: &str, behind: &str| {
            format!(
                "SELECT {key}, {payload}, {end}, {end} > coalesce($2, statement_timestamp()) FROM {table} \
                 {behind} ORDER BY {key} LIMIT $1"
            )
        };
        let behind = format!("WHERE {key} > $3");
        Self {
            // `IS TRUE` keeps the index on the end out of it: while the table is small a plan may take that one, and is kept as the table grows.
            load: format!(
                "SELECT {row} FROM {table} \
                 WHERE {key} = ANY($1) AND ({end} > coalesce($2, statement_timestamp())) IS TRUE"
            ),
            existing: format!("SELECT {key} FROM {table} WHERE {key} = ANY($1)"),
            write: write(layout, &table),
            // Rows that somebody else writes are left for the next time: they may be about to live on.
            delete_expired: format!(
                "DELETE FROM {table} WHERE {key} = ANY(ARRAY(\
                     SELECT {key} FROM {table} \
                     WHERE {end} < least($1, coalesce($2, statement_timestamp())) \
                     ORDER BY {end} LIMIT $3 FOR UPDATE SKIP LOCKED))"
            ),
            expired_left: format!(
                "SELECT count(*) FROM {table} WHERE {end} < least($1, coalesce($2, statement_timestamp()))"
            ),
            scan_first: scan(payload, ""),
            scan: scan(payload, &behind),
            scan_past_first: scan("''", ""),
            scan_past: scan("''", &behind),
        }
    }
}

/// A batch of writes of every kind in one statement, which is one transaction.
///
/// `locked` comes first and takes the locks in the order of the keys, so that two batches cannot wait for each other; the others change
/// rows that it has locked. Keys of a batch are distinct, so no row is changed twice. Payloads are given out only if `$15` asks for them, of rows
/// that were touched and of those that were locked to be answered: others may be damaged, and need not be read.
///
/// A row is found by `= ANY(ARRAY[key])` where `= key` says the same. A plain join may be planned as a scan of an index from end to end, if
/// the table was analysed while it was empty, and that plan is kept as the table grows; by an array the index is only looked up.
fn write(layout: Layout, table: &str) -> String {
    let [key, payload, end] = layout.columns();
    let kind = if layout.has_bytes() { "bytea" } else { "text" };
    format!(
        "WITH locked AS MATERIALIZED (\
             SELECT {key}, CASE WHEN $15 AND {key} = ANY($14) THEN {payload} END AS {payload}, {end} \
             FROM {table} \
             WHERE {key} = ANY($1) ORDER BY {key} FOR UPDATE), \
         inserted AS (\
             INSERT INTO {table} ({key}, {payload}, {end}) \
             SELECT * FROM unnest($2::text[], $3::{kind}[], $4::timestamptz[]) \
             ON CONFLICT ({key}) DO NOTHING RETURNING {key}), \
         updated AS (\
             UPDATE {table} AS t SET {payload} = v.{payload}, {end} = v.{end} \
             FROM unnest($5::text[], $6::{kind}[], $7::timestamptz[]) AS v ({key}, {payload}, {end}) \
             JOIN locked USING ({key}) \
             WHERE t.{key} = ANY(ARRAY[v.{key}]) RETURNING t.{key}), \
         upserted AS (\
             INSERT INTO {table} ({key}, {payload}, {end}) \
             SELECT * FROM unnest($8::text[], $9::{kind}[], $10::timestamptz[]) \
             ON CONFLICT ({key}) DO UPDATE \
             SET {payload} = excluded.{payload}, {end} = excluded.{end} RETURNING {key}), \
         touched AS (\
             UPDATE {table} AS t SET {end} = greatest(t.{end}, v.{end}) \
             FROM unnest($11::text[], $12::timestamptz[]) AS v ({key}, {end}) \
             JOIN locked USING ({key}) \
             WHERE t.{key} = ANY(ARRAY[v.{key}]) \
             RETURNING t.{key}, CASE WHEN $15 THEN t.{payload} END AS {payload}, t.{end}), \
         deleted AS (\
             DELETE FROM {table} AS t USING locked \
             WHERE t.{key} = ANY(ARRAY[locked.{key}]) AND locked.{key} = ANY($13) \
             RETURNING t.{key}) \
         SELECT {key}, NULL::{kind}, NULL::timestamptz FROM inserted \
         UNION ALL SELECT {key}, NULL, NULL FROM updated \
         UNION ALL SELECT {key}, NULL, NULL FROM upserted \
         UNION ALL SELECT {key}, {payload}, {end} FROM touched \
         UNION ALL SELECT {key}, NULL, NULL FROM deleted \
         UNION ALL SELECT {key}, {payload}, {end} FROM locked WHERE {key} = ANY($14)"
    )
}
