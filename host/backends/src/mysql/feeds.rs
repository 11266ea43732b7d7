//! Identifies the table on MySQL or MariaDB, and finds what replicates it, as far as the server shows it to this user, and how busy
//! the server is.

use sqlx::mysql::MySqlConnection;
use sqlx::{Executor as _, Row as _};
use switchover_core::capabilities::{Feeds, Identity, Strain};

use switchover_core::Table;

/// What distinguishes one server from another. MySQL has an identifier of the server, but MariaDB does not in every
/// version: host, port, folder and socket are used instead. All nodes of a Galera cluster have the same rows, so there
/// the identifier is the cluster's.
const SERVER: [&str; 7] =
    ["hostname", "port", "datadir", "socket", "server_uuid", "server_uid", "wsrep_cluster_state_uuid"];

pub(super) async fn identity(connection: &mut MySqlConnection, table: &Table) -> Result<Option<Identity>, sqlx::Error> {
    let here = "SELECT cast(table_schema AS char), cast(table_name AS char) FROM information_schema.tables \
                WHERE table_schema = coalesce(?, database()) AND table_name = ?";
    let found = sqlx::query(here).persistent(false).bind(table.schema()).bind(table.name());
    let found = found.fetch_optional(&mut *connection).await?;
    let Some(found) = found else { return Ok(None) };
    let (schema, table): (String, String) = (found.try_get(0)?, found.try_get(1)?);
    let mut told = Vec::new();
    for name in SERVER {
        let kind = if name.starts_with("wsrep") { "STATUS" } else { "VARIABLES" };
        let sql = format!("SHOW GLOBAL {kind} LIKE '{name}'");
        let row = connection.fetch_optional(sqlx::raw_sql(&sql)).await?;
        told.push(row.map(|row| row.try_get::<String, _>(1)).transpose()?.unwrap_or_default());
    }
    let cluster = told.pop().filter(|cluster| !cluster.is_empty());
    let server = cluster.unwrap_or_else(|| told.join(" "));
    Ok(Some(Identity::new("mysql", &[&server, &schema, &table])))
}

pub(super) async fn feeds(connection: &mut MySqlConnection, table: &Table) -> Result<Feeds, sqlx::Error> {
    let mut feeds = Feeds::default();
    // MariaDB's statement lists several primaries; the other two, of which the first is MySQL's newer form, list one.
    let mut primaries = Err(sqlx::Error::RowNotFound);
    for sql in ["SHOW ALL SLAVES STATUS", "SHOW REPLICA STATUS", "SHOW SLAVE STATUS"] {
        primaries = connection.fetch_all(sqlx::raw_sql(sql)).await;
        if primaries.is_ok() {
            break;
        }
    }
    match primaries {
        Ok(rows) if rows.is_empty() => {}
        Ok(rows) => feeds.incoming.push(format!("{} primaries, which this server replicates", rows.len())),
        Err(sqlx::Error::Database(refused)) => {
            feeds
                .unknown
                .push(format!("the server does not show this user whether it is a replica: {}", refused.message()));
        }
        Err(error) => return Err(error),
    }
    let replicas =
        "SELECT cast(count(*) AS signed) FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'";
    let replicas: i64 = sqlx::query_scalar(replicas).persistent(false).fetch_one(&mut *connection).await?;
    if replicas > 0 {
        feeds.outgoing.push(format!("{replicas} replicas of this server"));
    }
    let nodes = connection.fetch_optional(sqlx::raw_sql("SHOW GLOBAL STATUS LIKE 'wsrep_cluster_size'")).await?;
    let nodes = nodes.map(|row| row.try_get::<String, _>(1)).transpose()?;
    if let Some(nodes) = nodes.filter(|nodes| !matches!(nodes.as_str(), "" | "0" | "1")) {
        feeds.outgoing.push(format!("a Galera cluster of {nodes} nodes"));
    }
    let triggers = "SELECT cast(trigger_name AS char) FROM information_schema.triggers \
                    WHERE event_object_schema = coalesce(?, database()) AND event_object_table = ? \
                    AND trigger_name NOT LIKE 'switchover_sealed_%'";
    let triggers = sqlx::query_scalar(triggers).persistent(false).bind(table.schema()).bind(table.name());
    let triggers: Vec<String> = triggers.fetch_all(connection).await?;
    feeds.outgoing.extend(triggers.iter().map(|name| format!("the trigger {name}")));
    Ok(feeds)
}

/// A primary does not know how far its replicas are.
pub(super) async fn strain(connection: &mut MySqlConnection) -> Result<Strain, sqlx::Error> {
    let row = connection.fetch_optional(sqlx::raw_sql("SHOW GLOBAL STATUS LIKE 'Threads_running'")).await?;
    let running = row.map(|row| row.try_get::<String, _>(1)).transpose()?.and_then(|count| count.parse::<u64>().ok());
    // This connection is one of them.
    Ok(Strain { active: running.map(|running| running.saturating_sub(1)), behind: None })
}
