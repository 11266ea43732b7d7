//! Measures what a call through wasm costs more than a call to the same policy compiled natively: same runtime trait,
//! same task, same imports.
//!
//! `cargo bench -p switchover-tests --bench calls [-- --json]`. It measures processor time, with wasm and native in
//! turn, so that a noisy machine disturbs both alike. It reports the median of the rounds. It asserts nothing: this is
//! a measurement, not a test.

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use switchover::backends::{FlagSwitch, MemoryDatabase};
use switchover::capabilities::{Cache, CacheError, CacheLookup, Database, Lease, Nonce, Terms, Write};
use switchover::{Builder, Builtin, Payload, Policy, Session, SessionKey, Switchover, Timestamp, expires_in};
use switchover_fallback::Fallback;
use switchover_tests::process::{processor_time, resident_bytes};
use tokio::sync::Semaphore;

const ROUNDS: usize = 15;
const CALLS_PER_ROUND: usize = 20_000;
const IN_FLIGHT: usize = 1_024;
const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let json = std::env::args().any(|argument| argument == "--json");
    let mut rows = Vec::new();
    for (name, bytes) in [("400 B", 400), ("64 KiB", 64 << 10)] {
        for at_once in [1, 64] {
            let [wasm, native] = load_miss(bytes, at_once).await?;
            rows.push((name, at_once, wasm, native));
        }
    }
    // The case that takes less memory comes first, because a process does not give memory back.
    let (looking_up, filling) = (memory_in_flight(Wait::LookUp).await?, memory_in_flight(Wait::Fill).await?);
    let mut out = std::io::stdout().lock();
    if json {
        let rows: Vec<_> = rows
            .iter()
            .map(|(payload, at_once, wasm, native)| {
                serde_json::json!({"call": "load, cache miss", "payload": payload, "at_once": at_once, "wasm_ns": wasm,
                    "native_ns": native, "above_ns": wasm - native})
            })
            .collect();
        let memory =
            serde_json::json!({"in_flight": IN_FLIGHT, "looking_up_bytes": looking_up, "filling_bytes": filling});
        writeln!(out, "{}", serde_json::json!({"loads": rows, "memory": memory}))?;
        return Ok(());
    }
    writeln!(out, "processor time of one load with a cache miss, median of {ROUNDS} rounds of {CALLS_PER_ROUND}\n")?;
    writeln!(out, "payload  at once   wasm ns  native ns   above ns")?;
    for (payload, at_once, wasm, native) in rows {
        writeln!(out, "{payload:7}  {at_once:7}  {wasm:8.0}  {native:9.0}  {:9.0}", wasm - native)?;
    }
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    writeln!(out, "\n{IN_FLIGHT} calls in flight, MiB of resident memory")?;
    writeln!(out, "  waiting for their look-up, before the policy is asked: {:.1}", mib(looking_up))?;
    writeln!(out, "  waiting in the policy: {:.1}", mib(filling))?;
    Ok(())
}

/// Processor nanoseconds of one load, through wasm and natively.
async fn load_miss(bytes: usize, at_once: usize) -> Result<[f64; 2]> {
    let key = SessionKey::random();
    let database = MemoryDatabase::new();
    put(&database, &key, &"x".repeat(bytes)).await?;
    let wasm = host(database.clone(), |builder| builder.policy(Policy::builtin(Builtin::Fallback))).await?;
    let native = host(database.clone(), |builder| builder.policy(Policy::native::<Fallback>())).await?;
    let mut rounds = [Vec::new(), Vec::new()];
    for round in 0..=ROUNDS {
        for (host, costs) in [&wasm, &native].into_iter().zip(&mut rounds) {
            let cost = cost_of_round(host, &key, at_once).await?;
            // The first round warms instances up.
            if round > 0 {
                costs.push(cost);
            }
        }
    }
    Ok(rounds.map(|mut costs| {
        costs.sort_by(f64::total_cmp);
        costs[costs.len() / 2]
    }))
}

async fn cost_of_round(host: &Switchover, key: &SessionKey, at_once: usize) -> Result<f64> {
    let before = processor_time()?;
    let clients = (0..at_once).map(|_| {
        let (sessions, key) = (host.sessions(), key.clone());
        tokio::spawn(async move {
            for _ in 0..CALLS_PER_ROUND / at_once {
                sessions.load(&key).await?.context("the session is there")?;
            }
            anyhow::Ok(())
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await??;
    }
    let calls = CALLS_PER_ROUND / at_once * at_once;
    Ok((processor_time()? - before).as_nanos() as f64 / calls as f64)
}

/// Resident bytes of calls in flight that all wait for the same operation.
async fn memory_in_flight(wait: Wait) -> Result<u64> {
    let gate = Arc::new(Semaphore::new(0));
    let key = SessionKey::random();
    let database = MemoryDatabase::new();
    put(&database, &key, "x").await?;
    let host = host(database, |builder| builder.cache(Gated { wait, gate: Arc::clone(&gate) })).await?;
    gate.add_permits(1);
    host.sessions().load(&key).await?;
    let before = resident_bytes()?;
    let calls: Vec<_> = (0..IN_FLIGHT)
        .map(|_| {
            let (sessions, key) = (host.sessions(), key.clone());
            tokio::spawn(async move { sessions.load(&key).await })
        })
        .collect();
    let give_up = Instant::now() + Duration::from_secs(10);
    while host.policy().calls_in_flight < IN_FLIGHT && Instant::now() < give_up {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let taken = resident_bytes()?.saturating_sub(before);
    anyhow::ensure!(host.policy().calls_in_flight == IN_FLIGHT, "not all calls are in flight");
    gate.add_permits(IN_FLIGHT);
    for call in calls {
        call.await??;
    }
    Ok(taken)
}

async fn host(database: MemoryDatabase, change: impl FnOnce(Builder) -> Builder) -> Result<Switchover> {
    let limits = {
        let mut limits = switchover::Limits::default();
        limits.cache_deadline = Duration::from_secs(20);
        limits.call_wall_time = Duration::from_secs(20);
        limits
    };
    let builder = Switchover::builder()
        .database("default", database)
        .database("new_session_store", MemoryDatabase::new())
        .cache(Gated { wait: Wait::Nothing, gate: Arc::new(Semaphore::new(0)) })
        .limits(limits)
        .flags(FlagSwitch::new([("migration_flag", "false")]))
        .policy(Policy::builtin(Builtin::Fallback));
    Ok(change(builder).build().await?)
}

async fn put(database: &dyn Database, key: &SessionKey, text: &str) -> Result<()> {
    let session = Session::new(key.clone(), Payload::from(text), expires_in(HOUR));
    database.write(vec![Write::Upsert(session)], Terms::by(Instant::now() + HOUR)).await?;
    Ok(())
}

/// The operation that calls wait for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    Nothing,
    LookUp,
    Fill,
}

/// A cache without entries. One of its operations waits until the test lets it through.
struct Gated {
    wait: Wait,
    gate: Arc<Semaphore>,
}

impl Gated {
    async fn pass(&self, operation: Wait) -> Result<(), CacheError> {
        if operation == self.wait {
            self.gate.acquire().await.map_err(|_| CacheError { message: "closed".to_owned() })?.forget();
        }
        Ok(())
    }
}

#[async_trait]
impl Cache for Gated {
    async fn get(&self, _: &SessionKey, _: Timestamp) -> Result<CacheLookup, CacheError> {
        self.pass(Wait::LookUp).await?;
        Ok(CacheLookup::Miss(Lease(1)))
    }

    async fn fill(&self, _: Lease, _: &Session, _: Duration) -> Result<bool, CacheError> {
        self.pass(Wait::Fill).await?;
        Ok(true)
    }

    async fn guard(&self, _: &SessionKey, _: Nonce, _: Duration) -> Result<(), CacheError> {
        Ok(())
    }

    async fn release(&self, _: &SessionKey, _: Nonce) -> Result<(), CacheError> {
        Ok(())
    }

    async fn invalidate(&self, _: &SessionKey) -> Result<(), CacheError> {
        Ok(())
    }

    fn summary(&self) -> String {
        "a cache that waits".to_owned()
    }
}
