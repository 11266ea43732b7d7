//! The control tables of migrations on any kind of database.
//!
//! The statements stand here once; a [`port::Port`] runs them, and a [`port::Dialect`] has what differs.

mod calls;
pub(crate) mod port;
mod rows;
mod tables;

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use switchover_core::capabilities::DatabaseError;
use tokio::sync::Mutex;
use tokio::time::timeout_at;

use self::port::{Dialect, Opener, Port, Returned, Trouble, Value};

/// A connection that nobody has used for this long is asked whether it is alive, before a statement that may not be
/// sent twice.
const IDLE_MAX: Duration = Duration::from_secs(1);

/// The control tables in one database, over one connection. It is opened when it is first used.
pub(crate) struct SqlControl {
    opener: Box<dyn Opener>,
    dialect: Dialect,
    connection: Mutex<Option<Open>>,
}

struct Open {
    port: Box<dyn Port>,
    used_at: Instant,
}

/// Work on a connection.
type Work<'c, T> = Pin<Box<dyn Future<Output = Result<T, Trouble>> + Send + 'c>>;

/// What an operation does, which says what a lost connection means for it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Reads,
    /// It may be sent again: the second time it changes nothing more, and answers the same.
    Repeatable,
    /// Sent again, it would answer otherwise.
    Once,
}

impl SqlControl {
    pub(crate) fn new(opener: impl Opener + 'static) -> Self {
        let dialect = opener.dialect();
        Self { opener: Box::new(opener), dialect, connection: Mutex::new(None) }
    }

    /// A statement in this dialect.
    fn sql(&self, text: &str) -> String {
        text.replace("{now}", self.dialect.now)
    }

    /// Runs an operation by `deadline`. A connection on which it failed or did not answer is given up.
    async fn with<T>(
        &self,
        deadline: Instant,
        kind: Kind,
        mut work: impl for<'c> FnMut(&'c mut dyn Port) -> Work<'c, T> + Send,
    ) -> Result<T, DatabaseError> {
        let Ok(mut connection) = timeout_at(deadline.into(), self.connection.lock()).await else {
            return Err(DatabaseError::Timeout);
        };
        let mut attempts = 0;
        loop {
            attempts += 1;
            let mut open = self.open(connection.take(), kind, deadline).await?;
            let done = timeout_at(deadline.into(), work(open.port.as_mut())).await;
            let message = match done {
                Ok(Ok(value)) => {
                    open.used_at = Instant::now();
                    *connection = Some(open);
                    return Ok(value);
                }
                Ok(Err(Trouble::Refused(error))) => {
                    *connection = Some(open);
                    return Err(error);
                }
                Ok(Err(Trouble::Lost(_))) if kind != Kind::Once && attempts == 1 => continue,
                Ok(Err(Trouble::Lost(message))) => message,
                Err(_) if kind == Kind::Reads => return Err(DatabaseError::Timeout),
                Err(_) => "no answer before the deadline".to_owned(),
            };
            return Err(match kind {
                Kind::Reads => DatabaseError::Unavailable { message },
                Kind::Repeatable | Kind::Once => DatabaseError::UnknownOutcome { message },
            });
        }
    }

    /// A connection to use: the one that is open, or a new one.
    async fn open(&self, open: Option<Open>, kind: Kind, deadline: Instant) -> Result<Open, DatabaseError> {
        if let Some(mut open) = open {
            if kind != Kind::Once || open.used_at.elapsed() < IDLE_MAX {
                return Ok(open);
            }
            if let Ok(Ok(_)) = timeout_at(deadline.into(), open.port.run("SELECT 1", Vec::new())).await {
                return Ok(open);
            }
        }
        match timeout_at(deadline.into(), self.opener.open(deadline)).await {
            Ok(port) => Ok(Open { port: port?, used_at: Instant::now() }),
            Err(_) => Err(DatabaseError::Timeout),
        }
    }

    async fn read(&self, sql: &str, values: Vec<Value>, deadline: Instant) -> Result<Vec<Vec<Value>>, DatabaseError> {
        Ok(self.statement(Kind::Reads, sql, values, deadline).await?.rows)
    }

    /// One statement.
    async fn statement(
        &self,
        kind: Kind,
        sql: &str,
        values: Vec<Value>,
        deadline: Instant,
    ) -> Result<Returned, DatabaseError> {
        let sql = self.sql(sql);
        self.with(deadline, kind, |port| {
            let (sql, values) = (sql.clone(), values.clone());
            Box::pin(async move { port.run(&sql, values).await })
        })
        .await
    }

    /// Several statements as one transaction. The first one decides: if it writes no row, nothing is written, and the
    /// answer is `false`.
    async fn transaction(
        &self,
        statements: Vec<(String, Vec<Value>)>,
        deadline: Instant,
    ) -> Result<bool, DatabaseError> {
        let statements: Vec<_> = statements.into_iter().map(|(sql, values)| (self.sql(&sql), values)).collect();
        let begin = self.dialect.begin;
        self.with(deadline, Kind::Once, |port| {
            let statements = statements.clone();
            Box::pin(async move {
                port.run(begin, Vec::new()).await?;
                match all(port, statements).await {
                    Ok(true) => port.run("COMMIT", Vec::new()).await.map(|_| true),
                    Ok(false) => port.run("ROLLBACK", Vec::new()).await.map(|_| false),
                    Err(Trouble::Refused(error)) => {
                        port.run("ROLLBACK", Vec::new()).await?;
                        Err(Trouble::Refused(error))
                    }
                    Err(lost) => Err(lost),
                }
            })
        })
        .await
    }

    async fn close_connection(&self) {
        drop(self.connection.lock().await.take());
    }
}

async fn all(port: &mut dyn Port, statements: Vec<(String, Vec<Value>)>) -> Result<bool, Trouble> {
    for (place, (sql, values)) in statements.into_iter().enumerate() {
        let written = port.run(&sql, values).await?.written;
        if place == 0 && written == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}
