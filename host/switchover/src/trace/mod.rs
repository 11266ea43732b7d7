//! Spans of calls, for traces: by the crate `tracing` alone. The service chooses what collects them.
//!
//! ```text
//! session load ──> policy phased ──> GET                       the cache
//!                       │       └──> SELECT django_session     a database
//!                       └ feature_flag.evaluation              the policy's version, the phase
//! ```
//!
//! They have the target [`TARGET`] and the level `DEBUG`, so a service that logs from `INFO` on pays a comparison for
//! each. Names and attributes are those of OpenTelemetry's conventions. No span has a key, a payload, a statement or the
//! text of an error.

mod cache;
mod call;
mod change;
mod database;
mod flags;
mod outcome;

use std::future::{Future, poll_fn};
use std::pin::Pin;

use tracing::{Level, Span};

pub(crate) use self::cache::CacheSpans;
pub(crate) use self::call::CallSpan;
pub(crate) use self::change::ChangeSpan;
pub(crate) use self::database::{TracedDatabase, TracedSideTables, TracedTransaction};

/// The target of every span and event for traces. A subscriber that collects them takes this target at the level
/// `DEBUG`.
pub const TARGET: &str = "switchover::trace";

/// The span that work which goes on in another task belongs to; none if nobody collects spans.
pub(crate) fn current() -> Span {
    if is_on() { Span::current() } else { Span::none() }
}

/// A batch in which the writes of many calls share each step. It belongs to the first call that is traced; the others
/// are linked with it, in both directions.
pub(crate) fn batch<'a>(calls: impl Iterator<Item = &'a Span>) -> Span {
    if !is_on() {
        return Span::none();
    }
    let mut calls = calls.filter(|call| !call.is_disabled()).peekable();
    let Some(first) = calls.next() else { return Span::none() };
    let batch = tracing::debug_span!(target: TARGET, parent: first, "batch", "otel.name" = "switchover.batch");
    for other in calls {
        batch.follows_from(other);
        other.follows_from(&batch);
    }
    batch
}

/// Work inside a span. The caller pins it: it is large, and is not moved once more.
pub(crate) async fn inside<T>(span: &Span, mut work: Pin<&mut impl Future<Output = T>>) -> T {
    poll_fn(|task| {
        let _inside = span.enter();
        work.as_mut().poll(task)
    })
    .await
}

fn is_on() -> bool {
    tracing::enabled!(target: TARGET, Level::DEBUG)
}
