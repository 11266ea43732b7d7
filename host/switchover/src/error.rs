//! Why a host was not built, and why its limits do not change.

use std::fmt;

use switchover_core::InvalidDatabaseName;
use switchover_runtime::{Limits, SwapError};

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

/// A limit that cannot change while the host runs: what it bounds was made when the host was built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedLimit(&'static str);

impl FixedLimit {
    /// In a migration the fleet has been told how old an entry of this host's cache may be, and counts on it.
    pub(crate) fn ensure_same(present: &Limits, next: &Limits, in_migration: bool) -> Result<(), Self> {
        let fixed = [
            ("calls_in_flight_max", present.calls_in_flight_max == next.calls_in_flight_max),
            ("call_cpu_time", present.call_cpu_time == next.call_cpu_time),
            ("host_calls_max", present.host_calls_max == next.host_calls_max),
            ("warm_instances", present.warm_instances == next.warm_instances),
            ("cache_max_age", !in_migration || present.cache_max_age == next.cache_max_age),
        ];
        fixed.into_iter().find(|(_, is_same)| !is_same).map_or(Ok(()), |(name, _)| Err(Self(name)))
    }

    /// The field of [`Limits`].
    pub fn name(&self) -> &'static str {
        self.0
    }
}

impl fmt::Display for FixedLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` cannot change while the host runs: start the host again with it", self.0)
    }
}

impl std::error::Error for FixedLimit {}
