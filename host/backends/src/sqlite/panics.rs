//! A panic in a thread affects only the commands that it was working on, and no later ones.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Serves a command. Returns `None` if it panicked. The panic has dropped the requests, so their callers get an error;
/// the caller of this function must undo what was begun on the connection.
pub(super) fn survive<T>(serve: impl FnOnce() -> T) -> Option<T> {
    let served = catch_unwind(AssertUnwindSafe(serve));
    if served.is_err() {
        tracing::error!("a thread of an SQLite database panicked, which is a bug; it goes on");
    }
    served.ok()
}
