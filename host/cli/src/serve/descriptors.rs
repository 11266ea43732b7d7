//! Open files: each connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::output::note;

/// What the process needs besides connections of callers: databases, cache, files.
const OTHERS: u64 = 256;

/// Raises the limit of open files as far as this process may, and returns how many of these connections fit below it.
pub(super) fn bounded(connections: usize) -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let Some(limit) = (if raised.is_ok() { maximum } else { current }) else { return connections };
    let fit = usize::try_from(limit.saturating_sub(OTHERS).max(1)).unwrap_or(usize::MAX);
    if fit < connections {
        note(format_args!("{limit} files may be open, so at most {fit} connections: raise the hard limit for more"));
    }
    connections.min(fit)
}
