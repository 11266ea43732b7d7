//! Reads a table in PostgreSQL, on a new connection each time.

use anyhow::{Context, Result, anyhow};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, Row as _};
use switchover::Timestamp;

use super::time::{from_django, to_django};
use super::{RawRow, Table, Wanted};

/// Rows of one statement.
const CHUNK: usize = 2_000;

pub(super) async fn exists(url: &str, table: &str) -> Result<bool> {
    let found =
        sqlx::query("SELECT to_regclass($1) IS NOT NULL").bind(table).fetch_one(&mut connect(url).await?).await?;
    Ok(found.try_get(0)?)
}

pub(super) async fn insert(url: &str, table: &Table, rows: &[RawRow]) -> Result<()> {
    let mut connection = connect(url).await?;
    let mut transaction = connection.begin().await?;
    let payload = if table.layout.has_bytes() { "convert_to(v.payload, 'UTF8')" } else { "v.payload" };
    let sql = format!(
        "INSERT INTO {} SELECT v.key, {payload}, v.ends_at \
         FROM unnest($1::text[], $2::text[], $3::text[]::timestamptz[]) AS v (key, payload, ends_at)",
        table.name
    );
    for rows in rows.chunks(CHUNK) {
        let keys: Vec<&str> = rows.iter().map(|row| row.key.as_str()).collect();
        let data: Vec<&str> = rows.iter().map(|row| row.data.as_str()).collect();
        let ends: Vec<String> = rows.iter().map(|row| to_django(row.expires_at.as_micros()) + "+00").collect();
        sqlx::query(&sql).bind(keys).bind(data).bind(ends).execute(&mut *transaction).await?;
    }
    Ok(transaction.commit().await?)
}

pub(super) async fn rows(url: &str, table: &Table, wanted: Wanted) -> Result<Vec<RawRow>> {
    let text = |column: &str| format!("{column}::text");
    let end = |end: &str| format!("({end} AT TIME ZONE 'UTC')::text");
    let sql = table.look_sql(wanted, |payload| format!("convert_from({payload}, 'UTF8')"), [&text, &end]);
    let rows = sqlx::query(&sql).fetch_all(&mut connect(url).await?).await?;
    rows.iter()
        .map(|row| {
            let expires_at = from_django(row.try_get(2)?)?;
            Ok(RawRow { key: row.try_get(0)?, data: row.try_get(1)?, expires_at })
        })
        .collect()
}

pub(super) async fn execute(url: &str, sql: &str) -> Result<()> {
    connect(url).await?.execute(sqlx::raw_sql(sql)).await?;
    Ok(())
}

/// A connection for questions about the time.
pub(super) struct Clock(PgConnection);

impl Clock {
    pub(super) async fn open(url: &str) -> Result<Self> {
        Ok(Self(connect(url).await?))
    }

    pub(super) async fn now(&mut self) -> Result<Timestamp> {
        let sql = "SELECT (clock_timestamp() AT TIME ZONE 'UTC')::text";
        from_django(sqlx::query(sql).fetch_one(&mut self.0).await?.try_get(0)?)
    }
}

async fn connect(url: &str) -> Result<PgConnection> {
    // The parser's own message may repeat the address.
    let address: PgConnectOptions =
        url.parse().map_err(|_| anyhow!("an address has the form postgres://USER:PASSWORD@HOST:5432/DATABASE"))?;
    // A pooler refuses parameters that it does not know. The driver asks for ISO dates by itself.
    let address = address.disable_statement_logging().extra_float_digits(None);
    PgConnection::connect_with(&address).await.context("cannot connect to PostgreSQL")
}
