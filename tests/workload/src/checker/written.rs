//! Which call wrote a payload, whether the write succeeded or not.

use std::collections::HashMap;

use crate::checker::Kind;
use crate::history::{Action, KeyId, Operation, Outcome, Row};

#[derive(Clone, Copy)]
struct Author {
    key: KeyId,
    digest: u32,
    /// Whether the call may have written: it was not answered "nothing was written".
    may_have_written: bool,
}

/// Every payload of a call, by its version.
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

    /// The kind of fault if `key`, which took over from `ancestors`, holds a payload that no write explains.
    pub(super) fn unexplained(&self, row: Row, key: KeyId, ancestors: &[KeyId]) -> Kind {
        match self.0.get(&row.version) {
            Some(author) if author.digest != row.digest => Kind::Phantom,
            Some(author) if author.key == key || ancestors.contains(&author.key) => {
                match (author.may_have_written, author.key == key) {
                    (false, _) => Kind::FailedWrite,
                    // It was read before any call had written it.
                    (true, true) => Kind::Phantom,
                    (true, false) => Kind::StaleCycle,
                }
            }
            Some(_) => Kind::ForeignPayload,
            None => Kind::Phantom,
        }
    }
}
