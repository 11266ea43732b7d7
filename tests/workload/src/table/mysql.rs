//! Reads a table in MySQL or MariaDB, on a new connection each time.

use anyhow::{Context, Result, anyhow};
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, Row as _};
use switchover::Timestamp;

use super::time::{from_django, to_django};
use super::{RawRow, SIDE_TABLES, Table, Wanted};

/// Rows of one statement, far below the 16 MiB that a server accepts.
const CHUNK: usize = 500;

pub(super) async fn exists(url: &str, table: &str) -> Result<bool> {
    let sql = "SELECT count(*) FROM information_schema.tables WHERE table_schema = database() AND table_name = ?";
    let found = sqlx::query(sql).bind(table).fetch_one(&mut connect(url).await?).await?;
    Ok(found.try_get::<i64, _>(0)? > 0)
}

pub(super) async fn insert(url: &str, table: &Table, rows: &[RawRow]) -> Result<()> {
    let mut connection = connect(url).await?;
    let mut transaction = connection.begin().await?;
    for rows in rows.chunks(CHUNK) {
        let sql = format!("INSERT INTO {} VALUES {}", table.name, vec!["(?, ?, ?)"; rows.len()].join(", "));
        let query = rows.iter().fold(sqlx::query(&sql), |query, row| {
            query.bind(&row.key).bind(&row.data).bind(to_django(row.expires_at.as_micros()))
        });
        query.execute(&mut *transaction).await?;
    }
    Ok(transaction.commit().await?)
}

pub(super) async fn rows(url: &str, table: &Table, wanted: Wanted) -> Result<Vec<RawRow>> {
    // The driver takes a text of a binary collation for bytes; a cast has the collation of the connection.
    let text = |column: &str| format!("CAST({column} AS CHAR)");
    let end = |end: &str| format!("CAST({end} AS CHAR(26))");
    let sql = table.look_sql(wanted, |payload| format!("CONVERT({payload} USING utf8mb4)"), [&text, &end]);
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

pub(super) async fn forget(url: &str, migration: &str, tables: bool) -> Result<()> {
    let mut connection = connect(url).await?;
    for table in SIDE_TABLES {
        let sql = format!("DELETE FROM {table} WHERE migration = ?");
        sqlx::query(&sql).bind(migration).execute(&mut connection).await?;
    }
    if !tables {
        return Ok(());
    }
    // Nobody can begin a migration between the look and the removal.
    let [fence, key] = SIDE_TABLES;
    connection.execute(sqlx::raw_sql(&format!("LOCK TABLES {fence} WRITE, {key} WRITE"))).await?;
    for table in SIDE_TABLES {
        let any = sqlx::query(&format!("SELECT 1 FROM {table} LIMIT 1")).fetch_optional(&mut connection).await?;
        if any.is_some() {
            // The lock ends with the connection.
            return Ok(());
        }
    }
    connection.execute(sqlx::raw_sql(&format!("DROP TABLE {fence}, {key}"))).await?;
    Ok(())
}

/// A connection for questions about the time.
pub(super) struct Clock(MySqlConnection);

impl Clock {
    pub(super) async fn open(url: &str) -> Result<Self> {
        Ok(Self(connect(url).await?))
    }

    pub(super) async fn now(&mut self) -> Result<Timestamp> {
        let sql = "SELECT CAST(utc_timestamp(6) AS CHAR(26))";
        from_django(sqlx::query(sql).fetch_one(&mut self.0).await?.try_get(0)?)
    }
}

async fn connect(url: &str) -> Result<MySqlConnection> {
    // The parser's own message may repeat the address.
    let address: MySqlConnectOptions =
        url.parse().map_err(|_| anyhow!("an address has the form mysql://USER:PASSWORD@HOST:3306/DATABASE"))?;
    let address = address.disable_statement_logging();
    MySqlConnection::connect_with(&address).await.context("cannot connect to MySQL")
}
