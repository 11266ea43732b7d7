//! The spans of a call: what the service asked for, and what the policy did about it.

use std::pin::Pin;

use switchover_runtime::call::Admission;
use switchover_runtime::{Error, PolicyVersion};
use tracing::Span;
use tracing::field::Empty;

use super::outcome::{Outcome as _, failed};
use super::{TARGET, flags, inside};

/// What a service asked of sessions or the router. It ends when this is dropped.
pub(crate) struct CallSpan(Span);

impl CallSpan {
    /// Begins, inside the span of the caller.
    pub(crate) fn begin(operation: &'static str) -> Self {
        Self(tracing::debug_span!(
            target: TARGET,
            "session",
            "otel.name" = %format_args!("session {operation}"),
            "switchover.operation" = operation,
            "otel.status_code" = Empty,
            "error.type" = Empty,
        ))
    }

    /// Writes down how it ended.
    pub(crate) fn ended<T>(&self, answer: Result<T, Error>) -> Result<T, Error> {
        answer.inspect_err(|error| failed(&self.0, error.error_type()))
    }

    /// Begins one call of the policy, and says which policy and which phase are in force for it.
    pub(crate) fn policy(&self, version: &PolicyVersion, call: &'static str, admission: &Admission) -> PolicySpan {
        let span = tracing::debug_span!(
            target: TARGET,
            parent: &self.0,
            "policy",
            "otel.name" = %format_args!("policy {}", version.name),
            "switchover.policy.name" = version.name,
            "switchover.policy.version" = version.version,
            "switchover.policy.digest" = version.digest,
            "switchover.policy.call" = call,
            "otel.status_code" = Empty,
            "error.type" = Empty,
        );
        flags::evaluated(&span, version, &admission.flags, admission.fence.as_ref());
        PolicySpan(span)
    }
}

/// One call of the policy. It ends when this is dropped.
pub(crate) struct PolicySpan(Span);

impl PolicySpan {
    /// Makes the call.
    pub(crate) async fn around<T>(&self, call: Pin<&mut impl Future<Output = Result<T, Error>>>) -> Result<T, Error> {
        inside(&self.0, call).await.inspect_err(|error| failed(&self.0, error.error_type()))
    }
}
