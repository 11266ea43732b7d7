//! A page of a scan: rows until it is full, in number or in bytes.

use switchover_core::Session;
use switchover_core::capabilities::{Cursor, Scan, Unreadable};

/// Payload of one page: a tool that reads pages takes no more memory for large payloads than for small ones.
const PAGE_BYTES_MAX: usize = 4 << 20;

/// What a row of a page is.
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

/// A page while it is read.
pub(super) struct Page {
    scan: Scan,
    rows: u32,
    bytes: usize,
    limit: u32,
}

impl Page {
    /// At most `limit` rows, and at least one.
    pub(super) fn new(limit: u32) -> Self {
        Self { scan: Scan::default(), rows: 0, bytes: 0, limit: limit.max(1) }
    }

    /// `cursor`: the bytes from which the next page goes on behind this row.
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

    /// Whether no further row is to be added.
    pub(super) fn is_full(&self) -> bool {
        self.rows >= self.limit || self.bytes >= PAGE_BYTES_MAX
    }

    /// How many rows it has.
    #[cfg(any(feature = "postgres", feature = "mysql"))]
    pub(super) fn rows(&self) -> u32 {
        self.rows
    }

    /// `more`: whether a row follows the last one.
    pub(super) fn end(mut self, more: bool) -> Scan {
        if !more {
            self.scan.next = None;
        }
        self.scan
    }
}

/// How many rows a connection asks for at a time: rows that are asked for and not taken, because the page is full, travel for nothing.
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

    /// `rows` were taken of `asked`, and whether there were more.
    pub(super) fn were(&mut self, rows: u32, asked: u32, more: bool) {
        if rows < asked && more {
            self.0 = rows;
        } else if rows >= self.0 {
            self.0 = self.0.saturating_mul(4);
        }
    }
}
