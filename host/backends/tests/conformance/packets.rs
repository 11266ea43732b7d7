//! MySQL and MariaDB with a small `max_allowed_packet`. Writes that wait together fit into it, and a write that never
//! fits affects only itself.

use std::time::Duration;

use anyhow::Result;
use switchover_backends::{MySql, Server};
use switchover_core::capabilities::{Database, DatabaseError, Terms, Write, WriteOutcome};
use switchover_core::{Payload, Session, expires_in};
use switchover_harness::MariaDb;
use tokio::task::JoinSet;

use super::fixture::{hold, key, load, new_table, session, soon};

const KIB: usize = 1 << 10;

async fn table(server: &switchover_harness::Server) -> Result<Server> {
    // One lane, so that everything that waits shares a batch.
    let database = MySql::builder(server.url()).table(new_table()).writers(1).holders(1).connect().await?;
    database.upkeep().create_schema(soon()).await?;
    Ok(database)
}

fn sessions(count: usize, bytes: usize) -> Vec<Session> {
    let far = expires_in(Duration::from_secs(3_600));
    (0..count).map(|at| session(&format!("key{at:08}"), &"x".repeat(bytes), far)).collect()
}

/// Makes each write in a call of its own, all at once.
async fn at_once(database: &Server, writes: Vec<Write>) -> Vec<Result<WriteOutcome, DatabaseError>> {
    let mut tasks = JoinSet::new();
    for (at, write) in writes.into_iter().enumerate() {
        let database = database.clone();
        tasks.spawn(async move {
            (at, database.write(vec![write], Terms::by(soon())).await.map(|mut done| done.remove(0)))
        });
    }
    let mut outcomes = tasks.join_all().await;
    outcomes.sort_by_key(|(at, _)| *at);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_that_wait_together_fit_into_the_servers_packet() -> Result<()> {
    for (limit, bytes) in [("4M", 200 * KIB), ("1M", 200 * KIB), ("1M", 900 * KIB)] {
        let server = MariaDb::builder().setting("max-allowed-packet", limit).start().await?;
        let database = table(&server).await?;
        let all = sessions(24, bytes);
        for write in [Write::Insert, Write::Update, Write::Upsert] {
            let outcomes = at_once(&database, all.iter().cloned().map(write).collect()).await;
            for (outcome, session) in outcomes.iter().zip(&all) {
                assert_eq!(outcome, &Ok(WriteOutcome::Done(Some(session.clone()))), "{limit}");
            }
        }
        // One batch, as a mirror gets it, and one that is held.
        let outcomes = database.write(all.iter().cloned().map(Write::Upsert).collect(), Terms::by(soon())).await?;
        assert_eq!(outcomes.len(), all.len());
        let held = hold(&database, all.iter().cloned().map(Write::Update).collect(), soon()).await?;
        held.commit().await?;
        for session in &all {
            assert_eq!(load(&database, &session.key).await?.as_ref(), Some(session));
        }
        database.close().await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payload_that_never_fits_is_refused_by_itself() -> Result<()> {
    let server = MariaDb::builder().setting("max-allowed-packet", "1M").start().await?;
    let database = table(&server).await?;
    let mut all = sessions(16, 10 * KIB);
    let bytes = 1_100 * KIB;
    all[5].payload = Payload::from("x".repeat(bytes));
    for (at, outcome) in at_once(&database, all.iter().cloned().map(Write::Upsert).collect()).await.iter().enumerate() {
        match outcome {
            Ok(WriteOutcome::Done(_)) if at != 5 => {}
            Err(DatabaseError::Corrupt { message }) if at == 5 => {
                assert!(message.contains("max_allowed_packet of 1048576 bytes"), "{message}");
            }
            other => panic!("{at}: {other:?}"),
        }
    }
    assert_eq!(load(&database, &key("key00000005")).await?, None);
    database.close().await;
    Ok(())
}
