//! Rows on their way: the text of every column, as both servers write and read it.

/// One put takes about as much as this.
const BYTES: usize = 4 << 20;
const ROWS: usize = 1_000;

/// Rows, column by column.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) columns: Vec<Vec<Option<String>>>,
    /// Whether a row that is there already stays, instead of being in the way.
    pub(super) spare: bool,
    pub(super) bytes: usize,
}

impl Rows {
    pub(super) fn new(columns: usize, spare: bool) -> Self {
        Self { columns: vec![Vec::new(); columns], spare, bytes: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.columns.first().map_or(0, Vec::len)
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes >= BYTES || self.len() >= ROWS
    }
}
