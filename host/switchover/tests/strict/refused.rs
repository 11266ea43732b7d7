//! A row that a database refuses for any reason costs only its own key under a strict mirror.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use switchover::backends::{FlagSwitch, MemoryDatabase};
use switchover::capabilities::{Database, Terms, Write};
use switchover::{Builtin, Payload, Policy, SaveOutcome, Session, SessionKey, Switchover, expires_in};
use tokio::task::JoinSet;

use super::fixture::{eventually, key, load, session, soon};
use super::refusals::{Refusal, refusals};

/// Rows that exist before the test. A save of the last but one is refused, and a deletion of the last one.
const THERE: [&str; 8] =
    ["updated00", "updated01", "touched00", "touched01", "deleted00", "deleted01", "saved0bad", "referenced"];

fn there() -> Vec<Session> {
    THERE.iter().map(|text| session(text, "before", expires_in(Duration::from_secs(3_600)))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_row_costs_none_that_shares_its_strict_batch() -> Result<()> {
    for refusal in refusals().await? {
        for spoiled_is_home in [true, false] {
            let what = format!("{}, at home: {spoiled_is_home}", refusal.name);
            let there = there();
            let spoiled = refusal.open(there.clone()).await?;
            let whole: Arc<dyn Database> = Arc::new(MemoryDatabase::new());
            whole.write(there.into_iter().map(Write::Insert).collect(), Terms::by(soon())).await?;
            let pair = if spoiled_is_home { [&spoiled, &whole] } else { [&whole, &spoiled] };
            strict(&refusal, pair, is_found_late(&refusal) && spoiled_is_home).await.context(what)?;
            spoiled.close().await;
        }
    }
    Ok(())
}

/// SQLite finds a deferred reference only at the commit.
fn is_found_late(refusal: &Refusal) -> bool {
    refusal.name == "SQLite, a deferred reference"
}

type Answer = Result<String, switchover::Error>;

/// With `late`, home refuses only its commit, after the mirror was written.
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
        let payload = Payload::from(if number % 8 == 3 { bad } else { "after" });
        calls.spawn(async move {
            let created = sessions.create(payload.clone(), far).await.map(|_| "created".to_owned());
            (if payload.as_text().unwrap_or_default() == bad { "refused" } else { "created" }, created)
        });
    }
    for text in THERE {
        let (sessions, bad) = (Arc::clone(&sessions), refusal.payload);
        let deletes = refusal.refers.is_some();
        calls.spawn(async move {
            let key = key(text);
            let save = async |payload: &str| -> Answer {
                let payload = Payload::from(payload);
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
            Err(switchover::Error::Corrupt { .. }) => true,
            _ => false,
        };
        let done = matches!(&answer, Ok(told) if told == expected);
        ensure!(if expected == "refused" { refused } else { done }, "{expected}: {answer:?}");
    }
    ensure!(SaveOutcome::Saved == sessions.save(&key("updated00"), Payload::from("again"), far).await?);
    agree(home, mirror, refusal.refers.is_some()).await?;
    host.close().await;
    Ok(())
}

/// A refused row is unchanged on both sides. After an unknown outcome, a repair brings this about.
async fn agree(home: &Arc<dyn Database>, mirror: &Arc<dyn Database>, deletes: bool) -> Result<()> {
    for database in [home, mirror] {
        let payload = async |key: &SessionKey| -> Result<Option<String>> {
            Ok(load(&**database, key).await?.map(|found| found.payload.as_text().unwrap_or_default().to_owned()))
        };
        let kept = async || Ok(payload(&key("saved0bad")).await?.as_deref() == Some("before"));
        eventually("a refused save is undone", kept).await?;
        let kept = async || Ok(!deletes || payload(&key("referenced")).await?.is_some());
        eventually("a refused deletion is undone", kept).await?;
        ensure!(payload(&key("updated01")).await?.as_deref() == Some("after"));
        ensure!(payload(&key("deleted00")).await?.is_none());
    }
    let (home, mirror) = (home.upkeep().scan(None, 500, soon()).await?, mirror.upkeep().scan(None, 500, soon()).await?);
    ensure!(home.sessions == mirror.sessions, "{} and {} rows", home.sessions.len(), mirror.sessions.len());
    Ok(())
}
