//! The words that every interface shares: `wit/types.wit`.

use std::fmt;

/// Microseconds since the Unix epoch, UTC.
pub type Instant = u64;

/// The result of everything a policy does or asks for.
pub type Result<T> = std::result::Result<T, Error>;

/// How a save treats a row that is already there, or is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SaveMode {
    /// The row must not exist yet, not even expired.
    Create,
    /// The row must exist; an update never inserts.
    Update,
}

/// What a write came to. None of these is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SaveOutcome {
    /// The write is durable at its home and at every strict mirror.
    Saved,
    /// A create found a row under this key. Nothing was written.
    Exists,
    /// An update or a touch found no row under this key. Nothing was written.
    Missing,
    /// The row changed since it was read. Nothing was written.
    Conflict,
}

/// Why something failed. A program decides by `code`; `message` is for people and holds neither keys nor payloads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The kind of failure.
    pub code: ErrorCode,
    /// Whether the same call may succeed when it is made again.
    pub retryable: bool,
    /// For people: what failed, and what to do about it.
    pub message: String,
}

impl Error {
    /// An error of a kind; whether it is retryable follows from the kind.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, retryable: code.is_retryable(), message: message.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Error {}

/// The kinds of failure; `wit/types.wit` says what each means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// Could not be reached; nothing was written.
    Unavailable,
    /// No answer before the deadline; nothing was written.
    Timeout,
    /// A write was sent and may have happened, now or later.
    UnknownOutcome,
    /// Not granted, or another key than the call's.
    Denied,
    /// An argument, a setting or a flag has a value that cannot be.
    Invalid,
    /// The payload is larger than allowed.
    TooLarge,
    /// A row could not be read as a session.
    Corrupt,
    /// The database refused the caller's epoch.
    Fenced,
    /// Somebody else changed the row at the same time.
    Conflict,
    /// A queue is full.
    Overloaded,
    /// This host or this database cannot do that.
    Unsupported,
    /// A fault of the policy or of the host.
    Internal,
}

impl ErrorCode {
    /// Every kind, in the order of the contract.
    pub const ALL: [Self; 12] = [
        Self::Unavailable,
        Self::Timeout,
        Self::UnknownOutcome,
        Self::Denied,
        Self::Invalid,
        Self::TooLarge,
        Self::Corrupt,
        Self::Fenced,
        Self::Conflict,
        Self::Overloaded,
        Self::Unsupported,
        Self::Internal,
    ];

    /// The word of the contract, as it stands in `wit/types.wit`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::UnknownOutcome => "unknown-outcome",
            Self::Denied => "denied",
            Self::Invalid => "invalid",
            Self::TooLarge => "too-large",
            Self::Corrupt => "corrupt",
            Self::Fenced => "fenced",
            Self::Conflict => "conflict",
            Self::Overloaded => "overloaded",
            Self::Unsupported => "unsupported",
            Self::Internal => "internal",
        }
    }

    /// Whether the same call may succeed when it is made again.
    pub fn is_retryable(self) -> bool {
        match self {
            Self::Unavailable | Self::Timeout | Self::UnknownOutcome | Self::Conflict | Self::Overloaded => true,
            Self::Denied
            | Self::Invalid
            | Self::TooLarge
            | Self::Corrupt
            | Self::Fenced
            | Self::Unsupported
            | Self::Internal => false,
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
