//! Builds a table of PostgreSQL again within its database, while applications that know nothing of it write it.
//!
//! A trigger notes the key of each write in the writer's own transaction. [`Rebuild`] carries rows over in short
//! transactions of its own, and exchanges the two tables at the end. Each of these transactions locks the one row of
//! the state first, so two copiers take turns, and one that was given up cannot put a row that is older than another's.

mod carry;
mod compare;
mod cut;
mod layouts;
mod names;
mod obstacles;
mod open;
mod plan;
mod state;

use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Executor as _, Row as _};
use switchover_core::capabilities::DatabaseError;

use self::names::Names;
use self::open::Shape;
use super::errors::failure;
use crate::server::Failure;

pub use self::carry::{Carried, Scanned};
pub use self::compare::Compared;
pub use self::cut::{Cut, CutBound};
pub use self::layouts::KnownTable;
pub use self::state::{Logged, Side, State};

/// A table, and the one that it becomes.
///
/// Every method is one transaction, or says otherwise, and may be repeated after a crash at any point. If a future is
/// dropped, its transaction is rolled back by the server, which may take until the connection is found broken; a new
/// `Rebuild` goes on from there.
pub struct Rebuild {
    connection: PgConnection,
    names: Names,
    shape: Shape,
    place: String,
}

impl std::fmt::Debug for Rebuild {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rebuild").field("table", &self.names.table).finish_non_exhaustive()
    }
}

impl Rebuild {
    /// The table and its server, for people.
    pub fn summary(&self) -> &str {
        &self.place
    }

    /// Runs statements as one transaction.
    async fn transaction(&mut self, statements: &[String]) -> Result<(), DatabaseError> {
        self.simple("BEGIN").await?;
        for statement in statements {
            if let Err(error) = self.simple(statement).await {
                self.roll_back().await;
                return Err(error);
            }
        }
        self.simple("COMMIT").await
    }

    async fn simple(&mut self, sql: &str) -> Result<(), DatabaseError> {
        self.connection.execute(sqlx::raw_sql(sql)).await.map(drop).map_err(|error| error_of(&error))
    }

    /// If it fails, the server ends the transaction with the connection.
    async fn roll_back(&mut self) {
        let _ended_with_the_connection = self.connection.execute(sqlx::raw_sql("ROLLBACK")).await;
    }

    /// Ends a transaction: commits what was done, or rolls it back.
    async fn end<T>(&mut self, done: Result<T, DatabaseError>) -> Result<T, DatabaseError> {
        match done {
            Ok(value) => self.simple("COMMIT").await.map(|()| value),
            Err(error) => {
                self.roll_back().await;
                Err(error)
            }
        }
    }

    async fn run(&mut self, sql: &str, bind: &[Bind<'_>]) -> Result<u64, DatabaseError> {
        let done = bound(sql, bind).execute(&mut self.connection).await;
        done.map(|done| done.rows_affected()).map_err(|error| error_of(&error))
    }

    async fn rows(&mut self, sql: &str, bind: &[Bind<'_>]) -> Result<Vec<PgRow>, DatabaseError> {
        bound(sql, bind).fetch_all(&mut self.connection).await.map_err(|error| error_of(&error))
    }

    /// Tries again what could not have a lock. Who asks for a lock makes those wait who ask after it, so each try is
    /// short, and the pauses are long.
    async fn patiently(&mut self, statements: &[String], patience: Duration) -> Result<(), DatabaseError> {
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
const PAUSE: Duration = Duration::from_millis(500);

/// A value of a statement.
enum Bind<'v> {
    Text(Option<&'v str>),
    Texts(&'v [String]),
    Int(i64),
}

/// Statements are not prepared: a connection to a pooler may get another server process for the next one.
fn bound<'q>(
    sql: &'q str,
    values: &'q [Bind<'q>],
) -> sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments> {
    values.iter().fold(sqlx::query(sql).persistent(false), |query, value| match value {
        Bind::Text(text) => query.bind(*text),
        Bind::Texts(texts) => query.bind(*texts),
        Bind::Int(number) => query.bind(*number),
    })
}

fn error_of(error: &sqlx::Error) -> DatabaseError {
    if let sqlx::Error::Database(refused) = error
        && refused.code().as_deref() == Some("42883")
    {
        return invalid("a function or an operator is not known: look at the condition of living rows");
    }
    match failure(error, &mut false) {
        Failure::Refused(error) => error,
        Failure::Row(message) => DatabaseError::Corrupt { message },
        Failure::Busy(message) => DatabaseError::Conflict { message },
        Failure::Lost(message) => DatabaseError::Unavailable { message },
    }
}

fn column<'r, T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>>(
    row: &'r PgRow,
    at: usize,
) -> Result<T, DatabaseError> {
    row.try_get(at).map_err(|error| error_of(&error))
}

fn invalid(message: impl Into<String>) -> DatabaseError {
    DatabaseError::Invalid { message: message.into() }
}
