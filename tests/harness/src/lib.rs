//! Real servers for tests, and a proxy that breaks the connections to them.
//!
//! [`Postgres`], [`MariaDb`] and [`Redis`] start a [`Server`] from the installed binaries, in a temporary folder, at a
//! free port of 127.0.0.1 and at a unix socket. It can be stopped, killed, paused and started again, and it leaves
//! nothing behind, however the test ends. A [`Proxy`] stands before any server, delays, throttles, holds, resets and
//! cuts what passes, and counts bytes and round trips.
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
//! It depends on nothing of Switchover. It needs Linux, a shell at `sh`, and to start servers as root one of the
//! users that their packages make, or `nobody`, who must reach the temporary folder (`TMPDIR`, or `/tmp`).

mod builder;
mod certificates;
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
pub use mariadb::MariaDb;
pub use options::Durability;
pub use postgres::Postgres;
pub use proxy::{Counts, Direction, End, Proxy, Upstream};
pub use redis::Redis;
pub use server::Server;
