//! The statistics of a session table: what it holds, and how much room it takes.

/// What a table holds, counted, and how much room it takes, as far as its database reports it. All bytes are those of
/// this table and its indexes, except [`Statistics::file_bytes`].
///
/// A backend outside this crate starts from `Statistics::default()` and sets the fields that it knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// All rows, also those that have ended.
    pub rows: u64,
    /// Rows that have ended by the database's clock. [`super::Upkeep::delete_expired`] would delete them.
    pub expired_rows: u64,
    /// Rows whose end cannot be read. It is not known whether they have ended.
    pub unreadable_rows: u64,
    /// Bytes of the payloads of all rows, as the service wrote them.
    pub payload_bytes: u64,
    /// Bytes of the payloads of the rows that have ended.
    pub expired_payload_bytes: u64,
    /// Room that the rows take, including dead rows and empty space. `None`: not reported.
    pub table_bytes: Option<u64>,
    /// Room that the indexes take. `None`: not reported, or included in `table_bytes`.
    pub index_bytes: Option<u64>,
    /// Size of the file, for a database that is one file and may hold other tables too. `None`: the database is not one
    /// file.
    pub file_bytes: Option<u64>,
    /// About how many bytes of table, indexes and file hold nothing that a statement could read: free pages, dead rows,
    /// holes. The [`Statistics::remedies`] give this room back. `None`: not reported.
    pub unused_bytes: Option<u64>,
    /// Versions of rows that were updated or deleted and still take room. `None`: not reported, or this database keeps
    /// none.
    pub dead_rows: Option<u64>,
    /// What gives unused room back. The first one is the one to try first.
    pub remedies: Vec<Remedy>,
}

/// A command that gives unused room back when an operator runs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remedy {
    /// The complete statement or command.
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
    /// All the room that is reported: the size of the file if there is one, otherwise table and indexes. `None`: not
    /// reported.
    pub fn total_bytes(&self) -> Option<u64> {
        let table = self.table_bytes.map(|table| table + self.index_bytes.unwrap_or(0));
        self.file_bytes.or(table)
    }

    /// [`Statistics::total_bytes`] less [`Statistics::unused_bytes`]. `None`: one of the two is not reported.
    pub fn used_bytes(&self) -> Option<u64> {
        Some(self.total_bytes()?.saturating_sub(self.unused_bytes?))
    }
}
