//! A page of a scan. Rows are added until it is full, in number or in bytes.

use switchover_core::Session;
use switchover_core::capabilities::{Cursor, Scan, Unreadable};

/// The limit of payload bytes in one page. A tool that reads pages needs no more memory for large payloads than for
/// small ones.
const PAGE_BYTES_MAX: usize = 4 << 20;

/// A row of a page.
pub(super) enum ScannedRow {
    Living(Session),
    Expired,
    Unreadable(Unreadable),
}

impl From<Result<Session, Unreadable>> for ScannedRow {
    fn from(read: Result<Session, Unreadable>) -> Self {
        read.map_or_else(Self::Unreadable, Self::Living)
    }
}

/// A page that is being read.
pub(super) struct Page {
    scan: Scan,
    rows: u32,
    bytes: usize,
    limit: u32,
}

impl Page {
    /// A page of at most `limit` rows; a limit of 0 counts as 1.
    pub(super) fn new(limit: u32) -> Self {
        Self { scan: Scan::default(), rows: 0, bytes: 0, limit: limit.max(1) }
    }

    /// `cursor` has the bytes of the position after this row. The next page continues there.
    pub(super) fn add(&mut self, cursor: &[u8], row: ScannedRow) {
        self.rows += 1;
        match row {
            ScannedRow::Living(session) if session.others.unreadable().is_some() => {
                let column = session.others.unreadable().unwrap_or_default();
                let what = format!("has something else in its column {column} than the column's type says");
                self.scan.unreadable.push(Unreadable::new(session.key.expose().as_bytes(), what));
            }
            ScannedRow::Living(session) => {
                self.bytes += session.payload.len();
                self.scan.sessions.push(session);
            }
            ScannedRow::Expired => self.scan.expired += 1,
            ScannedRow::Unreadable(row) => self.scan.unreadable.push(row),
        }
        self.scan.next = Some(Cursor::new(cursor));
    }

    /// Whether the page takes no further row.
    pub(super) fn is_full(&self) -> bool {
        self.rows >= self.limit || self.bytes >= PAGE_BYTES_MAX
    }

    /// How many rows it has.
    #[cfg(any(feature = "postgres", feature = "mysql"))]
    pub(super) fn rows(&self) -> u32 {
        self.rows
    }

    /// `more` says whether a row follows the last one of the page.
    pub(super) fn end(mut self, more: bool) -> Scan {
        if !more {
            self.scan.next = None;
        }
        self.scan
    }
}

/// How many rows a connection asks for at a time. Rows that do not fit into the page are sent for nothing, so this
/// adapts.
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(super) struct PageRows(u32);

#[cfg(any(feature = "postgres", feature = "mysql"))]
impl Default for PageRows {
    fn default() -> Self {
        Self(u32::MAX)
    }
}

#[cfg(any(feature = "postgres", feature = "mysql"))]
impl PageRows {
    pub(super) fn at_most(&self, limit: u32) -> u32 {
        self.0.min(limit).max(1)
    }

    /// Records that `rows` of the `asked` rows were taken, and whether there were more.
    pub(super) fn were(&mut self, rows: u32, asked: u32, more: bool) {
        if rows < asked && more {
            self.0 = rows;
        } else if rows >= self.0 {
            self.0 = self.0.saturating_mul(4);
        }
    }
}
