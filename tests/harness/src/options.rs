//! What a server is started with.

use crate::certificates::Certificates;

/// How many logical databases a server has. Redis creates each when it is first used.
pub(crate) const DATABASES: u32 = 1_024;

/// What a server promises for a commit that it acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The commit is on disk and survives a crash of server and machine. PostgreSQL: `fsync`, `full_page_writes` and
    /// `synchronous_commit` are on. MariaDB: `innodb_flush_log_at_trx_commit=1`.
    Durable,
    /// Nothing. A kill may lose the last commits, and a crash of the machine may lose all data. PostgreSQL: these three
    /// are off. MariaDB: `innodb_flush_log_at_trx_commit=0`, no doublewrite.
    Fast,
}

#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) durability: Durability,
    pub(crate) connections: u32,
    pub(crate) tls: Option<Certificates>,
    pub(crate) settings: Vec<(String, String)>,
}
