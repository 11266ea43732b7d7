//! A connection, and how statements are sent on it.

use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnection, PgDatabaseError, PgRow};
use sqlx::{Executor as _, Row as _};
use switchover_core::capabilities::DatabaseError;

use crate::postgres::errors::failure;
use crate::server::Failure;

/// A connection of a move. A transaction that is not ended is rolled back with it.
pub(super) struct Link {
    pub(super) connection: PgConnection,
}

impl Link {
    /// Runs statements as one transaction.
    pub(super) async fn transaction(&mut self, statements: &[String]) -> Result<(), DatabaseError> {
        self.simple("BEGIN").await?;
        for statement in statements {
            if let Err(error) = self.simple(statement).await {
                self.roll_back().await;
                return Err(error);
            }
        }
        self.simple("COMMIT").await
    }

    pub(super) async fn simple(&mut self, sql: &str) -> Result<(), DatabaseError> {
        self.connection.execute(sqlx::raw_sql(sql)).await.map(drop).map_err(|error| error_of(&error))
    }

    /// If it fails, the server ends the transaction with the connection.
    pub(super) async fn roll_back(&mut self) {
        let _ended_with_the_connection = self.connection.execute(sqlx::raw_sql("ROLLBACK")).await;
    }

    /// Ends a transaction: commits what was done, or rolls it back.
    pub(super) async fn end<T>(&mut self, done: Result<T, DatabaseError>) -> Result<T, DatabaseError> {
        match done {
            Ok(value) => self.simple("COMMIT").await.map(|()| value),
            Err(error) => {
                self.roll_back().await;
                Err(error)
            }
        }
    }

    pub(super) async fn run(&mut self, sql: &str, bind: &[Bind<'_>]) -> Result<u64, DatabaseError> {
        let done = bound(sql, bind).execute(&mut self.connection).await;
        done.map(|done| done.rows_affected()).map_err(|error| error_of(&error))
    }

    pub(super) async fn rows(&mut self, sql: &str, bind: &[Bind<'_>]) -> Result<Vec<PgRow>, DatabaseError> {
        bound(sql, bind).fetch_all(&mut self.connection).await.map_err(|error| error_of(&error))
    }

    /// Whether there is a table or view of this name, in quotes.
    pub(super) async fn is_there(&mut self, name: &str) -> Result<bool, DatabaseError> {
        let rows = self.rows("SELECT to_regclass($1) IS NOT NULL", &[Bind::Text(Some(name))]).await?;
        rows.first().map_or(Ok(false), |row| column(row, 0))
    }

    /// Tries again what could not have a lock. Who asks for a lock makes those wait who ask after it, so each try is
    /// short, and the pauses are long.
    pub(super) async fn patiently(&mut self, statements: &[String], patience: Duration) -> Result<(), DatabaseError> {
        let give_up = Instant::now() + patience;
        loop {
            match self.transaction(statements).await {
                Err(DatabaseError::Conflict { .. }) if Instant::now() < give_up => tokio::time::sleep(PAUSE).await,
                done => return done,
            }
        }
    }
}

/// Between two tries for a lock.
pub(super) const PAUSE: Duration = Duration::from_millis(500);

/// A value of a statement.
pub(super) enum Bind<'v> {
    Text(Option<&'v str>),
    Texts(&'v [String]),
    Column(&'v [Option<String>]),
    Int(i64),
}

/// Statements are not prepared: a connection to a pooler may get another server process for the next one.
pub(super) fn bound<'q>(
    sql: &'q str,
    values: &'q [Bind<'q>],
) -> sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments> {
    values.iter().fold(sqlx::query(sql).persistent(false), |query, value| match value {
        Bind::Text(text) => query.bind(*text),
        Bind::Texts(texts) => query.bind(*texts),
        Bind::Column(values) => query.bind(*values),
        Bind::Int(number) => query.bind(*number),
    })
}

pub(super) fn error_of(error: &sqlx::Error) -> DatabaseError {
    if let sqlx::Error::Database(refused) = error {
        match refused.code().as_deref() {
            Some("42883") => {
                return invalid("a function or an operator is not known: look at the condition of living rows");
            }
            // A database's objects have names, and no keys.
            Some("2BP01") => {
                let detail = refused.try_downcast_ref::<PgDatabaseError>().and_then(PgDatabaseError::detail);
                let what = detail.unwrap_or(refused.message());
                return invalid(format!("it is still used, so nothing was done: {what}. Try again without it"));
            }
            _ => {}
        }
    }
    match failure(error, &mut false) {
        Failure::Refused(error) => error,
        Failure::Row(message) => DatabaseError::Corrupt { message },
        Failure::Busy(message) => DatabaseError::Conflict { message },
        Failure::Lost(message) => DatabaseError::Unavailable { message },
    }
}

pub(super) fn column<'r, T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>>(
    row: &'r PgRow,
    at: usize,
) -> Result<T, DatabaseError> {
    row.try_get(at).map_err(|error| error_of(&error))
}

pub(super) fn invalid(message: impl Into<String>) -> DatabaseError {
    DatabaseError::Invalid { message: message.into() }
}

/// A text as SQL writes it.
pub(super) fn literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if text.contains('\\') { format!("E'{}'", doubled.replace('\\', "\\\\")) } else { format!("'{doubled}'") }
}
