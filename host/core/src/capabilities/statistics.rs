//! What a database tells of its session table: how much is in it, and how much room it takes.

/// What a table holds, counted, and what it takes, as far as its database tells. Everything in bytes is about this table and its
/// indexes, but for [`Statistics::file_bytes`].
///
/// A backend outside this crate begins with `Statistics::default()` and sets what it knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Rows, those that have ended among them.
    pub rows: u64,
    /// Rows that have ended by the database's clock: what [`super::Upkeep::delete_expired`] would delete.
    pub expired_rows: u64,
    /// Rows whose end cannot be read, so that nobody knows whether they have ended.
    pub unreadable_rows: u64,
    /// Bytes of the payloads of all rows, as the service wrote them.
    pub payload_bytes: u64,
    /// Bytes of the payloads of the rows that have ended.
    pub expired_payload_bytes: u64,
    /// Room that the rows take, with everything in it that is dead or empty. `None`: not told.
    pub table_bytes: Option<u64>,
    /// Room that the indexes take. `None`: not told, or counted in `table_bytes`.
    pub index_bytes: Option<u64>,
    /// The file, where a database is one file and may hold other tables too. `None`: it is not.
    pub file_bytes: Option<u64>,
    /// About how many bytes of table, indexes and file hold nothing that a statement could read: pages that are free, dead rows,
    /// holes. What [`Statistics::remedies`] give back. `None`: not told.
    pub unused_bytes: Option<u64>,
    /// Versions of rows that were updated or deleted and still take room. `None`: not told, or this database keeps none.
    pub dead_rows: Option<u64>,
    /// What gives unused room back, the one to try first at the front.
    pub remedies: Vec<Remedy>,
}

/// What an operator can run to give unused room back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remedy {
    /// The statement or the command, complete.
    pub command: String,
    /// What it costs while it runs, in half a sentence.
    pub cost: String,
}

impl Remedy {
    /// A statement or command, and what it costs while it runs.
    pub fn new(command: impl Into<String>, cost: impl Into<String>) -> Self {
        Self { command: command.into(), cost: cost.into() }
    }
}

impl Statistics {
    /// All the room that is told of: the file where there is one, else table and indexes. `None`: not told.
    pub fn total_bytes(&self) -> Option<u64> {
        let table = self.table_bytes.map(|table| table + self.index_bytes.unwrap_or(0));
        self.file_bytes.or(table)
    }

    /// What is left of [`Statistics::total_bytes`] without [`Statistics::unused_bytes`]. `None`: either is not told.
    pub fn used_bytes(&self) -> Option<u64> {
        Some(self.total_bytes()?.saturating_sub(self.unused_bytes?))
    }
}
