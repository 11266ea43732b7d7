//! Errors, named by who must act. No message holds a key or a payload.

use std::fmt;

use switchover_contract::ErrorCode;
use switchover_core::SessionKey;

use crate::status::PolicyVersion;

/// Why a call failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The service asked for what cannot be: mend the call. Nothing was written.
    Invalid {
        /// `invalid` or `too-large`.
        code: ErrorCode,
        /// What is wrong with it.
        message: String,
    },
    /// A database could not do it now, and nothing was written: try again, and look after the database.
    Unavailable {
        /// Which kind of failure: `unavailable`, `timeout`, `conflict`, `fenced`, `corrupt`, and so on.
        code: ErrorCode,
        /// What failed, as the policy and the database tell it.
        message: String,
    },
    /// A write was sent and may have happened, now or later: safe to repeat. The host carries it to an agreed state by itself
    /// where a mirror is involved.
    UnknownOutcome {
        /// What happened instead of an answer.
        message: String,
    },
    /// Too many calls are under way, or a change of flags takes long: try again later. Nothing was written.
    Overloaded {
        /// What there is too much of.
        message: String,
    },
    /// The policy is at fault, and the databases may be fine: roll the policy back. Nothing was written.
    Policy {
        /// Which policy.
        version: Box<PolicyVersion>,
        /// What it did.
        source: PolicyFault,
    },
    /// The session has a new key, but its old one could not be deleted and may live: hand the new key out, and delete the old one
    /// again.
    CycleIncomplete {
        /// The key that the session has now.
        new_key: SessionKey,
        /// Why the old key was not deleted.
        source: Box<Error>,
    },
    /// The host was closed.
    Closed,
}

impl Error {
    /// Whether the same call may succeed when it is made again.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable { code, .. } => code.is_retryable(),
            Self::UnknownOutcome { .. } | Self::Overloaded { .. } => true,
            Self::CycleIncomplete { .. } | Self::Invalid { .. } | Self::Policy { .. } | Self::Closed => false,
        }
    }

    /// Which kind of failure this is, in a word that stays the same where messages change: for metrics, alerts and the answers of a
    /// service. [`ErrorCode::as_str`] gives the contract's word, `unknown-outcome` for example.
    ///
    /// | error | code |
    /// | --- | --- |
    /// | [`Error::Invalid`], [`Error::Unavailable`] | the one that it carries |
    /// | [`Error::UnknownOutcome`], [`Error::CycleIncomplete`] | `unknown-outcome` |
    /// | [`Error::Overloaded`] | `overloaded` |
    /// | [`Error::Policy`] | `internal` |
    /// | [`Error::Closed`] | `unavailable` |
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid { code, .. } | Self::Unavailable { code, .. } => *code,
            Self::UnknownOutcome { .. } | Self::CycleIncomplete { .. } => ErrorCode::UnknownOutcome,
            Self::Overloaded { .. } => ErrorCode::Overloaded,
            Self::Policy { .. } => ErrorCode::Internal,
            Self::Closed => ErrorCode::Unavailable,
        }
    }

    /// Whether something may have been written in spite of the error.
    pub fn is_unknown_outcome(&self) -> bool {
        matches!(self, Self::UnknownOutcome { .. } | Self::CycleIncomplete { .. })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid { code, message } | Self::Unavailable { code, message } => write!(f, "{code}: {message}"),
            Self::UnknownOutcome { message } => {
                write!(f, "the outcome of a write is not known, it is safe to repeat: {message}")
            }
            Self::Overloaded { message } => write!(f, "overloaded, try again later: {message}"),
            Self::Policy { version, source } => write!(f, "policy {version} failed: {source}"),
            Self::CycleIncomplete { source, .. } => {
                write!(f, "the session has its new key, but the old one may live, delete it again: {source}")
            }
            Self::Closed => f.write_str("this host was closed"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Policy { source, .. } => Some(source),
            Self::CycleIncomplete { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// What a policy did that it must not do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PolicyFault {
    /// It trapped: a panic, an access out of bounds, a stack that is too deep, a host call with broken arguments.
    Trap {
        /// The reason, as the runtime tells it.
        message: String,
    },
    /// It used more processor time than one call may.
    CpuTime,
    /// It did not end in time, waiting for databases included.
    WallTime,
    /// It made more host calls than one call may.
    HostCalls,
    /// It said "no session" although no database had said so, or although the last one that it asked did not answer.
    FalseAbsence,
    /// It told of an outcome that no database gave in this call, "saved" without a saved write for example.
    FalseOutcome {
        /// What it told.
        claimed: &'static str,
    },
    /// It answered with a session of another key, or of an earlier call.
    ForeignSession,
    /// It could not be started.
    Start {
        /// Why.
        message: String,
    },
}

impl fmt::Display for PolicyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trap { message } => write!(f, "it trapped: {message}"),
            Self::CpuTime => f.write_str("it used more processor time than the limit `call_cpu_time`"),
            Self::WallTime => f.write_str("it did not end within the limit `call_wall_time`"),
            Self::HostCalls => f.write_str("it made more host calls than the limit `host_calls_max`"),
            Self::FalseAbsence => f.write_str(
                "it answered \"no session\", but the last database that it asked had not said so, or it had asked none",
            ),
            Self::FalseOutcome { claimed } => {
                write!(f, "it answered `{claimed}`, which no database had answered in this call")
            }
            Self::ForeignSession => f.write_str("it answered with a session of another key or of an earlier call"),
            Self::Start { message } => write!(f, "it could not be started: {message}"),
        }
    }
}

impl std::error::Error for PolicyFault {}

/// Why a policy was not taken into use. The policy that was running goes on.
#[derive(Debug)]
#[non_exhaustive]
pub enum SwapError {
    /// The policy itself cannot be used: not a component, another world, a fault in its trial, a database it was not given.
    Rejected {
        /// What is wrong with it, and what to do.
        message: String,
    },
    /// The calls under the old policy did not end in time; they go on under it. Try again.
    NotDrained {
        /// How many calls and writes were under way.
        in_flight: usize,
    },
    /// There is no previous policy to go back to.
    NoPrevious,
    /// The host was closed.
    Closed,
}

impl fmt::Display for SwapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected { message } => write!(f, "the policy was rejected: {message}"),
            Self::NotDrained { in_flight } => {
                write!(f, "{in_flight} calls under the old policy or flags did not end in time; they go on, try again")
            }
            Self::NoPrevious => f.write_str("there is no previous policy to go back to"),
            Self::Closed => f.write_str("this host was closed"),
        }
    }
}

impl std::error::Error for SwapError {}

pub(crate) fn rejected(message: String) -> SwapError {
    SwapError::Rejected { message }
}
