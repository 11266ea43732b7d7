//! A row that a database refuses, for whatever reason, costs only its own key: among writes that share a statement, and under a strict mirror.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use switchover::backends::{FlagSwitch, MemoryDatabase};
use switchover::capabilities::{Database, DatabaseError, Write, WriteOutcome};
use switchover::{Builtin, ErrorCode, Payload, Policy, SaveOutcome, Session, SessionKey, Switchover, expires_in};
use tokio::task::JoinSet;

use super::fixture::{eventually, exists, key, load, session, soon};
use super::refusals::{Refusal, refusals};

/// Rows that are there before; the last two are those that are refused a save and a deletion.
const THERE: [&str; 8] =
    ["updated00", "updated01", "touched00", "touched01", "deleted00", "deleted01", "saved0bad", "referenced"];

fn there() -> Vec<Session> {
    THERE.iter().map(|text| session(text, "before", expires_in(Duration::from_secs(3_600)))).collect()
}

/// Many writes at once, of each kind, and how each must end; `None`: it is refused.
fn writes(refusal: &Refusal) -> Vec<(Write, Option<WriteOutcome>)> {
    let far = expires_in(Duration::from_secs(7_200));
    let with = |key: &str, payload: &str| session(key, payload, far);
    let mut writes = Vec::new();
    for number in 0..24 {
        let new = with(&format!("inserted{number:02}"), "after");
        writes.push((Write::Insert(new.clone()), Some(WriteOutcome::Done(Some(new)))));
    }
    writes.push((Write::Insert(with("inserted0bad", refusal.payload)), None));
    writes.push((Write::Update(with("saved0bad", refusal.payload)), None));
    writes.push((Write::Upsert(with("upserted0bad", refusal.payload)), None));
    if refusal.refers.is_some() {
        writes.push((Write::Delete(key("referenced")), None));
    }
    for number in 0..2 {
        let update = with(&format!("updated{number:02}"), "after");
        writes.push((Write::Update(update.clone()), Some(WriteOutcome::Done(Some(update)))));
        writes.push((Write::Touch(key(&format!("touched{number:02}")), far), Some(WriteOutcome::Done(None))));
        writes.push((Write::Delete(key(&format!("deleted{number:02}"))), Some(WriteOutcome::Done(None))));
        writes.push((Write::Delete(key(&format!("missing{number:02}"))), Some(WriteOutcome::Missing)));
    }
    // Those that are refused stand among the others.
    writes.rotate_left(12);
    writes
}

fn is_as_expected(done: &Result<WriteOutcome, DatabaseError>, expected: Option<&WriteOutcome>) -> bool {
    match (done, expected) {
        // A row that was touched may be read for the answer.
        (Ok(WriteOutcome::Done(Some(_))), Some(WriteOutcome::Done(None))) => true,
        (Ok(outcome), Some(expected)) => outcome == expected,
        (Err(DatabaseError::Corrupt { message }), None) => !message.contains("bad") && !message.contains('😀'),
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_write_costs_none_that_shares_its_statement() -> Result<()> {
    for refusal in refusals().await? {
        let name = refusal.name;
        let database = refusal.open(there()).await?;
        let mut tasks = JoinSet::new();
        for (write, expected) in writes(&refusal) {
            let database = Arc::clone(&database);
            tasks.spawn(async move {
                let done = database.write(vec![write.clone()], None, soon()).await.map(|mut done| done.remove(0));
                (write, done, expected)
            });
        }
        for (write, done, expected) in tasks.join_all().await {
            ensure!(is_as_expected(&done, expected.as_ref()), "{name}: {write:?}: {done:?}");
        }
        // Nothing of what was refused is there, and the rest is.
        for absent in ["inserted0bad", "upserted0bad", "deleted00"] {
            ensure!(!exists(&*database, &key(absent)).await?, "{name}: {absent}");
        }
        ensure!(refusal.refers.is_none() || exists(&*database, &key("referenced")).await?, "{name}");
        let saved = load(&*database, &key("saved0bad")).await?.context("it is there")?;
        ensure!(saved.payload.expose() == "before", "{name}");
        for (write, expected) in writes(&refusal) {
            if let (Write::Insert(new), Some(_)) = (write, expected) {
                let loaded = load(&*database, &new.key).await?.map(|found| found.payload);
                ensure!(loaded == Some(new.payload), "{name}");
            }
        }
        database.close().await;
    }
    Ok(())
}

/// A batch that is held is all or nothing, and says that nothing was written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_write_leaves_nothing_of_a_batch_that_is_held() -> Result<()> {
    for refusal in refusals().await? {
        let name = refusal.name;
        let database = refusal.open(there()).await?;
        let batch: Vec<_> = writes(&refusal).into_iter().map(|(write, _)| write).collect();
        let error = match database.hold(batch, None, soon()).await {
            Ok(held) => held.commit().await.err(),
            Err(error) => Some(error),
        };
        ensure!(matches!(error, Some(DatabaseError::Corrupt { .. })), "{name}: {error:?}");
        ensure!(!exists(&*database, &key("inserted00")).await?, "{name}");
        ensure!(exists(&*database, &key("deleted00")).await?, "{name}");
        database.close().await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_row_costs_none_that_shares_its_strict_batch() -> Result<()> {
    for refusal in refusals().await? {
        for spoiled_is_home in [true, false] {
            let what = format!("{}, at home: {spoiled_is_home}", refusal.name);
            let there = there();
            let spoiled = refusal.open(there.clone()).await?;
            let whole: Arc<dyn Database> = Arc::new(MemoryDatabase::new());
            whole.write(there.into_iter().map(Write::Insert).collect(), None, soon()).await?;
            let pair = if spoiled_is_home { [&spoiled, &whole] } else { [&whole, &spoiled] };
            strict(&refusal, pair, refusal.is_late && spoiled_is_home).await.context(what)?;
            spoiled.close().await;
        }
    }
    Ok(())
}

type Answer = Result<String, switchover::Error>;

/// `late`: home refuses only its commit, after the mirror was written.
async fn strict(refusal: &Refusal, [home, mirror]: [&Arc<dyn Database>; 2], late: bool) -> Result<()> {
    let host = Switchover::builder()
        .database("default", Arc::clone(home))
        .database("new_session_store", Arc::clone(mirror))
        .flags(FlagSwitch::new([("migration_flag", "true")]))
        .policy(Policy::builtin(Builtin::Fallback))
        .build()
        .await?;
    let (sessions, far) = (Arc::new(host.sessions()), expires_in(Duration::from_secs(7_200)));
    let mut calls: JoinSet<(&'static str, Answer)> = JoinSet::new();
    for number in 0..32 {
        let (sessions, bad) = (Arc::clone(&sessions), refusal.payload);
        let payload = Payload::parse(if number % 8 == 3 { bad } else { "after" })?;
        calls.spawn(async move {
            let created = sessions.create(payload.clone(), far).await.map(|_| "created".to_owned());
            (if payload.expose() == bad { "refused" } else { "created" }, created)
        });
    }
    for text in THERE {
        let (sessions, bad) = (Arc::clone(&sessions), refusal.payload);
        let deletes = refusal.refers.is_some();
        calls.spawn(async move {
            let key = key(text);
            let save = async |payload: &str| -> Answer {
                let payload = Payload::parse(payload).expect("the test names a valid payload");
                sessions.save(&key, payload, far).await.map(|saved| format!("{saved:?}"))
            };
            match text {
                "saved0bad" => ("refused", save(bad).await),
                "referenced" if deletes => ("refused", sessions.delete(&key).await.map(|told| told.to_string())),
                "touched00" | "touched01" => {
                    let touched = sessions.touch(&key, far).await;
                    ("Saved", touched.map(|touched| format!("{touched:?}")))
                }
                "deleted00" | "deleted01" => ("true", sessions.delete(&key).await.map(|told| told.to_string())),
                _ => ("Saved", save("after").await),
            }
        });
    }
    for (expected, answer) in calls.join_all().await {
        let refused = match &answer {
            Err(switchover::Error::UnknownOutcome { .. }) => late,
            Err(switchover::Error::Unavailable { code, .. }) => *code == ErrorCode::Corrupt,
            _ => false,
        };
        let done = matches!(&answer, Ok(told) if told == expected);
        ensure!(if expected == "refused" { refused } else { done }, "{expected}: {answer:?}");
    }
    ensure!(SaveOutcome::Saved == sessions.save(&key("updated00"), Payload::parse("again")?, far).await?);
    agree(home, mirror, refusal.refers.is_some()).await?;
    host.close().await;
    Ok(())
}

/// What was refused is as it was, on both sides; after an unknown outcome a repair brings that about.
async fn agree(home: &Arc<dyn Database>, mirror: &Arc<dyn Database>, deletes: bool) -> Result<()> {
    for database in [home, mirror] {
        let payload = async |key: &SessionKey| -> Result<Option<String>> {
            Ok(load(&**database, key).await?.map(|found| found.payload.expose().to_owned()))
        };
        let kept = async || Ok(payload(&key("saved0bad")).await?.as_deref() == Some("before"));
        eventually("a refused save is undone", kept).await?;
        let kept = async || Ok(!deletes || payload(&key("referenced")).await?.is_some());
        eventually("a refused deletion is undone", kept).await?;
        ensure!(payload(&key("updated01")).await?.as_deref() == Some("after"));
        ensure!(payload(&key("deleted00")).await?.is_none());
    }
    let (home, mirror) = (home.scan(None, 500, soon()).await?, mirror.scan(None, 500, soon()).await?);
    ensure!(home.sessions == mirror.sessions, "{} and {} rows", home.sessions.len(), mirror.sessions.len());
    Ok(())
}
