//! A panic in a thread costs the commands that it had in hand, and nothing that comes later.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Serves a command. `None`: it panicked, which has dropped its requests and so told their callers; what was begun on the connection
/// is for the caller to undo.
pub(super) fn survive<T>(serve: impl FnOnce() -> T) -> Option<T> {
    let served = catch_unwind(AssertUnwindSafe(serve));
    if served.is_err() {
        tracing::error!("a thread of an SQLite database panicked, which is a bug; it goes on");
    }
    served.ok()
}
