//! What stands behind the capabilities: databases, caches and sources of flags. Drivers are known here and nowhere else.

#[cfg(feature = "memory")]
mod faulty;
#[cfg(feature = "flag-file")]
mod flag_file;
#[cfg(feature = "memory")]
mod memory;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "memory")]
pub use faulty::{Fault, Faulty, Operation, OperationCounts};
#[cfg(feature = "flag-file")]
pub use flag_file::FlagFile;
#[cfg(feature = "memory")]
pub use memory::{FlagSwitch, MemoryCache, MemoryDatabase};
#[cfg(feature = "redis")]
pub use redis::{Redis, RedisBuilder, RedisFlags, RedisFlagsBuilder};
#[cfg(feature = "sqlite")]
pub use sqlite::{Sqlite, SqliteBuilder, Synchronous};
