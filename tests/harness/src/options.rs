//! What a server is started with.

use crate::certificates::Certificates;

/// How many logical databases a server has; Redis makes them when they are first used.
pub(crate) const DATABASES: u32 = 1_024;

/// What a server promises of a commit that it acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It is on disk: it outlives a crash of server and machine. PostgreSQL: `fsync`, `full_page_writes` and
    /// `synchronous_commit` are on. MariaDB: `innodb_flush_log_at_trx_commit=1`.
    Durable,
    /// Nothing: the last commits may be lost at a kill, and all data with the machine. PostgreSQL: these three are off.
    /// MariaDB: `innodb_flush_log_at_trx_commit=0`, no doublewrite.
    Fast,
}

#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) durability: Durability,
    pub(crate) connections: u32,
    pub(crate) tls: Option<Certificates>,
    pub(crate) settings: Vec<(String, String)>,
}
