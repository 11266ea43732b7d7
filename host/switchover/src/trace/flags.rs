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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fmt::Debug;
    use std::sync::{Arc, Mutex};

    use switchover_core::capabilities::Epoch;
    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    use super::*;

    type Fields = BTreeMap<&'static str, String>;

    /// Collects the fields of events.
    #[derive(Clone, Default)]
    struct Events(Arc<Mutex<Vec<(&'static str, Fields)>>>);

    struct Read<'a>(&'a mut Fields);

    impl Visit for Read<'_> {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            self.0.insert(field.name(), format!("{value:?}").trim_matches('"').to_owned());
        }
    }

    impl Subscriber for Events {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, event: &Event<'_>) {
            let mut fields = Fields::new();
            event.record(&mut Read(&mut fields));
            self.0.lock().unwrap().push((event.metadata().name(), fields));
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    async fn version() -> PolicyVersion {
        let builder = crate::Switchover::builder().database("default", crate::backends::MemoryDatabase::new());
        let host = builder.policy(crate::Policy::builtin(crate::Builtin::CachedDb)).build().await;
        host.expect("it is built").policy().version
    }

    #[tokio::test]
    async fn phase_of_a_migration_has_its_name_and_its_epoch() {
        let (version, events) = (version().await, Events::default());
        let flags = FlagSnapshot::from_iter([(PHASE_FLAG, "cutover")]);
        let fence = Fence { migration: "to-db-2".into(), epoch: Epoch(7) };
        tracing::subscriber::with_default(events.clone(), || {
            let span = tracing::debug_span!(target: TARGET, "test");
            evaluated(&span, &version, &flags, Some(&fence));
        });
        let seen = events.0.lock().unwrap();
        let wanted = [
            ("feature_flag.key", "migration_phase"),
            ("feature_flag.provider.name", "switchover"),
            ("feature_flag.result.reason", "static"),
            ("feature_flag.result.variant", "cutover"),
            ("feature_flag.set.id", "to-db-2"),
            ("feature_flag.version", "7"),
        ];
        assert_eq!(seen.len(), 2);
        assert_eq!(seen[1], (EVENT, wanted.into_iter().map(|(name, value)| (name, value.to_owned())).collect()));
    }
}
