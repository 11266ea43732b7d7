//! Counts of the whole run, shared by all tasks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use switchover::Error;

/// How often each call ended in each error, by the names of call and error.
pub type Errors = BTreeMap<&'static str, BTreeMap<&'static str, u64>>;

/// How many errors are shown at the end. The others are only counted.
const ERRORS_SHOWN_MAX: usize = 5;

/// The counts.
#[derive(Default)]
pub struct Meter {
    calls: AtomicU64,
    failed: AtomicU64,
    unknown: AtomicU64,
    by_call: Mutex<Errors>,
    errors: Mutex<Vec<String>>,
}

impl Meter {
    /// Counts a call that was answered.
    pub fn answered(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a call that ended in an error.
    pub fn failed(&self, call: &'static str, error: &Error) {
        let mut by_call = self.by_call.lock().unwrap_or_else(PoisonError::into_inner);
        *by_call.entry(call).or_default().entry(code(error)).or_default() += 1;
        drop(by_call);
        self.calls.fetch_add(1, Ordering::Relaxed);
        let counter = if error.is_unknown_outcome() { &self.unknown } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        self.show(error.to_string());
    }

    /// Counts an answer that no store may give. Its call was counted as answered before.
    pub fn absurd(&self, answer: String) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        self.show(answer);
    }

    /// The number of calls so far.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// The number of calls so far that failed and wrote nothing.
    pub fn failures(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// The number of calls so far with an unknown outcome.
    pub fn unknown_outcomes(&self) -> u64 {
        self.unknown.load(Ordering::Relaxed)
    }

    /// The number of calls that failed and wrote nothing, and the number with an unknown outcome.
    pub fn errors_by_call(&self) -> Errors {
        self.by_call.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The first errors, for people.
    pub fn errors(&self) -> Vec<String> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn show(&self, error: String) {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        if errors.len() < ERRORS_SHOWN_MAX && !errors.contains(&error) {
            errors.push(error);
        }
    }
}

/// The kind of an error, in the contract's word if it has one.
fn code(error: &Error) -> &'static str {
    match error {
        Error::CycleIncomplete { .. } => "cycle-incomplete",
        Error::Policy { .. } => "policy",
        error => error.code().as_str(),
    }
}
