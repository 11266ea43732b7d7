//! How much a step of a migration reads depends only on its batch, as `plans` says of plain operations: with side
//! tables as large as the session table, a third of them marks.

use anyhow::Result;
use sqlx::Executor as _;
use switchover_backends::{Postgres, Server};
use switchover_core::capabilities::{
    Database, Epoch, Fence, KeyLock, LockPurpose, Number, Numbered, Read, Side, Terms, Write,
};
use switchover_core::{Session, SessionKey};

use super::fixture::{key, soon};
use super::plans::{Bound, Count, Counter, Ended, PostgresBlocks, SIZES, check, postgres};
use super::server_fixture::far;
use super::side_fixture::side;

const BATCHES: [usize; 3] = [1, 24, 128];
/// How many marks are asked for at a time.
const MARKS: u32 = 50;
/// A step reads the session row, the key's row and the fence, some of them twice, and writes in five indexes.
const BOUND: Bound = Bound { base: 300, each: 100 };

fn fence() -> Fence {
    Fence { migration: "plans".into(), epoch: Epoch(1) }
}

fn sessions(keys: &[SessionKey]) -> Vec<Session> {
    keys.iter().map(far).collect()
}

/// Each step by its name, once with the sessions that are there and once with others.
async fn step(database: &Server, name: &str, keys: &[SessionKey], number: u64) -> Result<()> {
    let terms = || Terms { deadline: soon(), fence: Some(fence()) };
    let all = |write: fn(Session) -> Write| sessions(keys).into_iter().map(write).collect::<Vec<_>>();
    let deletes = || keys.iter().cloned().map(Write::Delete).collect::<Vec<_>>();
    let marked = async |batch, home| side(database).write_marked(batch, home, fence(), soon()).await.map(drop);
    let numbered = async |batch: Vec<Write>| {
        let batch = batch.into_iter().map(|write| (write, Number(number))).collect();
        side(database).write_numbered(batch, fence(), soon()).await
    };
    let locks = async |purpose| {
        let mut transaction = side(database).begin_with_keys(fence(), soon()).await?;
        let locks = keys.iter().map(|key| KeyLock { key: key.clone(), known: Number(0) }).collect();
        transaction.lock_keys(locks, purpose).await?;
        transaction.clear_locked(keys.to_vec()).await?;
        transaction.roll_back().await;
        anyhow::Ok(())
    };
    match name {
        "load" => drop(database.read(keys.iter().cloned().map(Read::Load).collect(), terms()).await?),
        "exists" => drop(database.read(keys.iter().cloned().map(Read::Exists).collect(), terms()).await?),
        "upsert" => drop(database.write(all(Write::Upsert), terms()).await?),
        "update" => drop(database.write(all(Write::Update), terms()).await?),
        "marked update at old" => marked(all(Write::Update), Side::Old).await?,
        "marked upsert at new" => marked(all(Write::Upsert), Side::New).await?,
        "mark" => side(database).mark(keys.to_vec(), Side::Old, fence(), soon()).await?,
        "numbered upsert" => {
            let done = numbered(all(Write::Upsert)).await?;
            anyhow::ensure!(matches!(done, Numbered::Done(_)), "{done:?}");
        }
        "rows" => drop(side(database).rows(keys.to_vec(), fence(), soon()).await?),
        "locks of a write" => locks(LockPurpose::Write).await?,
        "locks of a copy" => locks(LockPurpose::CopyToNew).await?,
        "marks" => drop(side(database).marks(fence(), MARKS, soon()).await?),
        "cleared marks" => {
            let marks = side(database).marks(fence(), u32::try_from(keys.len())?, soon()).await?;
            side(database).clear_marks(marks, fence(), soon()).await?;
        }
        "delete" => drop(database.write(deletes(), terms()).await?),
        "marked delete at new" => marked(deletes(), Side::New).await?,
        other => anyhow::bail!("no step is called {other}"),
    }
    Ok(())
}

/// Those after which the sessions are there or not as before.
const STEPS: [&str; 13] = [
    "load",
    "exists",
    "update",
    "marked update at old",
    "mark",
    "rows",
    "locks of a write",
    "locks of a copy",
    "marks",
    "cleared marks",
    "numbered upsert",
    "marked upsert at new",
    "upsert",
];

async fn measure(database: &Server, counter: &mut PostgresBlocks, there: &[SessionKey], at: u64) -> Result<Vec<Count>> {
    let mut counts = Vec::new();
    counter.count().await?;
    for batch in BATCHES {
        // The first use of a statement prepares it, which reads other things.
        for first in [true, false] {
            let there: Vec<_> = there.iter().take(batch).cloned().collect();
            let absent: Vec<_> = (0..batch).map(|place| key(&format!("absent{place:06}"))).collect();
            for (what, keys) in [("present", &there), ("absent", &absent)] {
                let last = if what == "absent" { &["delete", "marked delete at new"][..] } else { &[] };
                for name in STEPS.iter().chain(last) {
                    // Each number is higher than the last one.
                    let number = 1_000_000 + at * 10_000 + batch as u64 * 20 + u64::from(!first) * 10;
                    if !keys.is_empty() {
                        step(database, name, keys, number).await?;
                    }
                    let count = counter.count().await?;
                    if !first {
                        counts.push(Count { what: format!("{name}, {what},"), batch, count });
                    }
                }
            }
        }
    }
    Ok(counts)
}

/// A row of the side tables for each session; every third is marked.
async fn fill(counter: &mut PostgresBlocks, from: u64, to: u64) -> Result<()> {
    let sql = format!(
        "INSERT INTO switchover_key (migration, session_key, number, mark, since) \
         SELECT 'plans', 'key' || lpad(to_hex(g * 2654435761 % 4294967296), 8, '0'), g, \
                CASE WHEN g % 3 = 0 THEN g END, g FROM generate_series({from} + 1, {to}::bigint) AS g \
         ON CONFLICT DO NOTHING"
    );
    counter.0.execute(sqlx::raw_sql(&sql)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_step_of_a_migration_reads_more_of_larger_tables() -> Result<()> {
    let (server, mut counter) = postgres().await?;
    let open = async || Postgres::connect(server.url()).await;
    let first = open().await?;
    first.upkeep().create_schema(soon()).await?;
    side(&first).prepare(soon()).await?;
    side(&first).make_fence(fence().migration, soon()).await?;
    let mut kept = vec![("planned on empty tables".to_owned(), first)];
    let (mut rows, mut at) = (0, 0);
    for size in SIZES {
        counter.fill(rows, size, Ended::Some).await?;
        fill(&mut counter, rows, size).await?;
        rows = size;
        let keys = Ended::Some.keys(rows);
        for analysed in [false, true] {
            if analysed {
                counter.0.execute(sqlx::raw_sql("ANALYZE django_session, switchover_key, switchover_fence")).await?;
            }
            kept.push((format!("planned at {size} rows, analysed: {analysed}"), open().await?));
            for (plans, database) in &kept {
                // Dead rows of the measures before are not what is measured.
                counter.0.execute(sqlx::raw_sql("VACUUM django_session, switchover_key")).await?;
                at += 1;
                let counts = measure(database, &mut counter, &keys, at).await?;
                let unseen = counts.iter().find(|count| count.count == 0 && rows > 0);
                anyhow::ensure!(unseen.is_none(), "{} is not measured", unseen.map_or("", |count| &count.what));
                check(&format!("{size} rows, analysed: {analysed}, {plans}"), &counts, BOUND)?;
            }
        }
    }
    for (_, database) in kept {
        database.close().await;
    }
    Ok(())
}
