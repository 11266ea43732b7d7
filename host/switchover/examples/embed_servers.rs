//! Switchover in a service with databases on servers, from one kind to another, and a cache that its hosts share.
//!
//! `cargo run --release -p switchover --features postgres,mysql,redis --example embed_servers -- \
//!     postgres://app:secret@db-1/app mysql://app:secret@db-2/app redis://cache-1`
//!
//! It makes the table `switchover_example` in both databases if it does not exist. It creates one session, and deletes
//! it again.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use switchover::backends::{FlagSwitch, MySql, Postgres, Redis, prepare_table};
use switchover::{Builtin, Payload, Policy, Switchover, expires_in};

const HOUR: Duration = Duration::from_secs(3_600);

// Databases on servers need tokio's multi-threaded runtime, with its network and its timers.
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let addresses: Vec<_> = std::env::args().skip(1).collect();
    let [old, new, cache] = addresses.as_slice() else {
        println!("give three addresses: postgres://USER:PASSWORD@HOST/DATABASE mysql://… redis://HOST");
        return Ok(());
    };
    let old = Postgres::builder(old).table("switchover_example").application_name("shop").connect().await?;
    let new = MySql::builder(new).table("switchover_example").readers(4).connect().await?;
    for database in [&old, &new] {
        prepare_table(database).await?;
    }
    // `start` does not wait for a server that does not answer; it connects when the server does.
    let cache = Redis::builder(cache).prefix("shop:").start().await?;

    let switchover = Switchover::builder()
        .database("default", old)
        .database("new_session_store", new)
        .cache(cache)
        .flags(FlagSwitch::new([("migration_flag", "true"), ("new_db_router_flag", "false")]))
        .policy(Policy::builtin(Builtin::Fallback))
        .build()
        .await?;
    for (alias, database) in switchover.databases() {
        println!("{alias}: {database}");
    }

    let sessions = switchover.sessions();
    let key = sessions.create(Payload::from("opaque text"), expires_in(HOUR)).await?;
    println!("in both databases: {:?}", sessions.load(&key).await?);
    sessions.delete(&key).await?;
    switchover.close().await;
    Ok(())
}
