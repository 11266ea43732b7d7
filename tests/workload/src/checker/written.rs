//! Who wrote a payload, whatever became of it.

use std::collections::HashMap;

use crate::checker::Kind;
use crate::history::{Action, KeyId, Operation, Outcome, Row};

#[derive(Clone, Copy)]
struct Author {
    key: KeyId,
    digest: u32,
    /// Not told that nothing was written.
    may_have_written: bool,
}

/// Every payload that a call gave, by its version.
pub(super) struct Written(HashMap<u32, Author>);

impl Written {
    pub(super) fn by(operations: &[Operation]) -> Self {
        let mut written = HashMap::new();
        for operation in operations {
            if let Action::Create(row) | Action::Save(row) = operation.action {
                let may_have_written = matches!(operation.outcome, Outcome::Done | Outcome::Unknown);
                written.insert(row.version, Author { key: operation.key, digest: row.digest, may_have_written });
            }
        }
        Self(written)
    }

    /// What it is called that `key`, which took over from `ancestors`, holds a payload that no write explains.
    pub(super) fn unexplained(&self, row: Row, key: KeyId, ancestors: &[KeyId]) -> Kind {
        match self.0.get(&row.version) {
            Some(author) if author.digest != row.digest => Kind::Phantom,
            Some(author) if author.key == key || ancestors.contains(&author.key) => {
                match (author.may_have_written, author.key == key) {
                    (false, _) => Kind::FailedWrite,
                    // Read before anybody had written it.
                    (true, true) => Kind::Phantom,
                    (true, false) => Kind::StaleCycle,
                }
            }
            Some(_) => Kind::ForeignPayload,
            None => Kind::Phantom,
        }
    }
}
