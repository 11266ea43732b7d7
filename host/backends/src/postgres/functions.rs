//! The side tables on PostgreSQL, and the server-side functions that make one round trip of one step.
//!
//! The functions are volatile, so under READ COMMITTED each statement in them has a snapshot of its own: the statement
//! on the session rows sees what others have inserted before the keys' rows were locked. The name of a function ends
//! with a hash of its text. So two versions of this program, and tables with different columns, each find their own.

use switchover_core::{Table, short_hash};

use crate::others::OtherColumn;
use crate::table::SessionTable;

/// A statement of a lower epoch, or of a migration without a fence.
pub(super) const FENCED: &str = "SW001";
/// Numbers that were too low. The message has the place of each in the batch, counted from 1, and the number that its
/// key has: `2:7,5:9`.
pub(super) const LATE: &str = "SW002";
/// The first parameter of the sessions with values for the other columns, in the statement that writes.
pub(super) const WHOLE: usize = 17;
/// PostgreSQL gives a function at most this many parameters.
const PARAMETERS_MAX: usize = 100;

/// What the function for writes does besides writing; its parameter `a_how`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// Nothing but looking at the fence.
    Home = 0,
    /// Marks keys at old: locks the session rows first.
    MarkedAtOld = 1,
    /// Marks keys at new: adds one to their numbers.
    MarkedAtNew = 2,
    /// Raises the numbers of keys, and writes only if each was lower.
    Numbered = 3,
    /// Removes the marks of what it writes. The transaction has the fence's lock, and those of the keys.
    Locked = 4,
}

/// The names of side tables and functions, and the statements that make them.
pub(super) struct Functions {
    pub(super) fence_table: String,
    pub(super) key_table: String,
    pub(super) fence: String,
    pub(super) write: String,
    pub(super) lock: String,
    /// How many the function for writes takes.
    pub(super) parameters: usize,
    /// What makes each object, by its quoted name. `None`: the table has too many columns.
    pub(super) made_by: Option<Vec<(Made, String)>>,
}

/// An object of the database, by its quoted name.
pub(super) enum Made {
    Relation(String),
    Function(String),
}

impl Functions {
    /// `write` is the statement that writes a batch to the session table.
    pub(super) fn of(table: &SessionTable, others: &[OtherColumn], write: &str) -> Self {
        let schema = table.table.schema().map_or_else(String::new, |schema| format!("{}.", Table::quote(schema, '"')));
        let (fence_table, key_table) = (format!("{schema}switchover_fence"), format!("{schema}switchover_key"));
        let named = |what: &str, text: &str| format!("{schema}switchover_{what}_{}", short_hash(text.as_bytes()));

        let fence_text = fence(&fence_table);
        let fence = named("fence", &fence_text);
        let lock_text = lock(table, &key_table);
        let lock = named("lock", &lock_text);
        let kinds = parameters(table, others);
        let write_text = write_function(table, others, &kinds, write, &fence, &key_table);
        let write = named("write", &write_text);

        let mark_index = format!(
            "CREATE INDEX IF NOT EXISTS switchover_key_mark ON {key_table} (migration, since) WHERE mark IS NOT NULL;"
        );
        let function = |name: &str, text: &str| {
            (Made::Function(name.to_owned()), format!("CREATE OR REPLACE FUNCTION {name}{text};"))
        };
        let parameters = kinds.len() + OWN_PARAMETERS.len();
        let made_by = (parameters <= PARAMETERS_MAX).then(|| {
            vec![
                (Made::Relation(fence_table.clone()), create_fence_table(&fence_table)),
                (Made::Relation(key_table.clone()), create_key_table(&key_table)),
                (Made::Relation(format!("{schema}switchover_key_mark")), mark_index),
                function(&fence, &fence_text),
                function(&lock, &lock_text),
                function(&write, &write_text),
            ]
        });
        Self { fence_table, key_table, fence, write, lock, parameters, made_by }
    }
}

fn create_fence_table(name: &str) -> String {
    format!("CREATE TABLE IF NOT EXISTS {name} (migration varchar(64) NOT NULL PRIMARY KEY, epoch bigint NOT NULL);")
}

/// A key is as wide as the widest one of any layout: all session tables of a schema share this table.
fn create_key_table(name: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {name} (migration varchar(64) NOT NULL, \
         session_key varchar(255) COLLATE \"C\" NOT NULL, number bigint NOT NULL DEFAULT 0, mark bigint, \
         since bigint NOT NULL DEFAULT 0, attempts int NOT NULL DEFAULT 0, PRIMARY KEY (migration, session_key));"
    )
}

/// The lock that writers share and a raise takes alone, as an expression; `migration` is an expression too.
pub(super) fn fence_lock(migration: &str) -> String {
    format!("hashtextextended('switchover ' || {migration}, 0)")
}

/// Takes the fence's lock in shared mode, and then looks at the fence, by a statement of its own. A lock on the fence's
/// row would not do: transactions that share a row overtake one that waits to change it.
fn fence(table: &str) -> String {
    let lock = fence_lock("$1");
    format!(
        "(text, bigint) RETURNS void LANGUAGE plpgsql AS $switchover$ BEGIN \
         PERFORM pg_advisory_xact_lock_shared({lock}); \
         IF NOT EXISTS (SELECT FROM {table} WHERE migration = $1 AND epoch <= $2) THEN \
         RAISE EXCEPTION USING ERRCODE = '{FENCED}', MESSAGE = 'a newer epoch is in force'; END IF; \
         END $switchover$"
    )
}

/// Locks keys ($1), above the numbers in $2. $3: session rows are locked first. $4: each key gets a new number. $5 is
/// the migration.
fn lock(table: &SessionTable, key_table: &str) -> String {
    let ([key, ..], table) = (table.layout.columns(), table.table.quoted('"'));
    format!(
        "(text[], bigint[], boolean, boolean, text) RETURNS TABLE (o_key text, o_number bigint) \
         LANGUAGE plpgsql AS $switchover$\n#variable_conflict use_column\nBEGIN \
         IF $3 THEN PERFORM 1 FROM {table} WHERE {key} = ANY($1) ORDER BY {key} FOR UPDATE; END IF; \
         RETURN QUERY INSERT INTO {key_table} AS t (migration, session_key, number) \
         SELECT $5, v.k, CASE WHEN $4 THEN v.n + 1 ELSE 0 END FROM unnest($1, $2) AS v (k, n) \
         ORDER BY v.k COLLATE \"C\" \
         ON CONFLICT (migration, session_key) DO UPDATE SET number = \
         CASE WHEN $4 THEN greatest(t.number + 1, excluded.number) ELSE t.number END \
         RETURNING t.session_key::text, t.number; \
         END $switchover$"
    )
}

/// The parameters of the function for writes behind those of the statement.
const OWN_PARAMETERS: [(&str, &str); 5] =
    [("a_how", "int"), ("a_migration", "text"), ("a_epoch", "bigint"), ("a_keys", "text[]"), ("a_figures", "bigint[]")];

/// The types of the parameters of the statement that writes.
fn parameters(table: &SessionTable, others: &[OtherColumn]) -> Vec<&'static str> {
    let payloads = if table.layout.has_bytes() { "bytea[]" } else { "text[]" };
    let sessions = ["text[]", payloads, "timestamptz[]"];
    let mut kinds = vec!["text[]"];
    kinds.extend(sessions.repeat(3));
    kinds.extend(["text[]", "timestamptz[]", "text[]", "text[]", "boolean", "timestamptz"]);
    if !others.is_empty() {
        for _ in 0..3 {
            kinds.extend(sessions);
            kinds.extend(vec!["text[]"; others.len()]);
        }
    }
    kinds
}

/// Writes a batch, and does one of [`How`] besides. The statement's parameters are the function's first ones.
///
/// After its end it does nothing at all, and returns the time. The row without a key has the time otherwise.
///
/// A marked write decides before it marks which keys it leaves out: those whose write will be refused, by the session
/// rows as they are by then. If the write decides otherwise, because a row came or went until the key's row was locked,
/// everything is undone and tried again. So a refused key keeps the mark that it had, or none.
fn write_function(
    table: &SessionTable,
    others: &[OtherColumn],
    kinds: &[&str],
    write: &str,
    fence: &str,
    key_table: &str,
) -> String {
    let ([key, ..], name) = (table.layout.columns(), table.table.quoted('"'));
    let payload = if table.layout.has_bytes() { "bytea" } else { "text" };
    let (o_others, of_others) = if others.is_empty() { ("", "") } else { (", o_others text[]", ", o_others") };
    let own = OWN_PARAMETERS.map(|(_, kind)| kind);
    let all = kinds.iter().chain(&own).copied().collect::<Vec<_>>().join(", ");
    let aliases: String = OWN_PARAMETERS
        .iter()
        .enumerate()
        .map(|(at, (name, _))| format!("{name} ALIAS FOR ${}; ", kinds.len() + at + 1))
        .collect();
    // The keys of inserts, and those of updates and touches. Whole sessions have parameters of their own.
    let (mut fresh, mut known) = ("$2".to_owned(), "$5 || $11".to_owned());
    if !others.is_empty() {
        let each = 3 + others.len();
        fresh += &format!(" || ${WHOLE}");
        known += &format!(" || ${}", WHOLE + each);
    }
    let mark = mark(key, &name, key_table);
    let number = number(key_table);
    format!(
        "({all}) RETURNS TABLE (o_key varchar, o_payload {payload}, o_end timestamptz{o_others}) \
         LANGUAGE plpgsql AS $switchover$\n#variable_conflict use_column\nDECLARE {aliases}\
         a_fresh text[] := {fresh}; a_known text[] := {known}; a_refused text[] := '{{}}'; a_present text[]; \
         a_done text[] := '{{}}'; a_missed text[]; a_raised text[]; a_now bigint; a_late text; \
         BEGIN \
         IF statement_timestamp() > $16 THEN o_end := statement_timestamp(); RETURN NEXT; RETURN; END IF; \
         IF a_how <> {locked} THEN PERFORM {fence}(a_migration, a_epoch); END IF; \
         IF a_how IN ({at_old}, {at_new}) THEN {mark} END IF; \
         IF a_how = {numbered} THEN {number} END IF; \
         FOR o_key, o_payload, o_end{of_others} IN {write} LOOP \
         a_done := a_done || o_key::text; RETURN NEXT; END LOOP; \
         IF a_how IN ({home}, {numbered}) THEN RETURN; END IF; \
         a_missed := ARRAY(SELECT unnest(a_fresh || a_known) EXCEPT SELECT unnest(a_done)); \
         IF a_how = {locked} THEN \
         UPDATE {key_table} SET mark = NULL, attempts = 0 WHERE migration = a_migration \
         AND session_key = ANY(a_keys) AND NOT session_key = ANY(a_missed) AND mark IS NOT NULL; \
         ELSIF NOT (a_missed <@ a_refused AND a_refused <@ a_missed) THEN \
         RAISE EXCEPTION USING ERRCODE = '40001', MESSAGE = 'a row came or went'; \
         ELSIF a_refused <> '{{}}' THEN \
         DELETE FROM {key_table} WHERE migration = a_migration AND session_key = ANY(a_refused) \
         AND number = 0 AND mark IS NULL; \
         END IF; END $switchover$",
        home = How::Home as i32,
        at_old = How::MarkedAtOld as i32,
        at_new = How::MarkedAtNew as i32,
        numbered = How::Numbered as i32,
        locked = How::Locked as i32,
    )
}

/// Gives each key its token, but those whose write will be refused: they are only locked.
fn mark(key: &str, table: &str, key_table: &str) -> String {
    let rows = format!("SELECT {key}::text FROM {table} WHERE {key} = ANY(a_keys)");
    let (at_old, at_new) = (How::MarkedAtOld as i32, How::MarkedAtNew as i32);
    format!(
        "IF a_how = {at_old} THEN a_present := ARRAY({rows} ORDER BY {key} FOR UPDATE); \
         ELSE a_present := ARRAY({rows}); END IF; \
         a_refused := ARRAY((SELECT unnest(a_known) EXCEPT SELECT unnest(a_present)) \
         UNION ALL (SELECT unnest(a_fresh) INTERSECT SELECT unnest(a_present))); \
         a_now := (extract(epoch FROM clock_timestamp()) * 1000000)::bigint; \
         INSERT INTO {key_table} AS t (migration, session_key, number, mark, since) \
         SELECT a_migration, v.k, CASE WHEN a_how = {at_new} AND v.token IS NOT NULL THEN 1 ELSE 0 END, v.token, \
         CASE WHEN v.token IS NULL THEN 0 ELSE a_now END \
         FROM (SELECT u.k, CASE WHEN NOT u.k = ANY(a_refused) THEN u.token END AS token \
         FROM unnest(a_keys, a_figures) AS u (k, token)) AS v ORDER BY v.k COLLATE \"C\" \
         ON CONFLICT (migration, session_key) DO UPDATE SET number = t.number + excluded.number, \
         mark = coalesce(excluded.mark, t.mark), \
         since = CASE WHEN excluded.mark IS NULL THEN t.since ELSE excluded.since END, \
         attempts = CASE WHEN excluded.mark IS NULL THEN t.attempts ELSE 0 END;"
    )
}

/// Raises the number of each key, or none of them.
fn number(key_table: &str) -> String {
    format!(
        "WITH raised AS (INSERT INTO {key_table} AS t (migration, session_key, number) \
         SELECT a_migration, v.k, v.n FROM unnest(a_keys, a_figures) AS v (k, n) ORDER BY v.k COLLATE \"C\" \
         ON CONFLICT (migration, session_key) DO UPDATE SET number = excluded.number \
         WHERE t.number < excluded.number RETURNING t.session_key::text AS k) \
         SELECT coalesce(array_agg(k), '{{}}') INTO a_raised FROM raised; \
         IF cardinality(a_raised) < cardinality(a_keys) THEN \
         SELECT string_agg(v.place || ':' || t.number, ',') INTO a_late \
         FROM unnest(a_keys) WITH ORDINALITY AS v (k, place) \
         JOIN {key_table} AS t ON t.migration = a_migration AND t.session_key = v.k WHERE NOT v.k = ANY(a_raised); \
         RAISE EXCEPTION USING ERRCODE = '{LATE}', MESSAGE = a_late; END IF;"
    )
}
