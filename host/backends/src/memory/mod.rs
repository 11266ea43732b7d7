//! Database, cache and flags in the process's memory: for tests, for tools, and as the cache of a service that runs
//! alone.

mod cache;
mod control;
mod database;
mod flags;

pub use cache::MemoryCache;
pub use control::MemoryControl;
pub use database::MemoryDatabase;
pub use flags::FlagSwitch;
