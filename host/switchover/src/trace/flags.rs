//! The policy and the phase as feature flags, in OpenTelemetry's
//! [conventions](https://opentelemetry.io/docs/specs/semconv/feature-flags/feature-flags-events/).
//!
//! `feature_flag.context.id` is left out: it would be the key of a session.

use switchover_core::capabilities::{Fence, FlagSnapshot};
use switchover_protocol::Phase;
use switchover_runtime::PolicyVersion;
use tracing::{Level, Span};

use super::TARGET;
use crate::migration::PHASE_FLAG;

const EVENT: &str = "feature_flag.evaluation";
const PROVIDER: &str = "switchover";
/// The flag whose variants are the policies.
const POLICY_FLAG: &str = "switchover.policy";
/// Policy and phase are the same for every session, so nothing is evaluated for one.
const REASON: &str = "static";

/// Says on a span which policy and which phase are in force for it.
pub(super) fn evaluated(span: &Span, version: &PolicyVersion, flags: &FlagSnapshot, fence: Option<&Fence>) {
    if span.is_disabled() {
        return;
    }
    tracing::event!(
        name: EVENT,
        target: TARGET,
        parent: span,
        Level::DEBUG,
        "feature_flag.key" = POLICY_FLAG,
        "feature_flag.provider.name" = PROVIDER,
        "feature_flag.result.variant" = %format_args!("{} {}", version.name, version.version),
        "feature_flag.result.reason" = REASON,
        "feature_flag.version" = version.digest,
    );
    if let Some(phase) = flags.value(PHASE_FLAG).and_then(Phase::parse) {
        tracing::event!(
            name: EVENT,
            target: TARGET,
            parent: span,
            Level::DEBUG,
            "feature_flag.key" = PHASE_FLAG,
            "feature_flag.provider.name" = PROVIDER,
            "feature_flag.result.variant" = %phase,
            "feature_flag.result.reason" = REASON,
            "feature_flag.set.id" = fence.map(|fence| &*fence.migration),
            "feature_flag.version" = fence.map(|fence| fence.epoch.0.to_string()),
        );
    }
}
