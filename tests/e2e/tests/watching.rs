//! What a service can observe of its host: calls by kind, outcome and time, whether databases answer, and codes of
//! errors.

use std::time::{Duration, Instant};

use anyhow::Result;
use switchover::backends::{Fault, MemoryDatabase, Operation, Sqlite, prepare_table};
use switchover::capabilities::DatabaseError;
use switchover::{CallKind, Error, ErrorCode, SessionKey, Switchover, expires_in};
use switchover_tests::{Rig, create, patient, payload, until};

const MINUTE: Duration = Duration::from_secs(60);

fn refused() -> Fault {
    Fault::Before(DatabaseError::Unavailable { message: "connection refused".to_owned() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_counted_by_kind_and_outcome_with_their_times() -> Result<()> {
    let rig = Rig::new().await?;
    let (sessions, before) = (rig.sessions(), rig.switchover.counts());
    assert_eq!((before.calls, before.database_reads, before.cache_hits), (0, 0, 0), "a trial is no call");

    let key = create(&sessions, "v1").await?;
    for _ in 0..3 {
        sessions.load(&key).await?.unwrap();
    }
    sessions.save(&key, payload("v2"), expires_in(MINUTE)).await?;
    rig.old.inject_times(1, Operation::Write, refused());
    sessions.touch(&key, expires_in(2 * MINUTE)).await.unwrap_err();
    rig.old.inject_times(
        1,
        Operation::Write,
        Fault::After(DatabaseError::UnknownOutcome { message: "cut".to_owned() }),
    );
    sessions.touch(&key, expires_in(2 * MINUTE)).await.unwrap_err();
    assert!(sessions.exists(&key).await?);
    assert!(sessions.delete(&key).await?);
    sessions.clear_expired(1).await?;
    rig.switchover.router().db_for_read("sessions", "session").await?;

    let by_kind = rig.switchover.call_counts();
    let counts: Vec<_> =
        by_kind.iter().map(|kind| (kind.kind.as_str(), kind.answered, kind.failed, kind.unknown)).collect();
    let expected = [
        ("load", 3, 0, 0),
        ("create", 1, 0, 0),
        ("save", 1, 0, 0),
        ("touch", 0, 1, 1),
        ("delete", 1, 0, 0),
        ("exists", 1, 0, 0),
        ("clear-expired", 1, 0, 0),
        ("route", 1, 0, 0),
    ];
    assert_eq!(counts, expected);
    assert!(
        by_kind.iter().all(|kind| kind.latencies.total() > Duration::ZERO && kind.latencies.quantile(0.99).is_some())
    );

    let counts = rig.switchover.counts();
    assert_eq!((counts.calls, counts.calls_failed), (11, 2));
    assert_eq!((counts.cache_hits, counts.cache_misses), (2, 1));
    assert_eq!(counts.database_reads, 2, "a load after its miss, and an exists");
    assert_eq!(counts.database_writes, 5, "a create, a save, two touches, a delete");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn databases_are_checked_at_the_same_time() -> Result<()> {
    let rig = Rig::new().await?;
    rig.old.hold(Operation::Read);
    rig.new.hold(Operation::Read);
    let host = rig.switchover.clone();
    let checks = tokio::spawn(async move { host.check_databases().await });
    let held = async || (rig.old.held(Operation::Read), rig.new.held(Operation::Read)) == (1, 1);
    until("both databases are asked", held).await?;
    rig.old.release();
    rig.new.release();
    assert!(checks.await?.iter().all(|check| check.problem.is_none()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_database_is_checked_within_the_read_deadline() -> Result<()> {
    let mut limits = patient();
    limits.read_deadline = Duration::from_millis(200);
    let rig = Rig::with(|builder| builder.limits(limits).database("archive", MemoryDatabase::new())).await?;
    let names = |checks: &[switchover::DatabaseCheck]| -> Vec<_> {
        checks.iter().map(|check| (check.database.to_string(), check.problem.as_ref().map(Error::code))).collect()
    };
    let well = |name: &str| (name.to_owned(), None);
    let sick = |name: &str, code| (name.to_owned(), Some(code));
    let checks = rig.switchover.check_databases().await;
    assert_eq!(names(&checks), [well("archive"), well("default"), well("new_session_store")]);
    assert!(checks[0].summary.contains("memory"), "{}", checks[0].summary);

    rig.old.inject(Operation::Read, Fault::Silent { effect: false });
    rig.new.inject(Operation::Read, refused());
    let begun = Instant::now();
    let checks = rig.switchover.check_databases().await;
    assert!(begun.elapsed() < MINUTE / 2, "another limit bounds it: it waited for {:?}", begun.elapsed());
    let (timeout, unavailable) = (ErrorCode::Timeout, ErrorCode::Unavailable);
    assert_eq!(names(&checks), [well("archive"), sick("default", timeout), sick("new_session_store", unavailable)]);
    assert!(checks[1].latency >= Duration::from_millis(190), "{:?}", checks[1].latency);
    rig.old.heal();
    rig.new.heal();
    assert_eq!(rig.switchover.check_databases().await[1].problem.as_ref().map(Error::code), None);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn database_without_its_table_is_not_well_until_it_is_prepared() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = Sqlite::builder(folder.path().join("sessions.sqlite3")).create_if_missing(true).open().await?;
    let switchover = Switchover::builder().database("default", file.clone()).build().await?;
    let problem = switchover.check_databases().await.pop().unwrap().problem.unwrap();
    assert_eq!(problem.code(), ErrorCode::Corrupt);
    assert!(problem.to_string().contains("switchover init"), "{problem}");
    assert!(!prepare_table(&file).await?.is_empty());
    assert!(switchover.check_databases().await.pop().unwrap().problem.is_none());
    assert!(prepare_table(&file).await?.is_empty(), "nothing is left to do");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_error_has_a_code_that_stays() -> Result<()> {
    let mut limits = patient();
    limits.payload_bytes_max = 4;
    let rig = Rig::with(|builder| builder.limits(limits)).await?;
    let sessions = rig.sessions();
    let key = create(&sessions, "v1").await?;

    let too_large = sessions.save(&key, payload("too large"), expires_in(MINUTE)).await.unwrap_err();
    assert_eq!(too_large.code(), ErrorCode::TooLarge);
    rig.old.inject_times(1, Operation::Write, refused());
    let unavailable = sessions.delete(&key).await.unwrap_err();
    assert_eq!(unavailable.code(), ErrorCode::Unavailable);
    rig.old.inject_times(
        1,
        Operation::Write,
        Fault::After(DatabaseError::UnknownOutcome { message: "cut".to_owned() }),
    );
    let unknown = sessions.touch(&key, expires_in(2 * MINUTE)).await.unwrap_err();
    assert_eq!((unknown.code(), unknown.code().as_str()), (ErrorCode::UnknownOutcome, "unknown-outcome"));

    let source = Box::new(Error::Closed);
    let cycled = Error::CycleIncomplete { new_key: SessionKey::random(), source };
    assert_eq!(cycled.code(), ErrorCode::UnknownOutcome);
    assert_eq!(Error::Overloaded { message: String::new() }.code(), ErrorCode::Overloaded);
    let version = Box::new(rig.switchover.policy().version);
    assert_eq!(Error::Policy { version, source: switchover::PolicyFault::CpuTime }.code(), ErrorCode::Internal);
    rig.switchover.close().await;
    assert_eq!(sessions.load(&key).await.unwrap_err().code(), ErrorCode::Unavailable);
    assert_eq!(CallKind::ALL.len(), rig.switchover.call_counts().len());
    Ok(())
}
