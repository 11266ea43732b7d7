//! Real servers for tests, and a proxy that breaks the connections to them.
//!
//! [`Postgres`], [`MariaDb`] and [`Redis`] start a [`Server`] from the installed binaries, in a temporary folder, at a
//! free port of 127.0.0.1 and at a unix socket. A test can stop, kill, pause and restart the server. The server leaves
//! nothing behind, however the test ends. A [`Proxy`] stands before any server. It delays, throttles, holds, resets and
//! cuts connections, and counts bytes and round trips.
//!
//! ```text
//!   test ── url ──> Proxy ──> Server: postgres, mariadbd, redis-server
//!    │                          ▲
//!    └── orders ──> keeper ─────┘ signals; ends it when the test is gone
//! ```
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use std::time::Duration;
//! use switchover_harness::{Direction, Postgres, Proxy};
//!
//! let server = Postgres::start().await?;
//! let proxy = Proxy::start(server.address()).await?;
//! let url = proxy.url_of(&server.create_database("shop").await?)?;
//! // Point the service under test to `url`, then:
//! proxy.delay(Direction::Both, Duration::from_millis(20), Duration::from_millis(5));
//! proxy.hold(Direction::ToClient);
//! proxy.heal().await?;
//! server.kill().await?;
//! server.restart().await?;
//! # Ok(())
//! # }
//! ```
//!
//! This crate does not depend on Switchover. It needs Linux and a shell at `sh`. When root starts servers, it also
//! needs one of the users that their packages create, or `nobody`. That user must be able to reach the temporary folder
//! (`TMPDIR`, or `/tmp`).

mod builder;
mod certificates;
mod fault;
mod keeper;
mod kind;
mod mariadb;
mod options;
mod postgres;
mod programs;
mod proxy;
mod redis;
mod server;
mod site;

pub use builder::Builder;
pub use certificates::Certificates;
pub use fault::Fault;
pub use mariadb::MariaDb;
pub use options::Durability;
pub use postgres::Postgres;
pub use proxy::{Counts, Direction, End, Proxy, Upstream};
pub use redis::Redis;
pub use server::Server;
pub use site::free_port;
