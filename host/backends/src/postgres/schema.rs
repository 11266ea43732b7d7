//! The session table on PostgreSQL. It is made if it is missing, and checked if it exists.

use sqlx::Row as _;
use sqlx::postgres::PgConnection;
use switchover_core::capabilities::{DatabaseError, Identity};
use switchover_core::{Layout, Table};

use crate::server::{Column, check_columns};
use crate::table::{OWN_CASCADE, SessionTable};

/// The types of the columns of a layout, as the catalogue shows them. Those of the layout `django` are the ones that
/// Django's schema editor makes.
fn kinds(layout: Layout) -> [&'static str; 3] {
    if layout == Layout::DJANGO {
        ["character varying(40)", "text", "timestamp with time zone"]
    } else {
        ["character varying(255)", "bytea", "timestamp with time zone"]
    }
}

pub(super) enum Error {
    Driver(sqlx::Error),
    Different(DatabaseError),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Driver(error)
    }
}

/// The statements that would make what is missing. An index with another name that serves the same purpose is not
/// missing.
pub(super) async fn missing(connection: &mut PgConnection, table: &SessionTable) -> Result<Vec<String>, Error> {
    let name = table.table.quoted('"');
    if !checked(connection, table, &name).await? {
        let like = is_django(table).then(|| like_index(table));
        return Ok([create_table(table)].into_iter().chain(like).chain([expiry_index(table)]).collect());
    }
    let indexes = indexes(connection, &name).await?;
    let [key, _, end] = table.layout.columns();
    let mut missing = Vec::new();
    if is_django(table) && !indexes.iter().any(|index| index.is_pattern && index.starts_with(key)) {
        missing.push(like_index(table));
    }
    if !indexes.iter().any(|index| index.starts_with(end)) {
        missing.push(expiry_index(table));
    }
    Ok(missing)
}

/// Checks the columns that sessions need, if the table exists. Other columns do not matter here.
pub(super) async fn check(connection: &mut PgConnection, table: &SessionTable) -> Result<(), Error> {
    checked(connection, table, &table.table.quoted('"')).await.map(drop)
}

/// Identifies the server, its start time, and the table. A copy of a server has the same identifier, but another start
/// time.
pub(super) async fn identity(connection: &mut PgConnection, name: &str) -> Result<Option<Identity>, sqlx::Error> {
    let sql = "SELECT extract(epoch FROM pg_postmaster_start_time())::text, \
                      (SELECT oid::text FROM pg_database WHERE datname = current_database()), \
                      to_regclass($1)::oid::text";
    let row = sqlx::query(sql).bind(name).fetch_one(connection).await?;
    let (start, database, table): (String, String, Option<String>) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    Ok(table.map(|table| Identity::new("postgres", &[&start, &database, &table])))
}

/// Whether the table exists. It is an error if its columns do not hold what sessions need.
async fn checked(connection: &mut PgConnection, table: &SessionTable, name: &str) -> Result<bool, Error> {
    // Looks up the quoted name along the search path, as the statements of sessions do.
    let sql = "SELECT c.relkind::text, row_security_active(c.oid), \
                      EXISTS (SELECT FROM pg_inherits AS i WHERE i.inhparent = c.oid), \
                      EXISTS (SELECT FROM pg_constraint AS r \
                              WHERE r.conrelid = c.oid AND r.confrelid = c.oid AND r.confdeltype = 'c') \
               FROM pg_class AS c WHERE c.oid = to_regclass($1)";
    let Some(found) = sqlx::query(sql).bind(name).fetch_optional(&mut *connection).await? else { return Ok(false) };
    let kind: String = found.try_get(0)?;
    let (hides_rows, has_children, cascades): (bool, bool, bool) =
        (found.try_get(1)?, found.try_get(2)?, found.try_get(3)?);
    // Ordinary and partitioned tables.
    if !matches!(kind.as_str(), "r" | "p") {
        return Err(Error::Different(table.different("it is not a table: name the table itself, not a view of it")));
    }
    if kind == "r" && has_children {
        let difference = "other tables inherit from it, so one key may have several rows: `ALTER TABLE ... NO INHERIT`";
        return Err(Error::Different(table.different(difference)));
    }
    if hides_rows {
        let difference = "row security hides rows of it from this user: take one that has BYPASSRLS, or owns the table";
        return Err(Error::Different(table.different(difference)));
    }
    if cascades {
        return Err(Error::Different(table.different(OWN_CASCADE)));
    }
    let columns = columns(connection, name).await?;
    check_columns(table, &columns, kinds(table.layout), |column, kind| remedy(table, column, kind))
        .map_err(Error::Different)?;
    let indexes = indexes(connection, name).await?;
    if !indexes.iter().any(|index| index.is_unique && index.columns == [table.layout.columns()[0]]) {
        return Err(Error::Different(
            table.different(format!("its {} is not the primary key", table.layout.columns()[0])),
        ));
    }
    Ok(true)
}

/// Django makes a second index on its keys, which serves `LIKE`.
fn is_django(table: &SessionTable) -> bool {
    table.layout == Layout::DJANGO
}

fn remedy(table: &SessionTable, column: &str, kind: &str) -> Option<String> {
    (column == table.layout.columns()[2] && kind == "timestamp without time zone").then(|| {
        format!(
            "it has no time zone, so the end of a session is not known; if its times are UTC, `ALTER TABLE {} ALTER \
             COLUMN {column} TYPE timestamptz USING {column} AT TIME ZONE 'UTC'` corrects it, and locks the table \
             while it is rewritten",
            table.table.quoted('"')
        )
    })
}

async fn columns(connection: &mut PgConnection, name: &str) -> Result<Vec<Column>, sqlx::Error> {
    let sql = "SELECT attname::text, format_type(atttypid, atttypmod), NOT attnotnull, \
                      coalesce((SELECT collisdeterministic FROM pg_collation AS c WHERE c.oid = attcollation), true) \
               FROM pg_attribute \
               WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped";
    let rows = sqlx::query(sql).bind(name).fetch_all(connection).await?;
    rows.iter()
        .map(|row| {
            let (name, kind) = (row.try_get(0)?, row.try_get(1)?);
            Ok(Column { name, kind, nullable: row.try_get(2)?, exact: row.try_get(3)? })
        })
        .collect()
}

struct Index {
    columns: Vec<String>,
    is_unique: bool,
    is_pattern: bool,
}

impl Index {
    fn starts_with(&self, column: &str) -> bool {
        self.columns.first().is_some_and(|first| first == column)
    }
}

/// The complete and valid indexes of columns alone, with their columns in order.
async fn indexes(connection: &mut PgConnection, name: &str) -> Result<Vec<Index>, sqlx::Error> {
    let sql = "SELECT ARRAY(SELECT a.attname::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (number, place) \
                            JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.number \
                                ORDER BY k.place), \
                      i.indisunique, \
                      EXISTS (SELECT FROM pg_opclass AS o WHERE o.oid = ANY(i.indclass::oid[]) \
                          AND o.opcname LIKE '%pattern_ops') \
               FROM pg_index AS i WHERE i.indrelid = to_regclass($1) AND i.indisvalid AND i.indimmediate \
                   AND i.indpred IS NULL AND i.indexprs IS NULL";
    let rows = sqlx::query(sql).bind(name).fetch_all(connection).await?;
    rows.iter()
        .map(|row| Ok(Index { columns: row.try_get(0)?, is_unique: row.try_get(1)?, is_pattern: row.try_get(2)? }))
        .collect()
}

fn create_table(table: &SessionTable) -> String {
    let [key, payload, end] = table.layout.columns();
    let kinds = kinds(table.layout);
    let collation = if is_django(table) { "" } else { " COLLATE \"C\"" };
    // As Django's schema editor writes it.
    let short = |kind: &str| kind.replace("character varying", "varchar");
    format!(
        "CREATE TABLE {} (\"{key}\" {}{collation} NOT NULL PRIMARY KEY, \"{payload}\" {} NOT NULL, \
         \"{end}\" {} NOT NULL);",
        table.table.quoted('"'),
        short(kinds[0]),
        kinds[1],
        kinds[2],
    )
}

fn like_index(table: &SessionTable) -> String {
    let name = table.index("session_key", "c0390e0f", "_like");
    format!(
        "CREATE INDEX {} ON {} (\"session_key\" varchar_pattern_ops);",
        Table::quote(&name, '"'),
        table.table.quoted('"')
    )
}

fn expiry_index(table: &SessionTable) -> String {
    let [.., end] = table.layout.columns();
    let name = table.index(end, "a5c62663", "");
    format!("CREATE INDEX {} ON {} (\"{end}\");", Table::quote(&name, '"'), table.table.quoted('"'))
}
