//! Why a host was not built.

use std::fmt;

use switchover_core::InvalidDatabaseName;
use switchover_runtime::SwapError;

/// Why a host was not built.
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// Something in the code or the configuration is invalid: correct it.
    Invalid {
        /// What is wrong, and how to correct it.
        message: String,
    },
    /// The policy cannot be used.
    Policy(SwapError),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid { message } => f.write_str(message),
            Self::Policy(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BuildError {}

impl From<SwapError> for BuildError {
    fn from(error: SwapError) -> Self {
        Self::Policy(error)
    }
}

impl From<InvalidDatabaseName> for BuildError {
    fn from(error: InvalidDatabaseName) -> Self {
        Self::Invalid { message: error.to_string() }
    }
}
