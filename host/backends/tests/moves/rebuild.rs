//! A table of PostgreSQL is built again while programs that know nothing of it write it.

use std::time::Duration;

use crate::site::{LIVING, Site};
use anyhow::{Context as _, Result, ensure};
use sqlx::{Connection as _, Executor as _, PgConnection};
use switchover_backends::moves::{CutBound, Mover as _, Side};
use switchover_core::capabilities::DatabaseError;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_back_through_a_cut_and_the_way_back() -> Result<()> {
    let site = Site::new().await?;
    site.fill(2_000, 1_000).await?;
    let traffic = site.traffic(8);
    let mut rebuild = site.rebuild().await?;
    rebuild.begin(LIVING).await?;
    let copier = site.copier();
    for from in [Side::Old, Side::New, Side::Old] {
        site.verified().await?;
        rebuild.cut(from, CutBound::default()).await?;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let told = traffic.ends().await?;
    told.has_traffic()?;
    site.verified().await?;
    copier.ends().await?;
    site.has_what_was_acknowledged(&told).await?;
    let left = site.count("django_session").await?;
    ensure!(left < 2_500 + told.living(), "ended rows were carried: {left}");
    rebuild.finish(true).await?;
    site.has_nothing_left().await
}

#[tokio::test]
async fn traffic_notices_what_is_lost() -> Result<()> {
    let site = Site::new().await?;
    let traffic = site.traffic(2);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut connection = site.connection().await?;
    connection.execute("CREATE TABLE t AS SELECT * FROM django_session; DELETE FROM django_session").await?;
    let told = traffic.ends().await?;
    let lost = site.has_what_was_acknowledged(&told).await.unwrap_err().to_string();
    ensure!(lost.contains("lost"), "{lost}");
    Ok(())
}

#[tokio::test]
async fn comparison_finds_what_was_written_past_the_trigger() -> Result<()> {
    let site = Site::new().await?;
    site.fill(300, 0).await?;
    let mut rebuild = site.rebuild().await?;
    rebuild.begin(LIVING).await?;
    while !rebuild.scan(100).await?.ended {}
    let mut connection = site.connection().await?;
    connection
        .execute(
            "SET session_replication_role = replica; UPDATE django_session SET session_data = 'seen' WHERE session_key = 'k00000001';
             SET session_replication_role = origin; ALTER TABLE django_session DISABLE TRIGGER switchover_move;
             UPDATE django_session SET session_data = 'unseen' WHERE session_key = 'k00000002';
             DELETE FROM django_session WHERE session_key = 'k00000003';
             INSERT INTO django_session VALUES ('k99999999', 'x', now() + interval '1 hour'), ('k99999998', 'ended', now());
             ALTER TABLE django_session ENABLE ALWAYS TRIGGER switchover_move",
        )
        .await?;
    while rebuild.carry(100).await?.changes > 0 {}
    let mut found = Vec::new();
    loop {
        let compared = rebuild.compare(50).await?;
        if compared.ended {
            break;
        }
        found.extend(compared.different);
    }
    ensure!(found.len() == 3, "an update, a delete, and an insert: {found:?}");
    ensure!(!found.iter().any(|shown| shown.contains("k0")), "keys are shown as hashes");
    let refused = rebuild.cut(Side::Old, CutBound::default()).await.unwrap_err();
    ensure!(refused.to_string().contains("3 rows that differ"), "{refused}");
    site.copied(&mut rebuild).await?;
    rebuild.cut(Side::Old, CutBound::default()).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_steps_back_rather_than_keep_applications_waiting() -> Result<()> {
    let site = Site::new().await?;
    site.fill(50, 0).await?;
    let mut rebuild = site.rebuild().await?;
    rebuild.begin(LIVING).await?;
    site.copied(&mut rebuild).await?;
    let bound = CutBound { wait: Duration::from_millis(200), tries: 2 };
    for (blocked_by, named) in [
        ("BEGIN; UPDATE django_session SET session_data = 'x' WHERE session_key = 'k00000001'", "lock"),
        ("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1", "older snapshot"),
    ] {
        let mut blocker = site.connection().await?;
        blocker.execute(blocked_by).await?;
        let mut other = site.connection().await?;
        let writes = tokio::spawn(async move {
            other.execute("SET statement_timeout = '10s'").await?;
            for _ in 0..60 {
                other
                    .execute("INSERT INTO django_session SELECT md5(random()::text), 'x', now() + interval '1 hour'")
                    .await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            anyhow::Ok(())
        });
        let refused = rebuild.cut(Side::Old, bound).await.unwrap_err();
        ensure!(matches!(refused, DatabaseError::Conflict { .. }), "{refused}");
        ensure!(refused.to_string().contains(named), "{refused}");
        writes.await?.context("an application waited for the blocked cut")?;
        blocker.execute("ROLLBACK").await?;
        ensure!(rebuild.state().await?.unwrap().side == Side::Old);
    }
    rebuild.cut(Side::Old, CutBound::default()).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copiers_that_wait_for_their_turn_are_in_no_cuts_way() -> Result<()> {
    let site = Site::new().await?;
    site.fill(50, 0).await?;
    let mut rebuild = site.rebuild().await?;
    rebuild.begin(LIVING).await?;
    site.copied(&mut rebuild).await?;
    let mut copiers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let mut copier = site.rebuild().await?;
        copiers.spawn(async move {
            loop {
                match copier.carry(100).await {
                    Ok(_) | Err(DatabaseError::Conflict { .. }) => {}
                    Err(error) => return error,
                }
            }
        });
    }
    for from in [Side::Old, Side::New, Side::Old] {
        site.copied(&mut rebuild).await?;
        rebuild.cut(from, CutBound { tries: 3, ..CutBound::default() }).await?;
    }
    match copiers.try_join_next() {
        Some(ended) => Err(ended?.into()),
        None => Ok(()),
    }
}

#[tokio::test]
async fn names_rights_indexes_and_options_stay() -> Result<()> {
    let site = Site::new().await?;
    let mut connection = site.connection().await?;
    connection
        .execute(
            "CREATE ROLE reader; CREATE TABLE \"Web Sessions\" (gone int, id bigserial, session_id varchar(40) NOT NULL,
                 data json, created timestamp DEFAULT now(), CONSTRAINT positive CHECK (id > 0), PRIMARY KEY (id))
                 WITH (fillfactor = 70);
             ALTER TABLE \"Web Sessions\" DROP COLUMN gone;
             CREATE UNIQUE INDEX by_session ON \"Web Sessions\" (session_id);
             CREATE INDEX by_created ON \"Web Sessions\" (created DESC) WHERE data IS NOT NULL;
             CREATE INDEX by_created_too ON \"Web Sessions\" (created);
             GRANT SELECT ON \"Web Sessions\" TO reader; COMMENT ON TABLE \"Web Sessions\" IS 'of the web''s';
             INSERT INTO \"Web Sessions\" (session_id, data) SELECT 's' || n, '{\"a\": 1}' FROM generate_series(1, 500) AS n",
        )
        .await?;
    let before = site.described("Web Sessions").await?;
    let mut rebuild = site.rebuild_of("\"Web Sessions\"").await?;
    rebuild.begin("true").await?;
    site.copied(&mut rebuild).await?;
    // Two rows exchange what must be unique, and their changes may come in different steps.
    connection
        .execute(
            "UPDATE \"Web Sessions\" SET session_id = 'x' WHERE id = 1; UPDATE \"Web Sessions\" SET session_id = 's1' WHERE id = 2;
             UPDATE \"Web Sessions\" SET session_id = 's2' WHERE id = 1",
        )
        .await?;
    while rebuild.carry(1).await?.changes > 0 {}
    site.copied(&mut rebuild).await?;
    rebuild.cut(Side::Old, CutBound::default()).await?;
    ensure!(
        site.described("Web Sessions").await? == before,
        "{before}\nand now\n{}",
        site.described("Web Sessions").await?
    );
    connection.execute("INSERT INTO \"Web Sessions\" (session_id) VALUES ('next')").await?;
    let (id,): (i64,) =
        sqlx::query_as("SELECT id FROM \"Web Sessions\" WHERE session_id = 'next'").fetch_one(&mut connection).await?;
    ensure!(id == 501, "the sequence goes on: {id}");
    // As Sequelize does for a moment.
    let mut using = site.connection().await?;
    using
        .execute("CREATE FUNCTION pg_temp.uses(OUT r \"Web Sessions_move_old\") LANGUAGE sql AS 'SELECT NULL::\"Web Sessions_move_old\"'")
        .await?;
    let refused = rebuild.finish(true).await.unwrap_err();
    ensure!(refused.to_string().contains("uses()"), "{refused}");
    using.execute("DROP FUNCTION pg_temp.uses").await?;
    rebuild.finish(true).await?;
    connection.execute("INSERT INTO \"Web Sessions\" (session_id) VALUES ('after the old table')").await?;
    Ok(())
}

#[tokio::test]
async fn what_is_in_the_way_is_named() -> Result<()> {
    let site = Site::new().await?;
    let mut connection = site.connection().await?;
    for (made, named, undone) in [
        ("CREATE VIEW who AS SELECT session_key FROM django_session", "who is a view", "DROP VIEW who"),
        (
            "CREATE TABLE refers (k varchar(40) CONSTRAINT to_sessions REFERENCES django_session ON DELETE CASCADE)",
            "to_sessions is a foreign key",
            "DROP TABLE refers",
        ),
        (
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
             CREATE TRIGGER audit AFTER DELETE ON django_session FOR EACH ROW EXECUTE FUNCTION f()",
            "audit is a trigger",
            "DROP TRIGGER audit ON django_session",
        ),
        (
            "CREATE RULE r AS ON DELETE TO django_session DO ALSO NOTHING",
            "r is a rule",
            "DROP RULE r ON django_session",
        ),
        (
            "ALTER TABLE django_session ENABLE ROW LEVEL SECURITY",
            "row security",
            "ALTER TABLE django_session DISABLE ROW LEVEL SECURITY",
        ),
        ("CREATE PUBLICATION everything FOR ALL TABLES", "everything is a publication", "DROP PUBLICATION everything"),
        ("CREATE TABLE child () INHERITS (django_session)", "child is bound", "DROP TABLE child"),
        ("ALTER TABLE django_session SET UNLOGGED", "unlogged", "ALTER TABLE django_session SET LOGGED"),
        (
            "ALTER TABLE django_session ADD n int GENERATED ALWAYS AS IDENTITY",
            "identity",
            "ALTER TABLE django_session DROP n",
        ),
        (
            "CREATE FUNCTION g(django_session) RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "uses the type",
            "DROP FUNCTION g",
        ),
        (
            "ALTER DATABASE site SET default_transaction_isolation = 'repeatable read'",
            "is the isolation",
            "ALTER DATABASE site RESET default_transaction_isolation",
        ),
        ("CREATE TABLE django_session_move_new ()", "is there already", "DROP TABLE django_session_move_new"),
    ] {
        connection.execute(made).await?;
        let mut rebuild = site.rebuild().await?;
        let refused = rebuild.begin(LIVING).await.unwrap_err();
        ensure!(refused.to_string().contains(named), "{made}: {refused}");
        ensure!(rebuild.state().await?.is_none(), "{made}: something was begun");
        connection.execute(undone).await?;
    }
    connection.execute("CREATE TABLE parted (session_key text PRIMARY KEY) PARTITION BY HASH (session_key); CREATE TABLE keyless (k text)").await?;
    let refused = site.rebuild_of("parted").await?.begin("true").await.unwrap_err();
    ensure!(refused.to_string().contains("partitioned"), "{refused}");
    let refused = site.rebuild_of("keyless").await.unwrap_err();
    ensure!(refused.to_string().contains("no primary key"), "{refused}");
    let refused = site.rebuild().await?.begin("no_such_column > 1").await.unwrap_err();
    ensure!(refused.to_string().contains("living rows"), "{refused}");
    Ok(())
}

#[tokio::test]
async fn aborted_move_leaves_the_table_as_it_was() -> Result<()> {
    let site = Site::new().await?;
    site.fill(100, 0).await?;
    let before = site.described("django_session").await?;
    let mut rebuild = site.rebuild().await?;
    rebuild.begin(LIVING).await?;
    rebuild.begin(LIVING).await?;
    rebuild.scan(10).await?;
    let mut connection: PgConnection = site.connection().await?;
    connection.execute("TRUNCATE django_session").await?;
    while rebuild.carry(10).await?.changes > 0 {}
    ensure!(site.count("django_session_move_new").await? == 0, "a truncated table is empty on both sides");
    let refused = rebuild.finish(false).await.unwrap_err();
    ensure!(refused.to_string().contains("abort"), "{refused}");
    rebuild.abort().await?;
    ensure!(site.described("django_session").await? == before);
    site.has_nothing_left().await?;
    connection.close().await?;
    Ok(())
}

#[tokio::test]
async fn trigger_that_was_switched_off_forbids_the_cut_until_all_is_compared_again() -> Result<()> {
    let site = Site::new().await?;
    site.fill(50, 0).await?;
    let mut rebuild = site.rebuild().await?;
    rebuild.begin(LIVING).await?;
    site.copied(&mut rebuild).await?;
    let mut connection = site.connection().await?;
    connection
        .execute(
            "ALTER TABLE django_session DISABLE TRIGGER switchover_move;
             UPDATE django_session SET session_data = 'unseen' WHERE session_key = 'k00000002'",
        )
        .await?;
    let refused = rebuild.cut(Side::Old, CutBound::default()).await.unwrap_err();
    ensure!(refused.to_string().contains("the trigger is gone"), "{refused}");
    let refused = rebuild.begin("true").await.unwrap_err();
    ensure!(refused.to_string().contains(LIVING), "{refused}");
    rebuild.begin(LIVING).await?;
    let refused = rebuild.cut(Side::Old, CutBound::default()).await.unwrap_err();
    ensure!(refused.to_string().contains("no comparison"), "{refused}");
    site.copied(&mut rebuild).await?;
    rebuild.cut(Side::Old, CutBound::default()).await?;
    let (data,): (String,) = sqlx::query_as("SELECT session_data FROM django_session WHERE session_key = 'k00000002'")
        .fetch_one(&mut connection)
        .await?;
    ensure!(data == "unseen", "{data}");
    Ok(())
}
