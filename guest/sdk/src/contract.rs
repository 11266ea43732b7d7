//! The words of the contract (`wit/types.wit`, `databases.wit`, `router.wit`, `about.wit`) as plain Rust.

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

/// What is promised of a mirror when a write is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guarantee {
    /// Written together with home or not at all.
    Strict,
    /// Home is committed with a durable mark; the host carries the write over until the mark is gone.
    Marked,
    /// Tried once; a failure is counted and forgotten. Invalid for a delete.
    BestEffort,
}

/// What a mirror is brought to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MirrorAction {
    /// Home's row after the write.
    Copy,
    /// No row.
    Remove,
}

/// Another database that a write is carried to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mirror {
    /// Where to.
    pub database: String,
    /// With which promise.
    pub guarantee: Guarantee,
    /// What the mirror is brought to.
    pub action: MirrorAction,
}

/// Where a write goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// The database that decides the outcome.
    pub home: String,
    /// The database whose row lock orders the writes of one key; `None`: home.
    pub lock: Option<String>,
    /// The databases that the write is carried to, in this order.
    pub mirrors: Vec<Mirror>,
}

impl Target {
    /// Home alone, without mirrors.
    pub fn home(database: impl Into<String>) -> Self {
        Self { home: database.into(), lock: None, mirrors: Vec::new() }
    }

    /// Adds a mirror that is brought to home's row.
    pub fn copy_to(mut self, database: impl Into<String>, guarantee: Guarantee) -> Self {
        self.mirrors.push(Mirror { database: database.into(), guarantee, action: MirrorAction::Copy });
        self
    }

    /// Adds a mirror whose row is removed.
    pub fn remove_from(mut self, database: impl Into<String>, guarantee: Guarantee) -> Self {
        self.mirrors.push(Mirror { database: database.into(), guarantee, action: MirrorAction::Remove });
        self
    }
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

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// For the author of the policy.
    Debug,
    /// Something an operator may want to know.
    Info,
    /// Something an operator should look at.
    Warn,
    /// Something an operator has to act on.
    Error,
}

/// A model, as `app_label.model_name` in Django.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Model {
    /// The application's label (`sessions`).
    pub app_label: String,
    /// The model in lower case (`session`).
    pub model_name: String,
}

/// What the caller of a router knows beyond the model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Hints {
    /// The database that the instance at hand came from.
    pub instance_database: Option<String>,
    /// A key to route by, of the caller's choice.
    pub key: Option<String>,
    /// Anything else, as names and values.
    pub context: Vec<(String, String)>,
}

/// An instance of a model, for the question of relations.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Object {
    /// Its model.
    pub model: Model,
    /// The database it came from; `None`: it is new.
    pub database: Option<String>,
}

/// A policy's account of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// Its name (`fallback`).
    pub name: String,
    /// Its version, for people.
    pub version: String,
    /// Policies of the same protocol may run side by side under the same flags.
    pub protocol: String,
    /// Every database it may name under its settings.
    pub databases: Vec<String>,
    /// Every flag it reads.
    pub flags: Vec<String>,
    /// Anything else, as names and values.
    pub attributes: Vec<(String, String)>,
}
