//! The rows that a run left behind, in the types of the history.

use std::collections::HashMap;

use switchover::SessionKey;

use crate::contents::Scribe;
use crate::history::{KeyId, Row};
use crate::table::RawRow;

/// The rows of one table.
pub struct Rows {
    /// The rows under keys of the run.
    pub by_key: HashMap<KeyId, Row>,
    /// The number of rows under keys that the run does not know.
    pub strangers: u64,
}

impl Rows {
    /// Reads rows that `scribe` wrote. `names` are the keys of the run, by number.
    pub fn read(rows: Vec<RawRow>, names: &[SessionKey], scribe: &Scribe) -> Self {
        let ids: HashMap<&str, u32> = names.iter().map(SessionKey::expose).zip(0..).collect();
        let mut read = Self { by_key: HashMap::with_capacity(rows.len()), strangers: 0 };
        for row in rows {
            match ids.get(row.key.as_str()) {
                Some(id) => {
                    read.by_key.insert(KeyId(*id), scribe.read(&row.data, row.expires_at));
                }
                None => read.strangers += 1,
            }
        }
        read
    }
}
