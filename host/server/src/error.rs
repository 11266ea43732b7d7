//! Why a server does not start, or ended.

use std::fmt;

/// Why the server does not start, or ended.
#[derive(Debug)]
pub struct ServeError {
    message: String,
}

impl ServeError {
    pub(crate) fn new(message: String) -> Self {
        Self { message }
    }
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ServeError {}
