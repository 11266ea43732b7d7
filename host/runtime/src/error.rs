//! Errors, named by who must act. No message contains a key or a payload.

use std::fmt;
use std::time::Duration;

use switchover_contract::ErrorCode;
use switchover_core::SessionKey;

use crate::status::PolicyVersion;

/// The wait if nothing better is known. The host tries a server that cannot be reached again about once a second.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Another writer holds a row for about as long as two commits take.
const RETRY_AFTER_CONFLICT: Duration = Duration::from_millis(50);
/// Calls under way end within some tens of milliseconds.
const RETRY_AFTER_OVERLOAD: Duration = Duration::from_millis(100);

/// Why a call failed, named by who must act.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// An argument is invalid: correct the call. Nothing was written.
    Invalid {
        /// `invalid` or `too-large`.
        code: ErrorCode,
        /// What is wrong with it.
        message: String,
    },
    /// A database could not do it now, and nothing was written: try again, and check the database.
    Unavailable {
        /// `unavailable`, `timeout` or `conflict`.
        code: ErrorCode,
        /// What failed, in the words of the policy and the database.
        message: String,
    },
    /// The policy or the router asked for something that it was not granted, or that this version cannot do: the
    /// operator corrects the configuration or the policy. Nothing was written.
    Refused {
        /// `denied` or `unsupported`.
        code: ErrorCode,
        /// What was asked for, and what to do.
        message: String,
    },
    /// A row or a table is not as it must be, or a database refused to store a row: the operator looks at it. Nothing
    /// was written.
    Corrupt {
        /// Which row, by a short hash of its key, and what is wrong with it.
        message: String,
    },
    /// The epoch of this host is behind the fence of a migration. The host catches up by itself: try again. Nothing was
    /// written.
    Fenced {
        /// What the database said.
        message: String,
    },
    /// A write was sent. It may have happened, or may still happen. It is safe to repeat. If the write has a mirror,
    /// the host brings home and mirror to the same row by itself.
    UnknownOutcome {
        /// What happened instead of an answer.
        message: String,
    },
    /// Too many calls are under way, or a change of flags takes too long: try again later. Nothing was written.
    Overloaded {
        /// Which limit was reached.
        message: String,
    },
    /// The policy failed; the databases may be fine. Roll the policy back. Nothing was written.
    Policy {
        /// Which policy.
        version: Box<PolicyVersion>,
        /// What it did.
        source: PolicyFault,
    },
    /// The session has a new key, but its old key could not be deleted and may still be valid. Give the new key to the
    /// client, and delete the old key again.
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
        /// What was seen that should be impossible.
        message: String,
    },
}

impl Error {
    /// The error for a code of the contract.
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

    /// Whether the same call may succeed when it is repeated.
    pub fn is_retryable(&self) -> bool {
        self.retry_after().is_some()
    }

    /// How long to wait before the same call may succeed. `None` if it will fail again until somebody corrects
    /// something. Add some jitter if many callers retry.
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

    /// The kind of failure, as a word that stays the same when messages change. It is for metrics, alerts and the
    /// answers of a service. [`ErrorCode::as_str`] returns the contract's word, `unknown-outcome` for example.
    ///
    /// | error | code |
    /// | --- | --- |
    /// | [`Error::Invalid`], [`Error::Unavailable`], [`Error::Refused`] | its field `code` |
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

    /// Whether something may have been written despite the error.
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

/// Without `source`: the text of a variant already has its cause.
impl std::error::Error for Error {}

/// What a policy did wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PolicyFault {
    /// The policy trapped: a panic, an access out of bounds, a stack that is too deep, a host call with broken
    /// arguments.
    Trap {
        /// The reason, in the words of the wasm engine.
        message: String,
    },
    /// The policy used more processor time than one call may.
    CpuTime,
    /// The policy did not end in time, waiting for databases included.
    WallTime,
    /// The policy made more host calls than one call may.
    HostCalls,
    /// The policy answered "no session", but the last database that it asked had not answered so, or it had asked none.
    FalseAbsence,
    /// The policy answered an outcome that no database gave in this call, for example "saved" without a saved write.
    FalseOutcome {
        /// What the policy answered.
        claimed: &'static str,
    },
    /// The policy answered with a session of another key, or of an earlier call.
    ForeignSession,
    /// The policy could not be started.
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

/// Why a policy was not taken into use. The running policy continues.
#[derive(Debug)]
#[non_exhaustive]
pub enum SwapError {
    /// The policy itself cannot be used.
    Rejected {
        /// The kind of rejection, for programs.
        kind: Rejection,
        /// What is wrong with the policy, and what to do.
        message: String,
    },
    /// The calls under the old policy or flags did not end in time. They continue under these. Try again.
    NotDrained {
        /// How many calls and writes were under way.
        in_flight: usize,
    },
    /// There is no previous policy to go back to.
    NoPrevious,
    /// The host takes part in a migration, whose control document names the policy for the whole fleet: change it
    /// there.
    InMigration {
        /// The migration.
        migration: String,
    },
    /// The host was closed.
    Closed,
}

impl fmt::Display for SwapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected { message, .. } => write!(f, "the policy was rejected: {message}"),
            Self::NotDrained { in_flight } => {
                write!(f, "{in_flight} calls under the old policy or flags did not end in time and continue; try again")
            }
            Self::NoPrevious => f.write_str("there is no previous policy to go back to"),
            Self::InMigration { migration } => {
                write!(f, "the migration `{migration}` names the policy; change it with `switchover migrate policy`")
            }
            Self::Closed => f.write_str("this host was closed"),
        }
    }
}

impl std::error::Error for SwapError {}

/// Why a policy cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rejection {
    /// The policy cannot be read, or is larger than a component may be.
    Unreadable,
    /// The policy is not a component (native code, a core module, or not WebAssembly), or cannot be compiled here.
    NotAComponent,
    /// The policy was built for another contract: its imports or exports do not match this host.
    Contract,
    /// The policy does not describe itself, or its description cannot be shown.
    Description,
    /// The policy names a database that the host does not have.
    UnknownDatabase,
    /// The new database of the policy's migration cannot hold everything that the old one can.
    Layout,
    /// The policy fails its trial under its settings and the flags.
    Trial,
    /// This machine cannot run the policy: no engine or no instance can be made.
    Machine,
}

impl Rejection {
    pub(crate) fn because(self, message: impl Into<String>) -> SwapError {
        SwapError::Rejected { kind: self, message: message.into() }
    }
}
