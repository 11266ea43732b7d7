//! The SQL for one table. Each text is fixed, so that a connection prepares it once.

use switchover_core::{Layout, Table};

use super::functions::{Functions, WHOLE};
use super::others::{given_out, taken_in};
use crate::others::OtherColumn;
use crate::table::SessionTable;

/// The texts for one table.
pub(super) struct Statements {
    pub(super) others: Vec<OtherColumn>,
    pub(super) load: String,
    pub(super) existing: String,
    /// With the fence in the same snapshot. Without a fence there is no row; without a session one without a key.
    pub(super) load_fenced: String,
    pub(super) existing_fenced: String,
    pub(super) write: String,
    /// The same by the function that also looks at the fence and the keys.
    pub(super) write_fenced: String,
    /// Reads rows, expired or not, without a lock.
    pub(super) rows: String,
    /// The row and the mark of each key, in the order of the keys, with the fence in the same snapshot.
    pub(super) marked_rows: String,
    pub(super) functions: Functions,
    /// Returns how many rows it found, and how many it deleted: a trigger may keep one without an error.
    pub(super) delete_expired: String,
    pub(super) expired_left: String,
    pub(super) scan_first: String,
    pub(super) scan: String,
    /// Selects one row without its payload.
    pub(super) scan_past_first: String,
    pub(super) scan_past: String,
}

impl Statements {
    /// Writes the statements for the table and its other columns.
    pub(super) fn of(session_table: &SessionTable, others: Vec<OtherColumn>) -> Self {
        let [key, payload, end] = session_table.layout.columns();
        let (layout, table) = (session_table.layout, session_table.table.quoted('"'));
        let given_out = if others.is_empty() { String::new() } else { format!(", {}", given_out(&others, "")) };
        let row = format!("{key}, {payload}, {end}{given_out}");
        let scan = |payload: &str, given_out: &str, behind: &str| {
            format!(
                "SELECT {key}, {payload}, {end}, {end} > coalesce($2, statement_timestamp()){given_out} FROM {table} \
                 {behind} ORDER BY {key} LIMIT $1"
            )
        };
        let behind = format!("WHERE {key} > $3");
        let write = write(layout, &table, &others);
        let functions = Functions::of(session_table, &others, &write);
        let alive = format!("{key} = ANY($1) AND ({end} > coalesce($2, statement_timestamp())) IS TRUE");
        let fence = |migration: &str| {
            let fence_table = &functions.fence_table;
            format!("(SELECT epoch AS switchover_epoch FROM {fence_table} WHERE migration = {migration}) AS f")
        };
        let parameters = 1..=functions.parameters;
        let parameters = parameters.map(|number| format!("${number}")).collect::<Vec<_>>().join(", ");
        Self {
            // `IS TRUE` keeps PostgreSQL from using the index on the end. While the table is small a plan may use it,
            // and that plan is kept as the table grows.
            load: format!("SELECT {row} FROM {table} WHERE {alive}"),
            existing: format!("SELECT {key} FROM {table} WHERE {key} = ANY($1)"),
            load_fenced: format!("SELECT {row}, switchover_epoch FROM {} LEFT JOIN {table} ON {alive}", fence("$3")),
            existing_fenced: format!(
                "SELECT {key}, switchover_epoch FROM {} LEFT JOIN {table} ON {key} = ANY($1)",
                fence("$2")
            ),
            write,
            write_fenced: format!("SELECT * FROM {}({parameters})", functions.write),
            // Nobody calls another column of a session table so.
            marked_rows: format!(
                "SELECT {row}, switchover_mark, switchover_epoch \
                 FROM {} CROSS JOIN unnest($1::text[]) WITH ORDINALITY AS v (switchover_asked, switchover_place) \
                 LEFT JOIN {table} ON {key} = ANY(ARRAY[switchover_asked]) \
                 LEFT JOIN (SELECT session_key AS switchover_key, mark AS switchover_mark FROM {} \
                     WHERE migration = $2) AS k ON switchover_key = ANY(ARRAY[switchover_asked]) \
                 ORDER BY switchover_place",
                fence("$2"),
                functions.key_table
            ),
            rows: format!("SELECT {row} FROM {table} WHERE {key} = ANY($1)"),
            // Rows that somebody else writes are left for the next time: they may be about to live on.
            delete_expired: format!(
                "WITH found AS MATERIALIZED (\
                     SELECT {key} FROM {table} \
                     WHERE {end} < least($1, coalesce($2, statement_timestamp())) \
                     ORDER BY {end} LIMIT $3 OFFSET $4 FOR UPDATE SKIP LOCKED), \
                 deleted AS (DELETE FROM {table} WHERE {key} = ANY(ARRAY(SELECT {key} FROM found)) RETURNING 1) \
                 SELECT (SELECT count(*) FROM found), (SELECT count(*) FROM deleted)"
            ),
            expired_left: format!(
                "SELECT count(*) FROM {table} WHERE {end} < least($1, coalesce($2, statement_timestamp()))"
            ),
            scan_first: scan(payload, &given_out, ""),
            scan: scan(payload, &given_out, &behind),
            scan_past_first: scan("''", "", ""),
            scan_past: scan("''", "", &behind),
            functions,
            others,
        }
    }
}

/// A batch of writes of every kind in one statement, which is one transaction.
///
/// `locked` comes first and takes the locks in the order of the keys, so that two batches cannot wait for each other.
/// The other parts change rows that it has locked. The keys of a batch are distinct, so no row is changed twice.
/// If the server got the statement later than `$16`, nothing is locked and nothing is written. One row of the answer
/// has no key; it has the time at which the server got the statement.
/// Payloads are returned only if `$15` asks for them: those of rows that were touched, and of rows that were locked to
/// be returned. Other payloads may be damaged, and need not be read.
///
/// Rows are found by `= ANY(ARRAY[key])` where `= key` would mean the same. If the table was analysed while it was
/// empty, a plain join may be planned as a scan of a whole index, and that plan is kept as the table grows. With an
/// array the index is only used for look-ups.
fn write(layout: Layout, table: &str, others: &[OtherColumn]) -> String {
    let [key, payload, end] = layout.columns();
    let kind = payload_type(layout);
    // The values of the other columns after the write, for a caller that carries the row to a mirror.
    let (and_others, null, returned, of_touched, of_locked) = if others.is_empty() {
        <(&str, &str, String, String, String)>::default()
    } else {
        let asked = |of: &str| format!(", CASE WHEN $15 THEN {} END AS others", given_out(others, of));
        let of_locked = format!(", CASE WHEN $15 AND {key} = ANY($14) THEN {} END AS others", given_out(others, ""));
        (", others", ", NULL::text[]", asked(""), asked("t."), of_locked)
    };
    let insert = |columns: &[OtherColumn], parameter: usize, conflict: &str| {
        let (names, values, from) = put(layout, columns, parameter);
        format!(
            "INSERT INTO {table} ({names}) SELECT {values} FROM {from} WHERE {IN_TIME} \
             ON CONFLICT ({key}) {conflict} RETURNING {key}{returned}"
        )
    };
    let update = |columns: &[OtherColumn], parameter: usize| {
        let (_, _, from) = put(layout, columns, parameter);
        let set = set(layout, "v", columns, |column| taken_in_of(column, "v"));
        format!(
            "UPDATE {table} AS t SET {set} FROM {from} JOIN locked USING ({key}) \
             WHERE t.{key} = ANY(ARRAY[v.{key}]) RETURNING t.{key}{of_touched}"
        )
    };
    let upsert = |columns: &[OtherColumn]| {
        format!("DO UPDATE SET {}", set(layout, "excluded", columns, |column| format!("excluded.{}", quoted(column))))
    };
    let mut puts = vec![
        ("inserted", insert(&[], 2, "DO NOTHING")),
        ("updated", update(&[], 5)),
        ("upserted", insert(&[], 8, &upsert(&[]))),
    ];
    if !others.is_empty() {
        let each = 3 + others.len();
        puts.push(("inserted_whole", insert(others, WHOLE, "DO NOTHING")));
        puts.push(("updated_whole", update(others, WHOLE + each)));
        puts.push(("upserted_whole", insert(others, WHOLE + 2 * each, &upsert(others))));
    }
    let with: String = puts.iter().map(|(name, put)| format!("{name} AS ({put}), ")).collect();
    let written: String =
        puts.iter().map(|(name, _)| format!("UNION ALL SELECT {key}, NULL, NULL{and_others} FROM {name} ")).collect();
    format!(
        "WITH locked AS MATERIALIZED (\
             SELECT {key}, CASE WHEN $15 AND {key} = ANY($14) THEN {payload} END AS {payload}, {end}{of_locked} \
             FROM {table} \
             WHERE {key} = ANY($1) AND {IN_TIME} ORDER BY {key} FOR UPDATE), \
         {with}\
         touched AS (\
             UPDATE {table} AS t SET {end} = greatest(t.{end}, v.{end}) \
             FROM unnest($11::text[], $12::timestamptz[]) AS v ({key}, {end}) \
             JOIN locked USING ({key}) \
             WHERE t.{key} = ANY(ARRAY[v.{key}]) \
             RETURNING t.{key}, CASE WHEN $15 THEN t.{payload} END AS {payload}, t.{end}{of_touched}), \
         deleted AS (\
             DELETE FROM {table} AS t USING locked \
             WHERE t.{key} = ANY(ARRAY[locked.{key}]) AND locked.{key} = ANY($13) \
             RETURNING t.{key}) \
         SELECT {key}, NULL::{kind}, NULL::timestamptz{null} FROM deleted \
         {written}\
         UNION ALL SELECT {key}, {payload}, {end}{and_others} FROM touched \
         UNION ALL SELECT {key}, {payload}, {end}{and_others} FROM locked WHERE {key} = ANY($14) \
         UNION ALL SELECT NULL, NULL, statement_timestamp(){null}"
    )
}

/// Whether the server got the statement in time. All parts of a statement see the same time.
const IN_TIME: &str = "coalesce(statement_timestamp() <= $16, true)";

/// For an insert or upsert: the names of the columns, their values, and the source of the values, which are arrays in
/// the parameters from `parameter` on.
fn put(layout: Layout, others: &[OtherColumn], parameter: usize) -> (String, String, String) {
    let [key, payload, end] = layout.columns();
    let list = |of_other: &dyn Fn(&OtherColumn) -> String| {
        others.iter().map(|other| format!(", {}", of_other(other))).collect::<String>()
    };
    let names = format!("{key}, {payload}, {end}{}", list(&quoted));
    let values = format!("v.{key}, v.{payload}, v.{end}{}", list(&|other| taken_in_of(other, "v")));
    let arrays: String = (0..others.len()).map(|at| format!(", ${}::text[]", parameter + 3 + at)).collect();
    let kind = payload_type(layout);
    let (payloads, ends) = (parameter + 1, parameter + 2);
    let from =
        format!("unnest(${parameter}::text[], ${payloads}::{kind}[], ${ends}::timestamptz[]{arrays}) AS v ({names})");
    (names, values, from)
}

/// The assignments of an update: payload and end of `from`, and the value of each other column.
fn set(layout: Layout, from: &str, others: &[OtherColumn], value: impl Fn(&OtherColumn) -> String) -> String {
    let [_, payload, end] = layout.columns();
    let others: String = others.iter().map(|other| format!(", {} = {}", quoted(other), value(other))).collect();
    format!("{payload} = {from}.{payload}, {end} = {from}.{end}{others}")
}

fn taken_in_of(other: &OtherColumn, of: &str) -> String {
    taken_in(other, &format!("{of}.{}", quoted(other)))
}

fn quoted(other: &OtherColumn) -> String {
    Table::quote(&other.column.name, '"')
}

fn payload_type(layout: Layout) -> &'static str {
    if layout.has_bytes() { "bytea" } else { "text" }
}
