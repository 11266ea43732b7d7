//! The span of a change of the policy or of the epoch.

use std::pin::Pin;

use switchover_core::capabilities::{Fence, FlagSnapshot};
use switchover_runtime::{PolicyVersion, SwapError};
use tracing::Span;
use tracing::field::Empty;

use super::outcome::{Outcome as _, failed};
use super::{TARGET, flags, inside};

/// A change of what calls run under. It ends when this is dropped.
pub(crate) struct ChangeSpan(Span);

impl ChangeSpan {
    /// Begins, inside the span of the operator's request if there is one.
    pub(crate) fn begin(change: &'static str) -> Self {
        Self(tracing::debug_span!(
            target: TARGET,
            "change",
            "otel.name" = %format_args!("change {change}"),
            "switchover.change" = change,
            "otel.status_code" = Empty,
            "error.type" = Empty,
        ))
    }

    /// Makes the change.
    pub(crate) async fn around<T>(
        &self,
        work: Pin<&mut impl Future<Output = Result<T, SwapError>>>,
    ) -> Result<T, SwapError> {
        inside(&self.0, work).await.inspect_err(|error| failed(&self.0, error.error_type()))
    }

    /// Says what is in force after it.
    pub(crate) fn made(&self, version: &PolicyVersion, flags: &FlagSnapshot, fence: Option<&Fence>) {
        flags::evaluated(&self.0, version, flags, fence);
    }
}
