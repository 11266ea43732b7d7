//! Claims about databases on servers only: round trips, locks between hosts, addresses, collations, foreign tables.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sqlx::{Connection as _, Executor as _};
use switchover_backends::{MySql, Postgres};
use switchover_core::Timestamp;
use switchover_core::capabilities::{Database, DatabaseError, Read, Terms, Write, WriteOutcome};
use switchover_harness::Certificates;
use tokio::task::JoinSet;

use super::fixture::{exists, hold, key, load, lock, new_table, row, session, soon, within, write};
use super::server_fixture::{Kind, far, on_servers};

on_servers! {
    operation_is_as_few_round_trips_as_the_documents_say,
    what_waits_together_shares_round_trips,
    lock_of_another_host_is_waited_for,
    locked_key_keeps_no_other_waiting,
    lock_that_is_not_freed_is_a_conflict_and_nothing_is_written,
    two_hosts_that_write_the_same_keys_lose_nothing,
    held_absent_key_is_inserted_by_nobody_else_at_the_same_time,
    unix_socket_and_tls_reach_the_same_database,
    address_that_is_none_is_refused_without_being_repeated,
    table_that_is_not_there_is_named_with_the_remedy,
}

async fn operation_is_as_few_round_trips_as_the_documents_say(kind: Kind) -> Result<()> {
    let (database, proxy) = kind.behind_proxy(|builder| builder.readers(1).writers(1).holders(1)).await?;
    let (a, b) = (far(&key("aaaaaaaa")), far(&key("bbbbbbbb")));
    let held = [Write::Update(a.clone()), Write::Touch(b.key.clone(), Timestamp::MAX)];
    let mut counted = Vec::new();
    // The first round prepares the statements.
    for _ in 0..2 {
        counted.clear();
        let mut count = |what: &'static str| {
            counted.push((what, proxy.counts().round_trips));
            proxy.reset_counts();
        };
        proxy.reset_counts();
        database.write(vec![Write::Upsert(a.clone())], Terms::by(soon())).await?;
        count("upsert");
        database.write(vec![Write::Upsert(b.clone()), Write::Upsert(a.clone())], Terms::by(soon())).await?;
        count("two upserts");
        database.write(vec![Write::Update(a.clone())], Terms::by(soon())).await?;
        count("update");
        database.write(vec![Write::Touch(a.key.clone(), Timestamp::MAX)], Terms::by(soon())).await?;
        count("touch");
        database.read(vec![Read::Load(a.key.clone())], Terms::by(soon())).await?;
        count("load");
        let loads = [&a.key, &b.key].map(|key| Read::Load(key.clone()));
        database.read(loads.to_vec(), Terms::by(soon())).await?;
        count("two loads");
        database.read(vec![Read::Exists(a.key.clone())], Terms::by(soon())).await?;
        count("exists");
        hold(&database, held.to_vec(), soon()).await?.commit().await?;
        count("held update and touch, committed");
        database.write(vec![Write::Update(a.clone()), Write::Delete(b.key.clone())], Terms::by(soon())).await?;
        count("update and delete together");
        database.write(vec![Write::Delete(a.key.clone())], Terms::by(soon())).await?;
        count("delete");
        database.write(vec![Write::Insert(a.clone())], Terms::by(soon())).await?;
        count("insert");
        database.write(vec![Write::Insert(b.clone())], Terms::by(soon())).await?;
        count("another insert");
    }
    let (held, mixed) = match kind {
        Kind::Postgres => (3, 1),
        Kind::MariaDb => (5, 5),
    };
    let expected = [
        ("upsert", 1),
        ("two upserts", 1),
        ("update", 1),
        ("touch", 1),
        ("load", 1),
        ("two loads", 1),
        ("exists", 1),
        ("held update and touch, committed", held),
        ("update and delete together", mixed),
        ("delete", 1),
        ("insert", 1),
        ("another insert", 1),
    ];
    assert_eq!(counted, expected);
    Ok(())
}

async fn what_waits_together_shares_round_trips(kind: Kind) -> Result<()> {
    const OPERATIONS: u64 = 256;
    let (database, proxy) = kind.behind_proxy(|builder| builder.readers(1).writers(1)).await?;
    // So slow that all of them wait while the first one is on its way.
    proxy.delay(switchover_harness::Direction::ToServer, Duration::from_millis(30), Duration::ZERO);
    let mut count = proxy.counts().round_trips;
    for (what, most) in [("upserts", 24), ("loads", 16)] {
        let mut operations = JoinSet::new();
        for at in 0..OPERATIONS {
            let (d, session) = (database.clone(), far(&key(&format!("key{at:05}"))));
            operations.spawn(async move {
                match what {
                    "loads" => d.read(vec![Read::Load(session.key)], Terms::by(soon())).await.map(drop),
                    _ => d.write(vec![Write::Upsert(session)], Terms::by(soon())).await.map(drop),
                }
            });
        }
        operations.join_all().await.into_iter().collect::<Result<(), _>>()?;
        let now = proxy.counts().round_trips;
        assert!(now - count <= most, "{OPERATIONS} {what} took {} round trips", now - count);
        count = now;
    }
    Ok(())
}

async fn lock_of_another_host_is_waited_for(kind: Kind) -> Result<()> {
    let [one, other] = kind.two_hosts().await?;
    let (before, first, second) = (far(&key("aaaaaaaa")), text("aaaaaaaa", "first"), text("aaaaaaaa", "second"));
    write(&one, Write::Insert(before)).await?;
    let held = hold(&one, vec![Write::Update(first)], soon()).await?;
    let waiting = {
        let (other, second) = (other.clone(), second.clone());
        tokio::spawn(async move { other.write(vec![Write::Update(second)], Terms::by(soon())).await })
    };
    let held_too = {
        let (other, key) = (other.clone(), second.key.clone());
        tokio::spawn(async move { lock(&other, vec![key], soon()).await.map(drop) })
    };
    // Longer than any server waits for a lock in one attempt.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert!(!waiting.is_finished() && !held_too.is_finished());
    held.commit().await?;
    assert_eq!(waiting.await??.len(), 1);
    held_too.await??;
    assert_eq!(load(&one, &second.key).await?, Some(second));
    Ok(())
}

async fn locked_key_keeps_no_other_waiting(kind: Kind) -> Result<()> {
    let [one, other] = kind.two_hosts().await?;
    let sessions: Vec<_> = (0..64).map(|at| far(&key(&format!("key{at:05}")))).collect();
    one.write(sessions.iter().cloned().map(Write::Insert).collect(), Terms::by(soon())).await?;
    let held = hold(&one, vec![Write::Update(sessions[0].clone())], soon()).await?;
    let mut others = JoinSet::new();
    let locked = {
        let (other, session) = (other.clone(), sessions[0].clone());
        tokio::spawn(async move { other.write(vec![Write::Update(session)], Terms::by(soon())).await })
    };
    for session in &sessions[1..] {
        let (other, session) = (other.clone(), session.clone());
        others.spawn(async move { other.write(vec![Write::Update(session)], Terms::by(soon())).await });
    }
    // All of them end although the lock is not released.
    others.join_all().await.into_iter().collect::<Result<Vec<_>, _>>()?;
    assert!(!locked.is_finished());
    held.roll_back().await;
    locked.await??;
    Ok(())
}

async fn lock_that_is_not_freed_is_a_conflict_and_nothing_is_written(kind: Kind) -> Result<()> {
    let [one, other] = kind.two_hosts().await?;
    let (before, after) = (text("aaaaaaaa", "before"), text("aaaaaaaa", "after"));
    write(&one, Write::Insert(before.clone())).await?;
    let held = lock(&one, vec![before.key.clone()], soon()).await?;
    for deadline in [100, 2_000] {
        let refused = other.write(vec![Write::Update(after.clone())], Terms::by(within(deadline))).await;
        let gave_up = matches!(refused, Err(DatabaseError::Conflict { .. } | DatabaseError::Timeout));
        assert!(gave_up, "with {deadline} ms: {refused:?}");
        let refused = hold(&other, vec![Write::Update(after.clone())], within(deadline)).await.err();
        let gave_up = matches!(refused, Some(DatabaseError::Conflict { .. } | DatabaseError::Timeout));
        assert!(gave_up, "with {deadline} ms: {refused:?}");
    }
    held.roll_back().await;
    assert_eq!(load(&one, &before.key).await?, Some(before));
    Ok(())
}

async fn two_hosts_that_write_the_same_keys_lose_nothing(kind: Kind) -> Result<()> {
    let hosts = kind.two_hosts().await?;
    let keys: Vec<_> = (0..8).map(|at| key(&format!("key{at:05}"))).collect();
    let give_up = Instant::now() + Duration::from_secs(15);
    let mut writers = JoinSet::new();
    for number in 0..16_usize {
        let (database, keys) = (hosts[number % 2].clone(), keys.clone());
        writers.spawn(async move {
            let mut acknowledged = 0;
            for round in 0..20 {
                // In either order of keys, so that locks could be taken in opposite orders.
                let mut batch: Vec<_> = keys.iter().map(|key| Write::Upsert(far(key))).collect();
                if number % 4 < 2 {
                    batch.reverse();
                }
                let written = match round % 3 {
                    0 => match hold(&database, batch, give_up).await {
                        Ok(held) => held.commit().await,
                        Err(error) => Err(error),
                    },
                    _ => database.write(batch, Terms::by(give_up)).await.map(drop),
                };
                written?;
                acknowledged += 1;
            }
            Ok::<_, DatabaseError>(acknowledged)
        });
    }
    let acknowledged = writers.join_all().await.into_iter().collect::<Result<Vec<u32>, _>>()?;
    assert_eq!(acknowledged, [20; 16]);
    Ok(())
}

async fn held_absent_key_is_inserted_by_nobody_else_at_the_same_time(kind: Kind) -> Result<()> {
    let [one, other] = kind.two_hosts().await?;
    let session = far(&key("aaaaaaaa"));
    // A lock that meets an uncommitted insert waits for its end, and returns the row.
    let inserting = hold(&one, vec![Write::Insert(session.clone())], soon()).await?;
    let locking = {
        let (other, key) = (other.clone(), session.key.clone());
        tokio::spawn(async move {
            let held = lock(&other, vec![key], soon()).await?;
            let outcome = held.outcomes().to_vec();
            held.roll_back().await;
            Ok::<_, DatabaseError>(outcome)
        })
    };
    tokio::time::sleep(Duration::from_millis(150)).await;
    inserting.commit().await?;
    assert_eq!(locking.await??, [Some(session.clone())]);
    // And a lock of a missing key leaves no row.
    let absent = key("bbbbbbbb");
    let held = lock(&one, vec![absent.clone()], soon()).await?;
    assert_eq!(held.outcomes(), [None]);
    held.commit().await?;
    assert!(!exists(&one, &absent).await?);
    Ok(())
}

async fn unix_socket_and_tls_reach_the_same_database(kind: Kind) -> Result<()> {
    let (ours, foreign) = (Certificates::generate()?, Certificates::generate()?);
    let server = match kind {
        Kind::Postgres => switchover_harness::Postgres::builder().tls(&ours).start().await?,
        Kind::MariaDb => switchover_harness::MariaDb::builder().tls(&ours).start().await?,
    };
    let session = far(&key("aaaaaaaa"));
    let by_socket = kind.builder(&server.socket_url()).connect().await?;
    by_socket.upkeep().create_schema(soon()).await?;
    write(&by_socket, Write::Insert(session.clone())).await?;
    let by_tls = kind.builder(&server.tls_url()?).connect().await?;
    assert_eq!(load(&by_tls, &session.key).await?, Some(session));

    let authority = server.authority()?;
    let wrong = authority.with_file_name("foreign.pem");
    std::fs::write(&wrong, foreign.authority())?;
    let url = server.tls_url()?.replace(&*authority.to_string_lossy(), &wrong.to_string_lossy());
    assert_ne!(url, server.tls_url()?);
    let refused = kind.builder(&url).connect().await.err().context("nobody knows this authority")?;
    assert!(matches!(refused, DatabaseError::Unavailable { .. }), "{refused}");
    Ok(())
}

async fn address_that_is_none_is_refused_without_being_repeated(kind: Kind) -> Result<()> {
    for address in
        ["", "hunter2", "postgres//app:hunter2@db", "mysql://app:hunter2@", "://hunter2", "postgres://[hunter2"]
    {
        let Err(error) = kind.builder(address).connect().await else { panic!("{address} is no address") };
        assert!(!error.to_string().contains("hunter2"), "{error}");
        assert!(!format!("{:?}", kind.builder(address)).contains("hunter2"));
    }
    let server = kind.shared().await?;
    let url = server.url();
    let misspelt = format!("{url}{}pasword=hunter2", if url.contains('?') { '&' } else { '?' });
    let error = kind.builder(&misspelt).connect().await.err().context("there is no such parameter")?.to_string();
    assert!(
        error.contains("a parameter that is none of") && !error.contains("pasw") && !error.contains("hunter2"),
        "{error}"
    );
    let other = if kind == Kind::Postgres { Kind::MariaDb } else { Kind::Postgres };
    let error = other.builder(&url).connect().await.err().context("this is the other kind of server")?.to_string();
    assert!(error.contains("is not a URL like"), "{error}");
    let (_, place) = url.rsplit_once('@').context("the address has a user")?;
    let url = format!("{}://nobody:hunter2@{place}", if kind == Kind::Postgres { "postgres" } else { "mysql" });
    let error = kind.builder(&url).connect().await.err().context("there is no such user")?.to_string();
    assert!(!error.contains("hunter2") && error.contains("nobody"), "{error}");
    Ok(())
}

async fn table_that_is_not_there_is_named_with_the_remedy(kind: Kind) -> Result<()> {
    let database = kind.builder(&kind.shared().await?.url()).table(new_table()).connect().await?;
    let error = load(&database, &key("aaaaaaaa")).await.err().context("there is no table")?;
    assert!(matches!(error, DatabaseError::Corrupt { .. }) && error.to_string().contains("switchover init"), "{error}");
    let error = write(&database, Write::Insert(far(&key("aaaaaaaa")))).await.err().context("there is no table")?;
    assert!(matches!(error, DatabaseError::Corrupt { .. }), "{error}");
    Ok(())
}

/// The usual collations of MySQL treat upper and lower case as equal.
#[tokio::test]
async fn row_of_another_case_is_neither_read_nor_changed() -> Result<()> {
    let server = Kind::MariaDb.shared().await?;
    let table = new_table();
    let database = MySql::builder(server.url()).table(&table).connect().await?;
    database.upkeep().create_schema(soon()).await?;
    let mut raw = sqlx::MySqlConnection::connect(&server.url()).await?;
    let insert = format!("INSERT INTO {table} VALUES ('ABCDEFGH', 'theirs', '2099-01-01 00:00:00')");
    raw.execute(insert.as_str()).await?;

    let ours = text("abcdefgh", "ours");
    let count = async |raw: &mut sqlx::MySqlConnection, key: &str| -> Result<i64> {
        let sql = format!("SELECT count(*) FROM {table} WHERE session_key = BINARY ? AND session_data = 'theirs'");
        Ok(sqlx::query_scalar(&sql).bind(key).fetch_one(raw).await?)
    };
    assert_eq!(load(&database, &ours.key).await?, None);
    assert!(!exists(&database, &ours.key).await?);
    assert_eq!(row(&database, &ours.key).await?, None);
    for operation in
        [Write::Update(ours.clone()), Write::Touch(ours.key.clone(), Timestamp::MAX), Write::Delete(ours.key.clone())]
    {
        let alone = database.write(vec![operation.clone()], Terms::by(soon())).await?;
        assert_eq!(alone, [WriteOutcome::Missing], "{operation:?}");
        let with_another = vec![operation.clone(), Write::Delete(key("zzzzzzzz"))];
        assert_eq!(
            database.write(with_another, Terms::by(soon())).await?,
            [WriteOutcome::Missing, WriteOutcome::Missing]
        );
        assert_eq!(count(&mut raw, "ABCDEFGH").await?, 1, "{operation:?}");
    }
    assert_eq!(write(&database, Write::Insert(ours.clone())).await?, WriteOutcome::Exists);
    write(&database, Write::Upsert(ours.clone())).await?;
    assert_eq!(load(&database, &ours.key).await?, Some(ours));
    Ok(())
}

#[tokio::test]
async fn table_that_is_not_djangos_is_refused() -> Result<()> {
    let columns = "session_key varchar(40) NOT NULL PRIMARY KEY, session_data text NOT NULL";
    for (columns, difference) in [
        (format!("{columns}, expire_date timestamp NOT NULL"), "expire_date"),
        (columns.to_owned(), "no column expire_date"),
        (format!("{columns}, expire_date timestamptz"), "NULL"),
    ] {
        let server = Kind::Postgres.shared().await?;
        let table = new_table();
        let mut raw = sqlx::PgConnection::connect(&server.url()).await?;
        raw.execute(format!("CREATE TABLE {table} ({columns})").as_str()).await?;
        let database = Postgres::builder(server.url()).table(&table).connect().await?;
        let error = database.upkeep().missing_schema(soon()).await.err().context("this is not Django's")?;
        assert!(error.to_string().contains(difference), "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn one_row_that_cannot_be_written_fails_nobody_else() -> Result<()> {
    // A database in LATIN1 cannot hold every payload.
    let server = Kind::Postgres.shared().await?;
    let mut raw = sqlx::PgConnection::connect(&server.url()).await?;
    raw.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0").await?;
    let (url, _) =
        server.url().rsplit_once('/').map(|(url, name)| (format!("{url}/latin"), name.len())).context("a path")?;
    let database = Postgres::builder(url).writers(1).connect().await?;
    database.upkeep().create_schema(soon()).await?;
    let mut writes = JoinSet::new();
    for at in 0..40 {
        let (d, payload) = (database.clone(), if at == 7 { "漢" } else { "é" });
        let session = text(&format!("key{at:05}"), payload);
        writes.spawn(async move { (at, d.write(vec![Write::Insert(session)], Terms::by(soon())).await) });
    }
    for (at, written) in writes.join_all().await {
        match written {
            Err(DatabaseError::Corrupt { message }) => assert!(at == 7 && !message.contains('漢'), "{message}"),
            written => assert!(at != 7 && written.is_ok(), "{at}: {written:?}"),
        }
    }
    Ok(())
}

fn text(key: &str, payload: &str) -> switchover_core::Session {
    session(key, payload, far(&super::fixture::key(key)).expires_at)
}
