//! Detects a pooler in transaction mode, before any setting is made on a connection that other clients get next.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection as _, Executor as _, Row as _};
use switchover_core::capabilities::DatabaseError;
use tokio::time::timeout;

use super::errors::unavailable;

/// How long the whole check may take. If a pool in session mode has only one connection, the second one waits.
const PATIENCE: Duration = Duration::from_secs(2);

/// The server process that serves a connection. This statement is not prepared.
const SERVED_BY: &str = "SELECT pg_backend_pid()";

/// Checks with two connections. Normally two processes serve them, and each connection keeps its process. A pooler in
/// transaction mode assigns processes anew for each transaction: then a connection that has opened a transaction gets
/// the process of one without a transaction, or takes it over.
pub(super) async fn refuse_in_transaction_mode(address: &PgConnectOptions) -> Result<(), DatabaseError> {
    let mut first = PgConnection::connect_with(address).await.map_err(|error| unavailable(&error))?;
    // Without an answer nothing can be decided. If something is wrong, the first use of the connection will show it.
    let hands_out = timeout(PATIENCE, hands_out_anew(address, &mut first)).await;
    let hands_out = matches!(hands_out, Ok(Ok(true)));
    first.close().await.ok();
    if hands_out {
        let message = "a pooler in transaction mode, which hands out another connection for each transaction: give the \
                       server's own address, or a pool in session mode";
        return Err(DatabaseError::Unavailable { message: message.to_owned() });
    }
    Ok(())
}

async fn hands_out_anew(address: &PgConnectOptions, first: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let before = served_by(first).await?;
    let mut second = PgConnection::connect_with(address).await?;
    if let Err(refused) = second.execute(sqlx::raw_sql("BEGIN")).await {
        // In statement mode there are no transactions at all.
        return if matches!(refused, sqlx::Error::Database(_)) { Ok(true) } else { Err(refused) };
    }
    let other = served_by(&mut second).await?;
    let anew = other == before || served_by(first).await? != before;
    second.execute(sqlx::raw_sql("ROLLBACK")).await?;
    second.close().await?;
    Ok(anew)
}

async fn served_by(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    connection.fetch_one(sqlx::raw_sql(SERVED_BY)).await?.try_get(0)
}
