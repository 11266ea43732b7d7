//! How a span ends: well, or with `error.type`, a word that stays the same. The text of an error is never in it.

use std::future::Future;

use switchover_core::capabilities::DatabaseError;
use switchover_runtime::{Error, SwapError};
use tracing::{Instrument as _, Span};

/// `error.type` of work that was dropped before it had ended.
const DROPPED: &str = "dropped";

/// An error, as the word for `error.type`.
pub(super) trait Outcome {
    fn error_type(&self) -> &'static str;
}

impl Outcome for Error {
    fn error_type(&self) -> &'static str {
        match self {
            // Its code, `internal`, would not tell it from a fault of the host.
            Self::Policy { .. } => "policy",
            Self::Closed => "closed",
            _ => self.code().as_str(),
        }
    }
}

impl Outcome for SwapError {
    fn error_type(&self) -> &'static str {
        match self {
            Self::Rejected { .. } => "rejected",
            Self::NotDrained { .. } => "not-drained",
            Self::NoPrevious => "no-previous",
            Self::InMigration { .. } => "in-migration",
            Self::Closed => "closed",
            _ => "other",
        }
    }
}

impl Outcome for DatabaseError {
    fn error_type(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "invalid",
            Self::Unavailable { .. } => "unavailable",
            Self::Timeout => "timeout",
            Self::UnknownOutcome { .. } => "unknown-outcome",
            Self::Overloaded => "overloaded",
            Self::Corrupt { .. } => "corrupt",
            Self::Fenced => "fenced",
            Self::Conflict { .. } => "conflict",
        }
    }
}

/// Marks a span as failed.
pub(super) fn failed(span: &Span, error_type: &'static str) {
    span.record("error.type", error_type);
    span.record("otel.status_code", "ERROR");
}

/// Runs an operation inside its span, and writes down how it ended.
pub(super) async fn observed<T, E: Outcome>(
    span: Span,
    work: impl Future<Output = Result<T, E>> + Unpin,
) -> Result<T, E> {
    let mut end = End { span: &span, is_reached: false };
    let answer = work.instrument(span.clone()).await;
    end.is_reached = true;
    if let Err(error) = &answer {
        failed(&span, error.error_type());
    }
    answer
}

/// Notices work that its caller has dropped: after the call's wall time for example.
struct End<'a> {
    span: &'a Span,
    is_reached: bool,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        if !self.is_reached {
            failed(self.span, DROPPED);
        }
    }
}
