//! Finds what replicates a table on PostgreSQL, and how busy its server is, as far as the catalogues show it to this user.

use sqlx::Row as _;
use sqlx::postgres::PgConnection;
use switchover_core::capabilities::{Feeds, Strain};

/// Subscriptions of this table, and a primary whose log this server replays.
const INCOMING: &str = "SELECT format('the subscription %s', s.subname) FROM pg_subscription_rel AS r \
                        JOIN pg_subscription AS s ON s.oid = r.srsubid \
                        WHERE r.srrelid IN \
                            (SELECT to_regclass($1)::oid UNION SELECT relid FROM pg_partition_tree(to_regclass($1))) \
                        UNION SELECT 'a primary, which this server replays as its standby' WHERE pg_is_in_recovery()";

/// Publications that carry deletions, servers that stream from this one, and triggers, which may do anything.
const OUTGOING: &str = "SELECT format('the publication %s', t.pubname) FROM pg_publication_tables AS t \
                        JOIN pg_publication AS p ON p.pubname = t.pubname \
                        JOIN pg_class AS c ON c.oid = to_regclass($1) \
                        JOIN pg_namespace AS n ON n.oid = c.relnamespace \
                        WHERE t.schemaname = n.nspname AND t.tablename = c.relname AND (p.pubdelete OR p.puballtables) \
                        UNION SELECT format('%s servers that stream from this one', count(*)) FROM pg_stat_replication \
                        HAVING count(*) > 0 \
                        UNION SELECT format('the replication slot %s', slot_name) FROM pg_replication_slots \
                        UNION SELECT format('the trigger %s', tgname) FROM pg_trigger \
                            WHERE tgrelid = to_regclass($1) AND NOT tgisinternal AND tgname <> 'switchover_sealed'";

pub(super) async fn feeds(connection: &mut PgConnection, table: &str) -> Result<Feeds, sqlx::Error> {
    let mut feeds = Feeds::default();
    for (sql, told) in [(INCOMING, &mut feeds.incoming), (OUTGOING, &mut feeds.outgoing)] {
        match sqlx::query(sql).persistent(false).bind(table).fetch_all(&mut *connection).await {
            Ok(rows) => {
                *told = rows.iter().map(|row| row.try_get::<String, _>(0)).collect::<Result<_, _>>()?;
            }
            Err(sqlx::Error::Database(refused)) => {
                feeds
                    .unknown
                    .push(format!("PostgreSQL does not show this user its replication: {}", refused.message()));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(feeds)
}

/// Who may not see the sessions of others sees their rows, and those of the server's own processes, with nothing in them:
/// the result is NULL then. What a replica has replayed is NULL where it only stores the log.
const STRAIN: &str = "SELECT (SELECT CASE WHEN bool_or(backend_type IS NULL) THEN NULL \
                                     ELSE count(*) FILTER (WHERE state = 'active' AND pid <> pg_backend_pid()) END \
                              FROM pg_stat_activity \
                              WHERE backend_type = 'client backend' OR backend_type IS NULL), \
                             (SELECT CASE WHEN bool_or(state IS NULL) THEN NULL \
                                     ELSE coalesce(max(pg_wal_lsn_diff(pg_current_wal_lsn(), \
                                         coalesce(replay_lsn, flush_lsn, write_lsn, sent_lsn))), 0)::bigint END \
                              FROM pg_stat_replication)";

pub(super) async fn strain(connection: &mut PgConnection) -> Result<Strain, sqlx::Error> {
    let row = sqlx::query(STRAIN).fetch_one(connection).await?;
    let count = |at: usize| Ok::<_, sqlx::Error>(row.try_get::<Option<i64>, _>(at)?.map(|count| count.max(0) as u64));
    Ok(Strain { active: count(0)?, behind: count(1)? })
}
