//! Records the outcome and time of every call, and how long the machine itself stood still.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use switchover::capabilities::DatabaseError;
use switchover::{Error, ErrorCode};

/// How long the watcher of the machine sleeps. If it sleeps longer, the machine stood still.
const NAP: Duration = Duration::from_millis(1);

/// The outcome of a call of a service, or of an operation of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Ok,
    /// Answered, but not with what was acknowledged last.
    Wrong,
    Unavailable,
    Timeout,
    Unknown,
    Overloaded,
    Conflict,
    Other,
}

impl Outcome {
    /// The kinds of failure, in the order of the report.
    pub(crate) const FAILURES: [(Self, &str); 6] = [
        (Self::Unavailable, "unavailable"),
        (Self::Timeout, "timeout"),
        (Self::Unknown, "unknown"),
        (Self::Overloaded, "overloaded"),
        (Self::Conflict, "conflict"),
        (Self::Other, "other"),
    ];
}

impl From<&DatabaseError> for Outcome {
    fn from(error: &DatabaseError) -> Self {
        match error {
            DatabaseError::Unavailable { .. } => Self::Unavailable,
            DatabaseError::Timeout => Self::Timeout,
            DatabaseError::UnknownOutcome { .. } => Self::Unknown,
            DatabaseError::Overloaded => Self::Overloaded,
            DatabaseError::Conflict { .. } => Self::Conflict,
            _ => Self::Other,
        }
    }
}

impl From<&Error> for Outcome {
    fn from(error: &Error) -> Self {
        match error {
            Error::Unavailable { code: ErrorCode::Timeout, .. } => Self::Timeout,
            Error::Unavailable { code: ErrorCode::Conflict, .. } => Self::Conflict,
            Error::Unavailable { .. } => Self::Unavailable,
            Error::UnknownOutcome { .. } => Self::Unknown,
            Error::Overloaded { .. } => Self::Overloaded,
            _ => Self::Other,
        }
    }
}

/// One call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) client: usize,
    /// The kind of call.
    pub(crate) what: &'static str,
    pub(crate) begun: Instant,
    pub(crate) ended: Instant,
    pub(crate) outcome: Outcome,
}

impl Entry {
    pub(crate) fn took(&self) -> Duration {
        self.ended - self.begun
    }
}

/// Calls that have ended. It holds those of one fault at a time.
#[derive(Default)]
pub(crate) struct Journal {
    pages: Mutex<Pages>,
}

#[derive(Default)]
pub(crate) struct Pages {
    pub(crate) entries: Vec<Entry>,
    /// When each standstill of the machine ended, and how long it lasted.
    pub(crate) stalls: Vec<(Instant, Duration)>,
    /// The message of the first call that failed or got a wrong answer.
    pub(crate) trouble: Option<String>,
}

impl Journal {
    /// An empty journal, with a thread that watches the machine as long as the journal is used.
    pub(crate) fn open() -> Arc<Self> {
        let journal = Arc::new(Self::default());
        let weak = Arc::downgrade(&journal);
        std::thread::spawn(move || watch(&weak));
        journal
    }

    /// When the correctly answered calls after an instant ended.
    pub(crate) fn answered_after(&self, instant: Instant) -> Vec<Instant> {
        let pages = self.pages();
        let answered = pages.entries.iter().filter(|entry| entry.outcome == Outcome::Ok && entry.ended >= instant);
        answered.map(|entry| entry.ended).collect()
    }

    /// Takes all entries, and starts again with none.
    pub(crate) fn take(&self) -> Pages {
        std::mem::take(&mut *self.pages())
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes the entries of one client.
pub(crate) struct Pen {
    pub(crate) journal: Arc<Journal>,
    pub(crate) client: usize,
}

impl Pen {
    /// Records a call that ends now. `trouble` describes a failure, without keys and payloads.
    pub(crate) fn write(&self, what: &'static str, begun: Instant, outcome: Outcome, trouble: Option<String>) {
        let entry = Entry { client: self.client, what, begun, ended: Instant::now(), outcome };
        let mut pages = self.journal.pages();
        pages.entries.push(entry);
        if let Some(trouble) = trouble {
            pages.trouble.get_or_insert_with(|| format!("{what}: {trouble}"));
        }
    }
}

fn watch(journal: &Weak<Journal>) {
    loop {
        let begun = Instant::now();
        std::thread::sleep(NAP);
        let late = begun.elapsed().saturating_sub(NAP);
        let Some(journal) = journal.upgrade() else { return };
        if late > NAP {
            journal.pages().stalls.push((Instant::now(), late));
        }
    }
}
