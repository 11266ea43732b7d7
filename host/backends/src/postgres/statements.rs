//! The SQL for one table. Each text is fixed, so that a connection prepares it once.

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
    pub(super) fn of(table: &str) -> Self {
        let row = "session_key, session_data, expire_date";
        let scan = |payload: &str, behind: &str| {
            format!(
                "SELECT session_key, {payload}, expire_date, expire_date > coalesce($2, statement_timestamp()) FROM \"{table}\" \
                 {behind} ORDER BY session_key LIMIT $1"
            )
        };
        Self {
            // `IS TRUE` keeps the index on the end out of it: while the table is small a plan may take that one, and is kept as the table grows.
            load: format!(
                "SELECT {row} FROM \"{table}\" \
                 WHERE session_key = ANY($1) AND (expire_date > coalesce($2, statement_timestamp())) IS TRUE"
            ),
            existing: format!("SELECT session_key FROM \"{table}\" WHERE session_key = ANY($1)"),
            write: write(table),
            // Rows that somebody else writes are left for the next time: they may be about to live on.
            delete_expired: format!(
                "DELETE FROM \"{table}\" WHERE session_key = ANY(ARRAY(\
                     SELECT session_key FROM \"{table}\" \
                     WHERE expire_date < least($1, coalesce($2, statement_timestamp())) \
                     ORDER BY expire_date LIMIT $3 FOR UPDATE SKIP LOCKED))"
            ),
            expired_left: format!(
                "SELECT count(*) FROM \"{table}\" WHERE expire_date < least($1, coalesce($2, statement_timestamp()))"
            ),
            scan_first: scan("session_data", ""),
            scan: scan("session_data", "WHERE session_key > $3"),
            scan_past_first: scan("''", ""),
            scan_past: scan("''", "WHERE session_key > $3"),
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
fn write(table: &str) -> String {
    format!(
        "WITH locked AS MATERIALIZED (\
             SELECT session_key, CASE WHEN $15 AND session_key = ANY($14) THEN session_data END AS session_data, expire_date \
             FROM \"{table}\" \
             WHERE session_key = ANY($1) ORDER BY session_key FOR UPDATE), \
         inserted AS (\
             INSERT INTO \"{table}\" (session_key, session_data, expire_date) \
             SELECT * FROM unnest($2::text[], $3::text[], $4::timestamptz[]) \
             ON CONFLICT (session_key) DO NOTHING RETURNING session_key), \
         updated AS (\
             UPDATE \"{table}\" AS t SET session_data = v.session_data, expire_date = v.expire_date \
             FROM unnest($5::text[], $6::text[], $7::timestamptz[]) AS v (session_key, session_data, expire_date) \
             JOIN locked USING (session_key) \
             WHERE t.session_key = ANY(ARRAY[v.session_key]) RETURNING t.session_key), \
         upserted AS (\
             INSERT INTO \"{table}\" (session_key, session_data, expire_date) \
             SELECT * FROM unnest($8::text[], $9::text[], $10::timestamptz[]) \
             ON CONFLICT (session_key) DO UPDATE \
             SET session_data = excluded.session_data, expire_date = excluded.expire_date RETURNING session_key), \
         touched AS (\
             UPDATE \"{table}\" AS t SET expire_date = greatest(t.expire_date, v.expire_date) \
             FROM unnest($11::text[], $12::timestamptz[]) AS v (session_key, expire_date) \
             JOIN locked USING (session_key) \
             WHERE t.session_key = ANY(ARRAY[v.session_key]) \
             RETURNING t.session_key, CASE WHEN $15 THEN t.session_data END AS session_data, t.expire_date), \
         deleted AS (\
             DELETE FROM \"{table}\" AS t USING locked \
             WHERE t.session_key = ANY(ARRAY[locked.session_key]) AND locked.session_key = ANY($13) \
             RETURNING t.session_key) \
         SELECT session_key, NULL::text, NULL::timestamptz FROM inserted \
         UNION ALL SELECT session_key, NULL, NULL FROM updated \
         UNION ALL SELECT session_key, NULL, NULL FROM upserted \
         UNION ALL SELECT session_key, session_data, expire_date FROM touched \
         UNION ALL SELECT session_key, NULL, NULL FROM deleted \
         UNION ALL SELECT session_key, session_data, expire_date FROM locked WHERE session_key = ANY($14)"
    )
}
