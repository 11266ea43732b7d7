//! Errors, named by who must act. No message holds a key or a payload.

use std::fmt;
use std::time::Duration;

use switchover_contract::ErrorCode;
use switchover_core::SessionKey;

use crate::status::PolicyVersion;

/// When nothing better is known: a server that cannot be reached is tried again about once a second.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Others hold a row for about as long as two commits take.
const RETRY_AFTER_CONFLICT: Duration = Duration::from_millis(50);
/// Calls that are under way end within some tens of milliseconds.
const RETRY_AFTER_OVERLOAD: Duration = Duration::from_millis(100);

/// Why a call failed, named by who must act.
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
        /// `unavailable`, `timeout` or `conflict`.
        code: ErrorCode,
        /// What failed, as the policy and the database say it.
        message: String,
    },
    /// The policy or the router asked for what it was not given, or for what this version cannot do: the operator mends the
    /// configuration or the policy. Nothing was written.
    Refused {
        /// `denied` or `unsupported`.
        code: ErrorCode,
        /// What was asked for, and what to do.
        message: String,
    },
    /// A row or a table is not what it must be, or a database refused to store a row: the operator looks at it. Nothing was written.
    Corrupt {
        /// Which row, by a short hash of its key, and what is wrong with it.
        message: String,
    },
    /// The epoch of this host is behind the fence of a migration: the host catches up by itself, try again. Nothing was written.
    Fenced {
        /// What the database said.
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
    /// A fault of the host or of a database's driver: please report it. Nothing was written.
    Internal {
        /// What was seen that cannot be.
        message: String,
    },
}

impl Error {
    /// The error of one of the contract's kinds.
    pub fn of(code: ErrorCode, message: String) -> Self {
        match code {
            ErrorCode::Invalid | ErrorCode::TooLarge => Self::Invalid { code, message },
            ErrorCode::Unavailable | ErrorCode::Timeout | ErrorCode::Conflict => Self::Unavailable { code, message },
            ErrorCode::Denied | ErrorCode::Unsupported => Self::Refused { code, message },
            ErrorCode::Corrupt => Self::Corrupt { message },
            ErrorCode::Fenced => Self::Fenced { message },
            ErrorCode::UnknownOutcome => Self::UnknownOutcome { message },
            ErrorCode::Overloaded => Self::Overloaded { message },
            ErrorCode::Internal => Self::Internal { message },
        }
    }

    /// Whether the same call may succeed when it is made again.
    pub fn is_retryable(&self) -> bool {
        self.retry_after().is_some()
    }

    /// After how long the same call may succeed, at the earliest; `None`: it will fail again until somebody has mended something. Add
    /// some jitter where many retry.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unavailable { code: ErrorCode::Conflict, .. } => Some(RETRY_AFTER_CONFLICT),
            Self::Unavailable { .. } | Self::UnknownOutcome { .. } | Self::Fenced { .. } => Some(RETRY_AFTER),
            Self::Overloaded { .. } => Some(RETRY_AFTER_OVERLOAD),
            Self::Invalid { .. }
            | Self::Refused { .. }
            | Self::Corrupt { .. }
            | Self::Policy { .. }
            | Self::CycleIncomplete { .. }
            | Self::Closed
            | Self::Internal { .. } => None,
        }
    }

    /// Which kind of failure this is, in a word that stays the same where messages change: for metrics, alerts and the answers of a
    /// service. [`ErrorCode::as_str`] gives the contract's word, `unknown-outcome` for example.
    ///
    /// | error | code |
    /// | --- | --- |
    /// | [`Error::Invalid`], [`Error::Unavailable`], [`Error::Refused`] | the one that it carries |
    /// | [`Error::Corrupt`], [`Error::Fenced`], [`Error::Overloaded`], [`Error::Internal`] | its own name |
    /// | [`Error::UnknownOutcome`], [`Error::CycleIncomplete`] | `unknown-outcome` |
    /// | [`Error::Policy`] | `internal` |
    /// | [`Error::Closed`] | `unavailable` |
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid { code, .. } | Self::Unavailable { code, .. } | Self::Refused { code, .. } => *code,
            Self::Corrupt { .. } => ErrorCode::Corrupt,
            Self::Fenced { .. } => ErrorCode::Fenced,
            Self::UnknownOutcome { .. } | Self::CycleIncomplete { .. } => ErrorCode::UnknownOutcome,
            Self::Overloaded { .. } => ErrorCode::Overloaded,
            Self::Policy { .. } | Self::Internal { .. } => ErrorCode::Internal,
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
            Self::Invalid { message, .. }
            | Self::Unavailable { message, .. }
            | Self::Refused { message, .. }
            | Self::Corrupt { message }
            | Self::Fenced { message } => write!(f, "{}: {message}", self.code()),
            Self::UnknownOutcome { message } => {
                write!(f, "the outcome of a write is not known, it is safe to repeat: {message}")
            }
            Self::Overloaded { message } => write!(f, "overloaded, try again later: {message}"),
            Self::Policy { version, source } => write!(f, "policy {version} failed: {source}"),
            Self::CycleIncomplete { source, .. } => {
                write!(f, "the session has its new key, but the old one may live, delete it again: {source}")
            }
            Self::Closed => f.write_str("this host was closed"),
            Self::Internal { message } => write!(f, "internal, please report it: {message}"),
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
    /// The policy itself cannot be used.
    Rejected {
        /// For a program.
        kind: Rejection,
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
            Self::Rejected { message, .. } => write!(f, "the policy was rejected: {message}"),
            Self::NotDrained { in_flight } => {
                write!(f, "{in_flight} calls under the old policy or flags did not end in time; they go on, try again")
            }
            Self::NoPrevious => f.write_str("there is no previous policy to go back to"),
            Self::Closed => f.write_str("this host was closed"),
        }
    }
}

impl std::error::Error for SwapError {}

/// Why a policy cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rejection {
    /// It cannot be read, or is larger than a component may be.
    Unreadable,
    /// It is no component: native code, a core module, or no WebAssembly at all; or it cannot be compiled here.
    NotAComponent,
    /// It is for another contract: it imports or exports what this host does not know.
    Contract,
    /// It does not describe itself, or not in words that can be shown.
    Description,
    /// It names a database that the host does not have.
    UnknownDatabase,
    /// It fails its trial under its settings and the flags.
    Trial,
    /// This machine cannot run it: no engine or no instance can be made.
    Machine,
}

impl Rejection {
    pub(crate) fn because(self, message: impl Into<String>) -> SwapError {
        SwapError::Rejected { kind: self, message: message.into() }
    }
}
