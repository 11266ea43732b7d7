//! A table of PostgreSQL is carried to another server while programs that know nothing of it write it.

use std::time::Duration;

use crate::site::{LIVING, Site};
use anyhow::{Context as _, Result, ensure};
use sqlx::Executor as _;
use switchover_backends::moves::{CutBound, Mover, Side};
use switchover_core::capabilities::DatabaseError;

const HELD: Duration = Duration::from_millis(2_200);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_back_through_a_seal() -> Result<()> {
    let site = Site::with_another_server().await?;
    site.fill(2_000, 1_000).await?;
    let traffic = site.traffic(8);
    let mut transfer = site.transfer().await?;
    transfer.begin(LIVING).await?;
    let copier = site.copier();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        site.new_server()?.kill().await?;
        site.new_server()?.restart().await?;
    }
    site.verified().await?;
    let mut transfer = site.transfer().await?;
    transfer.cut(Side::Old, CutBound::default()).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let told = traffic.ends().await?;
    told.has_traffic()?;
    copier.ends().await?;
    site.has_what_was_acknowledged(&told).await?;
    let left = site.count("django_session").await?;
    ensure!(left < 2_500 + told.living(), "ended rows were carried: {left}");
    let refused = site.rebuild().await?.finish(true).await.unwrap_err();
    ensure!(refused.to_string().contains("give --to"), "{refused}");
    transfer.begin(LIVING).await?;
    transfer.finish(true).await?;
    let mut forgotten = site.connection().await?;
    for statement in [
        "SELECT * FROM django_session WHERE session_key = 'k00000001'",
        "SELECT count(*) FROM django_session",
        "UPDATE django_session SET session_data = 'x' WHERE session_key = 'k00000001'",
        "DELETE FROM django_session WHERE expire_date < now()",
        "INSERT INTO django_session VALUES ('late', 'x', now())",
        "INSERT INTO django_session VALUES ('late', 'x', now()) ON CONFLICT DO NOTHING",
    ] {
        let refused = forgotten.execute(statement).await.unwrap_err().to_string();
        ensure!(refused.contains("has moved to postgres at"), "{statement}: {refused}");
    }
    for statement in [
        "TRUNCATE django_session",
        "INSERT INTO django_session VALUES ('late', 'x', now()) ON CONFLICT (session_key) DO UPDATE SET session_data = 'x'",
    ] {
        ensure!(forgotten.execute(statement).await.is_err(), "{statement} was taken");
    }
    Ok(())
}

#[tokio::test]
async fn comparison_finds_what_differs_at_either_server() -> Result<()> {
    let site = Site::with_another_server().await?;
    site.fill(300, 10).await?;
    let mut transfer = site.transfer().await?;
    transfer.begin(LIVING).await?;
    site.copied(&mut transfer).await?;
    site.connection()
        .await?
        .execute(
            "ALTER TABLE django_session DISABLE TRIGGER switchover_move;
             UPDATE django_session SET session_data = 'unseen' WHERE session_key = 'k00000002';
             DELETE FROM django_session WHERE session_key = 'k00000003';
             ALTER TABLE django_session ENABLE ALWAYS TRIGGER switchover_move",
        )
        .await?;
    site.new_connection()
        .await?
        .execute(
            "UPDATE django_session_move_new SET expire_date = expire_date + interval '1 microsecond' WHERE session_key = 'k00000004';
             DELETE FROM django_session_move_new WHERE session_key = 'k00000005';
             INSERT INTO django_session_move_new VALUES ('Zz', '', now() - interval '1 day')",
        )
        .await?;
    let mut found = Vec::new();
    loop {
        let compared = transfer.compare(50).await?;
        found.extend(compared.different);
        if compared.ended {
            break;
        }
    }
    ensure!(found.len() == 5, "two unseen, and three at the new server: {found:?}");
    ensure!(!found.iter().any(|shown| shown.contains("k0")), "keys are shown as hashes");
    let refused = transfer.cut(Side::Old, CutBound::default()).await.unwrap_err();
    ensure!(refused.to_string().contains("5 rows that differ"), "{refused}");
    site.copied(&mut transfer).await?;
    transfer.cut(Side::Old, CutBound::default()).await?;
    let sql = "SELECT count(*) FROM django_session WHERE session_data = 'unseen' OR session_key IN ('k00000004', 'k00000005')";
    let (rows,): (i64,) = sqlx::query_as(sql).fetch_one(&mut site.new_connection().await?).await?;
    ensure!(rows == 3 && site.count("django_session").await? == 299, "{rows}");
    Ok(())
}

#[tokio::test]
async fn copier_that_was_deposed_puts_nothing() -> Result<()> {
    let site = Site::with_another_server().await?;
    site.fill(3, 0).await?;
    let mut first = site.transfer().await?;
    first.begin(LIVING).await?;
    site.copied(&mut first).await?;
    let mut second = site.transfer().await?;
    let refused = second.carry(10).await.unwrap_err();
    ensure!(refused.to_string().contains("lease"), "{refused}");
    tokio::time::sleep(HELD).await;
    second.carry(10).await?;
    let mut connection = site.connection().await?;
    connection.execute("UPDATE django_session SET session_data = 'newer' WHERE session_key = 'k00000001'").await?;
    // What is sent by the first one arrives late, as if nobody had the lease since.
    connection.execute("UPDATE django_session_move SET generation = generation - 1").await?;
    let refused = first.carry(10).await.unwrap_err();
    ensure!(refused.to_string().contains("fence"), "{refused}");
    connection.execute("UPDATE django_session_move SET generation = generation + 1").await?;
    ensure!(second.carry(10).await?.changes == 1, "the change is still there");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_steps_back_rather_than_keep_applications_waiting() -> Result<()> {
    let site = Site::with_another_server().await?;
    site.fill(50, 0).await?;
    let mut transfer = site.transfer().await?;
    transfer.begin(LIVING).await?;
    site.copied(&mut transfer).await?;
    let bound = CutBound { wait: Duration::from_millis(200), tries: 2 };
    let mut blocker = site.connection().await?;
    blocker.execute("BEGIN; UPDATE django_session SET session_data = 'x' WHERE session_key = 'k00000001'").await?;
    let refused = transfer.cut(Side::Old, bound).await.unwrap_err();
    ensure!(matches!(refused, DatabaseError::Conflict { .. }), "{refused}");
    blocker.execute("ROLLBACK").await?;

    let mut old_snapshot = site.new_connection().await?;
    old_snapshot.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1").await?;
    let refused = transfer.cut(Side::Old, bound).await.unwrap_err();
    ensure!(refused.to_string().contains("older snapshot"), "{refused}");
    old_snapshot.execute("ROLLBACK").await?;

    // A write that is to be carried under the lock, and a new server that does not answer.
    let mut blocked = site.new_connection().await?;
    blocked.execute("BEGIN; LOCK TABLE django_session_move_new").await?;
    let mut other = site.connection().await?;
    other.execute("UPDATE django_session SET session_data = 'y' WHERE session_key = 'k00000002'").await?;
    let mut cutting = site.transfer().await?;
    let refused = cutting.cut(Side::Old, CutBound { tries: 1, ..bound }).await.unwrap_err();
    ensure!(!matches!(refused, DatabaseError::Invalid { .. }), "{refused}");
    other.execute("SET statement_timeout = '1s'; SELECT * FROM django_session").await.context("the table is locked")?;
    blocked.execute("ROLLBACK").await?;
    ensure!(transfer.state().await?.context("begun")?.side == Side::Old);
    site.transfer().await?.cut(Side::Old, CutBound::default()).await?;
    Ok(())
}

#[tokio::test]
async fn half_a_cut_is_completed_or_taken_back() -> Result<()> {
    let site = Site::with_another_server().await?;
    site.fill(50, 0).await?;
    let mut transfer = site.transfer().await?;
    transfer.begin(LIVING).await?;
    site.copied(&mut transfer).await?;
    let mut holder = site.new_connection().await?;
    holder.execute("BEGIN; LOCK TABLE django_session_move_new IN ROW SHARE MODE").await?;
    let half = transfer.cut(Side::Old, CutBound::default()).await.unwrap_err();
    ensure!(matches!(half, DatabaseError::Conflict { .. }), "{half}");
    ensure!(transfer.state().await?.context("begun")?.side == Side::Neither);
    let refused = transfer.cut(Side::New, CutBound::default()).await.unwrap_err();
    ensure!(refused.to_string().contains("no seal to break"), "it may be opened any moment: {refused}");
    let refused = transfer.abort().await.unwrap_err();
    ensure!(refused.to_string().contains("half made"), "{refused}");

    // As if the process had ended before it said that it would open the new table.
    let mut connection = site.connection().await?;
    connection.execute("UPDATE django_session_move SET side = 'sealed'").await?;
    let mut another = site.transfer().await?;
    another.cut(Side::New, CutBound::default()).await?;
    connection.execute("INSERT INTO django_session VALUES ('afterwards', 'x', now() + interval '1 hour')").await?;
    holder.execute("ROLLBACK").await?;
    site.copied(&mut another).await?;
    another.cut(Side::Old, CutBound::default()).await?;

    connection.execute("UPDATE django_session_move SET side = 'opening'").await?;
    tokio::time::sleep(HELD).await;
    site.transfer().await?.carry(10).await?;
    ensure!(another.state().await?.context("begun")?.side == Side::New, "whoever comes next completes it");
    ensure!(site.count("django_session").await? == 51);
    Ok(())
}

#[tokio::test]
async fn what_is_in_the_way_at_the_new_server_is_named() -> Result<()> {
    let site = Site::with_another_server().await?;
    let (mut old, mut new) = (site.connection().await?, site.new_connection().await?);
    let table = "CREATE TABLE django_session (session_key varchar(40) PRIMARY KEY, session_data text NOT NULL, expire_date timestamptz NOT NULL)";
    for (made, named, undone) in [
        ("CREATE TABLE django_session (id int PRIMARY KEY)".to_owned(), "other columns", "DROP TABLE django_session"),
        (
            format!("{table}; INSERT INTO django_session VALUES ('a', 'b', now())"),
            "has rows",
            "DROP TABLE django_session",
        ),
        (
            format!(
                "{table}; CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; CREATE TRIGGER t BEFORE INSERT ON django_session FOR EACH ROW EXECUTE FUNCTION f()"
            ),
            "has a trigger",
            "DROP TABLE django_session",
        ),
        ("CREATE VIEW django_session AS SELECT 1 AS one".to_owned(), "no ordinary table", "DROP VIEW django_session"),
        ("CREATE TABLE django_session_move_new ()".to_owned(), "already", "DROP TABLE django_session_move_new"),
    ] {
        new.execute(made.as_str()).await?;
        let refused = site.transfer().await?.begin(LIVING).await.unwrap_err();
        ensure!(refused.to_string().contains(named), "{made}: {refused}");
        new.execute(undone).await?;
    }
    old.execute("ALTER TABLE django_session ADD n bigserial").await?;
    let refused = site.transfer().await?.begin(LIVING).await.unwrap_err();
    ensure!(refused.to_string().contains("pg_dump --schema-only"), "{refused}");

    // As that would make it.
    new.execute(
        "CREATE SEQUENCE django_session_n_seq; CREATE TABLE django_session (session_key varchar(40) PRIMARY KEY, session_data text NOT NULL,
             expire_date timestamptz NOT NULL, n bigint NOT NULL DEFAULT nextval('django_session_n_seq'));
         ALTER SEQUENCE django_session_n_seq OWNED BY django_session.n",
    )
    .await?;
    site.fill(20, 0).await?;
    let mut transfer = site.transfer().await?;
    transfer.begin(LIVING).await?;
    ensure!(new.execute("SELECT FROM django_session").await.is_err(), "it has no rows yet, and is not to be used");
    transfer.abort().await?;
    ensure!(site.count("django_session").await? == 0, "it has its name again");
    transfer.begin(LIVING).await?;
    site.copied(&mut transfer).await?;
    transfer.cut(Side::Old, CutBound::default()).await?;
    new.execute("INSERT INTO django_session (session_key, session_data, expire_date) VALUES ('next', '', now())")
        .await?;
    let (n,): (i64,) =
        sqlx::query_as("SELECT n FROM django_session WHERE session_key = 'next'").fetch_one(&mut new).await?;
    ensure!(n == 21, "the sequence goes on: {n}");
    Ok(())
}

#[tokio::test]
async fn truncated_table_and_exchanged_values_are_carried() -> Result<()> {
    let site = Site::with_another_server().await?;
    let mut old = site.connection().await?;
    old.execute("ALTER TABLE django_session ADD data bytea, ADD name text UNIQUE, ADD more jsonb").await?;
    site.fill(30, 0).await?;
    let mut transfer = site.transfer().await?;
    transfer.begin(LIVING).await?;
    site.copied(&mut transfer).await?;
    old.execute("TRUNCATE django_session").await?;
    old.execute(
        r#"INSERT INTO django_session VALUES ('a "quoted", key', E'two\nlines \\ ''', now() + interval '1 hour', '\x00ff', 'one', '{"a": [1, null]}'),
                                             ('ключ', '', 'infinity', '', 'two', NULL),
                                             ('', 'of an empty key', 'infinity', NULL, NULL, NULL)"#,
    )
    .await?;
    while transfer.carry(1).await?.changes > 0 {}
    old.execute("UPDATE django_session SET name = 'x' WHERE name = 'one'; UPDATE django_session SET name = 'one' WHERE name = 'two'; UPDATE django_session SET name = 'two' WHERE name = 'x'").await?;
    while transfer.carry(1).await?.changes > 0 {}
    loop {
        let compared = transfer.compare(1).await?;
        ensure!(compared.different.is_empty(), "a row was not carried");
        if compared.ended {
            break;
        }
    }
    site.copied(&mut transfer).await?;
    let rows = "SELECT string_agg(t::text, '|' ORDER BY session_key COLLATE \"C\") FROM";
    let (before,): (String,) = sqlx::query_as(&format!("{rows} django_session AS t")).fetch_one(&mut old).await?;
    transfer.cut(Side::Old, CutBound::default()).await?;
    let mut new = site.new_connection().await?;
    let (after,): (String,) = sqlx::query_as(&format!("{rows} django_session AS t")).fetch_one(&mut new).await?;
    ensure!(before == after && before.contains("infinity"), "{before}\nand now\n{after}");
    let indexes =
        "SELECT string_agg(indexdef, E'\n' ORDER BY indexname) FROM pg_indexes WHERE tablename LIKE 'django_session%'";
    let (there,): (String,) = sqlx::query_as(indexes).fetch_one(&mut new).await?;
    ensure!(there.matches("INDEX").count() == 4 && there.contains("varchar_pattern_ops"), "{there}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_go_on_over_a_bridge_and_meet_no_error() -> Result<()> {
    let site = Site::with_a_bridge().await?;
    site.fill(1_000, 500).await?;
    let traffic = site.traffic(8);
    let mut transfer = site.transfer().await?;
    transfer.begin(LIVING).await?;
    let copier = site.copier();
    tokio::time::sleep(Duration::from_secs(5)).await;
    site.verified().await?;
    site.transfer().await?.cut(Side::Old, CutBound::default()).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    // One that was restarted, beside those that come over the bridge.
    let mut restarted = site.new_connection().await?;
    restarted.execute("INSERT INTO django_session VALUES ('restarted', 'x', now() + interval '1 hour')").await?;
    let mut over = site.connection().await?;
    let (there,): (i64,) = sqlx::query_as("SELECT count(*) FROM django_session WHERE session_key = 'restarted'")
        .fetch_one(&mut over)
        .await?;
    ensure!(there == 1, "both ways lead to the same rows");
    let refused = transfer.finish(true).await.unwrap_err();
    ensure!(refused.to_string().contains("used the bridge"), "{refused}");
    let told = traffic.ends().await?;
    told.has_traffic()?;
    copier.ends().await?;
    site.has_what_was_acknowledged(&told).await?;
    let refused = transfer.cut(Side::New, CutBound::default()).await.unwrap_err();
    ensure!(refused.to_string().contains("over the bridge already"), "{refused}");
    drop(over);
    // As a minute later.
    restarted
        .execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'switchover move bridge'",
        )
        .await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    transfer.finish(true).await?;
    let mut forgotten = site.connection().await?;
    let refused = forgotten.execute("SELECT * FROM django_session").await.unwrap_err().to_string();
    ensure!(refused.contains("has moved to postgres at"), "{refused}");
    let left = "SELECT count(*) FROM pg_class WHERE relname LIKE '%_move%'";
    for connection in [&mut forgotten, &mut restarted] {
        ensure!(sqlx::query_scalar::<_, i64>(left).fetch_one(connection).await? == 0, "something is left");
    }
    Ok(())
}

#[tokio::test]
async fn bridge_takes_the_statements_of_connect_pg_simple() -> Result<()> {
    let site = Site::with_a_bridge().await?;
    let mut old = site.connection().await?;
    old.execute(
        "DROP TABLE django_session; CREATE TABLE django_session (sid varchar NOT NULL COLLATE \"default\", sess json NOT NULL, \
             expire timestamp(6) NOT NULL, CONSTRAINT session_pkey PRIMARY KEY (sid)); \
         CREATE INDEX \"IDX_session_expire\" ON django_session (expire); CREATE ROLE shop LOGIN; \
         ALTER TABLE django_session OWNER TO shop",
    )
    .await?;
    let set = "INSERT INTO django_session (sess, expire, sid) SELECT $1::json, to_timestamp($2), $3 \
               ON CONFLICT (sid) DO UPDATE SET sess = $1::json, expire = to_timestamp($2) RETURNING sid";
    let get = "SELECT sess::text FROM django_session WHERE sid = $1 AND expire >= to_timestamp($2)";
    let touch = "UPDATE django_session SET expire = to_timestamp($1) WHERE sid = $2 RETURNING sid";
    let mut old = site.connection_of("shop").await?;
    let (late, now) = (4_000_000_000_f64, 1_000_000_000_f64);
    sqlx::query(set).bind("{\"n\":1}").bind(late).bind("a").execute(&mut old).await?;
    let living = site.transfer().await?.known_table().context("connect-pg-simple's")?.living;
    let mut transfer = site.transfer().await?;
    transfer.begin(living).await?;
    site.copied(&mut transfer).await?;
    transfer.cut(Side::Old, CutBound::default()).await?;
    for (sid, value) in [("a", "{\"n\":2}"), ("b", "{\"n\":3}"), ("b", "{\"n\":4}")] {
        sqlx::query(set).bind(value).bind(late).bind(sid).execute(&mut old).await?;
    }
    sqlx::query(touch).bind(late + 1.0).bind("a").execute(&mut old).await?;
    let (a,): (String,) = sqlx::query_as(get).bind("a").bind(now).fetch_one(&mut old).await?;
    let (b,): (String,) = sqlx::query_as(get).bind("b").bind(now).fetch_one(&mut old).await?;
    ensure!((a.as_str(), b.as_str()) == ("{\"n\":2}", "{\"n\":4}"), "{a} {b}");
    sqlx::query("DELETE FROM django_session WHERE sid = $1").bind("a").execute(&mut old).await?;
    old.execute("DELETE FROM django_session WHERE expire < to_timestamp(5)").await?;
    let rows = sqlx::query(get).bind("a").bind(now).fetch_all(&mut old).await?;
    ensure!(rows.is_empty() && site.count("django_session").await? == 1, "a logout is one at both servers");
    drop(old);
    Ok(())
}

#[tokio::test]
async fn what_is_in_a_bridges_way_is_named() -> Result<()> {
    let site = Site::with_a_bridge().await?;
    let mut old = site.connection().await?;
    old.execute("ALTER TABLE django_session ADD n bigserial").await?;
    let refused = site.transfer().await?.begin(LIVING).await.unwrap_err();
    ensure!(refused.to_string().contains("a default that counts"), "{refused}");
    old.execute("ALTER TABLE django_session DROP n").await?;
    site.new_server()?.kill().await?;
    ensure!(site.transfer().await.is_err());
    site.new_server()?.restart().await?;
    let mut transfer = site.transfer().await?;
    transfer.begin(LIVING).await?;
    site.copied(&mut transfer).await?;
    old.execute("ALTER SERVER django_session_move_bridge OPTIONS (SET dbname 'postgres')").await?;
    let refused = transfer.cut(Side::Old, CutBound { tries: 1, ..CutBound::default() }).await.unwrap_err();
    ensure!(transfer.state().await?.context("begun")?.side == Side::Old, "{refused}");
    old.execute("SELECT * FROM django_session").await?;
    old.execute("ALTER SERVER django_session_move_bridge OPTIONS (SET dbname 'site')").await?;
    transfer.abort().await?;
    let (left,): (i64,) = sqlx::query_as("SELECT count(*) FROM pg_foreign_server").fetch_one(&mut old).await?;
    ensure!(left == 0);
    Ok(())
}
