//! The backends: databases, caches and sources of flags behind the traits of the core. Among the crates of the
//! host, only this one depends on drivers.

#[cfg(any(feature = "postgres", feature = "mysql", feature = "redis"))]
mod address;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
mod control;
#[cfg(any(feature = "sqlite", feature = "mysql"))]
mod django_time;
#[cfg(feature = "memory")]
mod faulty;
#[cfg(any(feature = "memory", feature = "sqlite", feature = "postgres", feature = "mysql"))]
mod fit;
mod fixed_flags;
#[cfg(feature = "flag-file")]
mod flag_file;
mod locator;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
mod manner;
#[cfg(feature = "memory")]
mod memory;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
mod others;
#[cfg(any(feature = "memory", feature = "sqlite", feature = "postgres", feature = "mysql"))]
mod page;
#[cfg(feature = "postgres")]
mod postgres;
mod prepare;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
mod queues;
#[cfg(feature = "redis")]
mod redis;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
mod request;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
mod row;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod server;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
mod sweep;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
mod table;
#[cfg(any(feature = "postgres", feature = "mysql", feature = "redis"))]
mod tls;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
mod transaction;

#[cfg(feature = "memory")]
pub use faulty::{Fault, Faulty, Operation, OperationCounts};
pub use fixed_flags::FixedFlags;
#[cfg(feature = "flag-file")]
pub use flag_file::FlagFile;
pub use locator::{Address, Kind};
#[cfg(feature = "memory")]
pub use memory::{FlagSwitch, MemoryCache, MemoryControl, MemoryDatabase};
#[cfg(feature = "mysql")]
pub use mysql::MySql;
#[cfg(feature = "postgres")]
pub use postgres::Postgres;
/// Moves of tables that applications write themselves.
#[cfg(feature = "postgres")]
pub mod moves {
    pub use switchover_core::moves::*;

    pub use crate::postgres::{Rebuild, Transfer};
}
pub use prepare::prepare_table;
#[cfg(feature = "redis")]
pub use redis::{Redis, RedisBuilder, RedisFlags, RedisFlagsBuilder};
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub use server::{Server, ServerBuilder};
#[cfg(feature = "sqlite")]
pub use sqlite::{Sqlite, SqliteBuilder, Synchronous};
