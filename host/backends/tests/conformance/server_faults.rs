//! Databases on servers while the network in between fails in every way that a proxy can produce.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use switchover_backends::Server;
use switchover_core::Session;
use switchover_core::capabilities::{Database, DatabaseError, Terms, Write, WriteOutcome};
use switchover_harness::{Direction, End, Proxy};
use tokio::task::JoinSet;

use super::fixture::{PATIENCE, eventually, exists, hold, key, load, session, soon, within};
use super::server_fixture::{Kind, far, on_servers};

on_servers! {
    every_operation_ends_in_time_under_every_fault,
    read_and_a_hold_survive_a_reset_connection,
    write_whose_answer_is_lost_is_unknown_and_done_once,
    commit_whose_answer_is_lost_is_unknown,
    server_that_refuses_is_unavailable_at_once,
    full_queue_is_overloaded,
    server_that_restarts_is_found_again,
}

/// Short, so that waiting for a fault a few times does not take minutes.
const DEADLINE: Duration = Duration::from_millis(400);
/// How much longer it may take on a busy machine. The promise is 50 ms.
const SLACK: Duration = Duration::from_millis(1_500);

#[derive(Clone, Copy, Debug)]
enum Fault {
    HoldToServer,
    HoldToClient,
    Delay,
    Throttle,
    Reset,
    CutRequest,
    CutAnswer,
    HalfClose,
    Refuse,
}

const FAULTS: [Fault; 9] = [
    Fault::HoldToServer,
    Fault::HoldToClient,
    Fault::Delay,
    Fault::Throttle,
    Fault::Reset,
    Fault::CutRequest,
    Fault::CutAnswer,
    Fault::HalfClose,
    Fault::Refuse,
];

async fn strike(proxy: &Proxy, fault: Fault) {
    match fault {
        Fault::HoldToServer => proxy.hold(Direction::ToServer),
        Fault::HoldToClient => proxy.hold(Direction::ToClient),
        Fault::Delay => proxy.delay(Direction::Both, Duration::from_secs(3), Duration::from_millis(100)),
        Fault::Throttle => proxy.throttle(Direction::Both, 5),
        Fault::Reset => proxy.reset(),
        Fault::CutRequest => proxy.cut_after(Direction::ToServer, 20, End::Reset),
        Fault::CutAnswer => proxy.cut_after(Direction::ToClient, 3, End::Close),
        Fault::HalfClose => proxy.half_close(Direction::ToClient),
        Fault::Refuse => {
            proxy.refuse().await;
            proxy.reset();
        }
    }
}

async fn every_operation_ends_in_time_under_every_fault(kind: Kind) -> Result<()> {
    let (database, proxy) = kind.behind_proxy(|builder| builder).await?;
    let ended = session("expired0", "payload", switchover_core::Timestamp::from_micros(0));
    for (round, fault) in FAULTS.into_iter().enumerate() {
        let name = |what: &str| key(&format!("{what}{round:04}"));
        let held = hold(&database, vec![Write::Insert(far(&name("kept")))], within(10_000)).await?;
        database.write(vec![Write::Upsert(ended.clone())], Terms::by(soon())).await?;
        strike(&proxy, fault).await;

        let mut operations = JoinSet::new();
        for at in 0..4 {
            let (read, written, begun) =
                (name("none"), far(&name(&format!("new{at}"))), far(&name(&format!("held{at}"))));
            let d = database.clone();
            operations.spawn(async move { timed("read", load_by(&d, &read)).await });
            let d = database.clone();
            operations
                .spawn(async move { timed("write", d.write(vec![Write::Insert(written)], Terms::by(by()))).await });
            let d = database.clone();
            operations.spawn(async move { timed("hold", hold(&d, vec![Write::Insert(begun)], by())).await });
        }
        let d = database.clone();
        operations.spawn(async move { timed("scan", d.upkeep().scan(None, 10, by())).await });
        let d = database.clone();
        operations.spawn(async move { timed("delete-expired", d.upkeep().delete_expired(None, 10, by())).await });
        let outcomes = operations.join_all().await;
        for (what, took, _) in &outcomes {
            assert!(*took < DEADLINE + SLACK, "{fault:?}: {what} took {took:?}");
        }
        let decided = tokio::time::timeout(PATIENCE, held.roll_back()).await;
        assert!(decided.is_ok(), "{fault:?}: a roll back did not end");

        proxy.heal().await?;
        eventually("the server is found again", async || Ok(load_by(&database, &name("none")).await.is_ok())).await?;
        let probe = far(&name("probe"));
        eventually("writes are done again", async || {
            Ok(database.write(vec![Write::Upsert(probe.clone())], Terms::by(by())).await.is_ok())
        })
        .await?;
        assert!(!exists(&database, &name("kept")).await?, "{fault:?}: a transaction that was rolled back is there");
        for at in 0..4 {
            assert!(!exists(&database, &name(&format!("held{at}"))).await?, "{fault:?}: nobody committed this");
        }
        // A write that was reported as not made is not there, neither now nor later.
        let definite = |outcome: &&(&str, Duration, Option<DatabaseError>)| {
            outcome.0 == "write"
                && matches!(outcome.2, Some(ref error) if !matches!(error, DatabaseError::UnknownOutcome { .. }))
        };
        if outcomes.iter().filter(definite).count() == 4 {
            for at in 0..4 {
                assert!(!exists(&database, &name(&format!("new{at}"))).await?, "{fault:?}: refused, and yet written");
            }
        }
    }
    Ok(())
}

async fn read_and_a_hold_survive_a_reset_connection(kind: Kind) -> Result<()> {
    let (database, proxy) = kind.behind_proxy(|builder| builder.readers(1).holders(1)).await?;
    let session = far(&key("aaaaaaaa"));
    database.write(vec![Write::Insert(session.clone())], Terms::by(soon())).await?;
    for _ in 0..3 {
        assert_eq!(load(&database, &session.key).await?, Some(session.clone()));
        let held = hold(&database, vec![Write::Update(session.clone())], soon()).await?;
        held.commit().await?;
        proxy.reset();
    }
    Ok(())
}

async fn write_whose_answer_is_lost_is_unknown_and_done_once(kind: Kind) -> Result<()> {
    let (database, proxy) = kind.behind_proxy(|builder| builder.writers(1)).await?;
    let warm = far(&key("warm0000"));
    database.write(vec![Write::Insert(warm)], Terms::by(soon())).await?;
    let session = far(&key("aaaaaaaa"));
    proxy.hold(Direction::ToClient);
    let answer = database.write(vec![Write::Insert(session.clone())], Terms::by(within(3_000))).await;
    assert!(matches!(answer, Err(DatabaseError::UnknownOutcome { .. })), "{answer:?}");
    proxy.heal().await?;
    eventually("the write has happened", async || Ok(load(&database, &session.key).await.ok().flatten().is_some()))
        .await?;
    let again = database.write(vec![Write::Insert(session)], Terms::by(soon())).await?;
    assert_eq!(again, [WriteOutcome::Exists]);
    Ok(())
}

async fn commit_whose_answer_is_lost_is_unknown(kind: Kind) -> Result<()> {
    let (database, proxy) = kind.behind_proxy(|builder| builder.holders(1)).await?;
    let session = far(&key("aaaaaaaa"));
    let held = hold(&database, vec![Write::Insert(session.clone())], within(2_000)).await?;
    proxy.hold(Direction::ToClient);
    let answer = held.commit().await;
    assert!(matches!(answer, Err(DatabaseError::UnknownOutcome { .. })), "{answer:?}");
    proxy.heal().await?;
    eventually("it was committed", async || Ok(load(&database, &session.key).await.ok().flatten().is_some())).await
}

async fn server_that_refuses_is_unavailable_at_once(kind: Kind) -> Result<()> {
    let (database, proxy) = kind.behind_proxy(|builder| builder).await?;
    proxy.refuse().await;
    proxy.reset();
    let began = Instant::now();
    for _ in 0..200 {
        let read = load_by(&database, &key("aaaaaaaa")).await.err().context("nobody listens")?;
        assert!(matches!(read, DatabaseError::Unavailable { .. }), "{read}");
    }
    // 200 deadlines would be 80 s.
    assert!(began.elapsed() < PATIENCE);
    proxy.heal().await?;
    eventually("it listens again", async || Ok(load_by(&database, &key("aaaaaaaa")).await.is_ok())).await
}

async fn full_queue_is_overloaded(kind: Kind) -> Result<()> {
    let (database, proxy) = kind.behind_proxy(|builder| builder.queue(4).readers(1).writers(1)).await?;
    load(&database, &key("aaaaaaaa")).await?;
    proxy.hold(Direction::Both);
    let mut operations = JoinSet::new();
    // A lane takes a group before it finds out that nobody answers, so there must be more than one group.
    for at in 0..64 {
        let d = database.clone();
        operations.spawn(async move {
            tokio::time::sleep(Duration::from_millis(at * 2)).await;
            let session = far(&key(&format!("key{at:05}")));
            let read = load_by(&d, &session.key).await.err();
            let write = d.write(vec![Write::Insert(session)], Terms::by(by())).await.err();
            [read, write]
        });
    }
    let errors: Vec<_> = operations.join_all().await.into_iter().flatten().flatten().collect();
    assert_eq!(errors.len(), 128, "nobody answers");
    assert!(errors.contains(&DatabaseError::Overloaded), "{errors:?}");
    proxy.heal().await?;
    eventually("it answers again", async || Ok(load_by(&database, &key("aaaaaaaa")).await.is_ok())).await
}

async fn server_that_restarts_is_found_again(kind: Kind) -> Result<()> {
    let server = kind.start().await?;
    let database = kind.builder(&server.url()).connect().await?;
    database.upkeep().create_schema(soon()).await?;
    let session = far(&key("aaaaaaaa"));
    database.write(vec![Write::Insert(session.clone())], Terms::by(soon())).await?;
    server.kill().await?;
    let down = load_by(&database, &session.key).await.err().context("the server is dead")?;
    assert!(matches!(down, DatabaseError::Unavailable { .. } | DatabaseError::Timeout), "{down}");
    server.restart().await?;
    eventually("what was acknowledged is there", async || {
        Ok(load_by(&database, &session.key).await.is_ok_and(|found| found.as_ref() == Some(&session)))
    })
    .await?;
    server.pause().await?;
    let (_, took, paused) = timed("read", load_by(&database, &session.key)).await;
    assert!(paused.is_some() && took < DEADLINE + SLACK, "{took:?}");
    server.resume().await?;
    eventually("it goes on", async || Ok(load_by(&database, &session.key).await.is_ok())).await
}

fn by() -> Instant {
    Instant::now() + DEADLINE
}

async fn load_by(database: &Server, key: &switchover_core::SessionKey) -> Result<Option<Session>, DatabaseError> {
    use switchover_core::capabilities::{Read, ReadOutcome};
    match database.read(vec![Read::Load(key.clone())], Terms::by(by())).await?.pop() {
        Some(ReadOutcome::Session(session)) => Ok(session),
        _ => panic!("a load is answered by a session"),
    }
}

/// The name of the operation, how long it took, and its error if it failed.
async fn timed<T>(
    what: &'static str,
    operation: impl Future<Output = Result<T, DatabaseError>>,
) -> (&'static str, Duration, Option<DatabaseError>) {
    let began = Instant::now();
    let error = operation.await.err();
    (what, began.elapsed(), error)
}
