//! Traces, by OTLP over HTTP, as the environment says. The spans are those of `switchover::trace`.

mod client;
mod environment;
#[cfg(test)]
mod tests;

use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::http::HeaderMap;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_otlp::{SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use switchover::trace::TARGET;
use tracing::{Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

use self::client::Client;
use self::environment::Environment;

/// The name of the service if the environment has none.
const SERVICE: &str = "switchover";
/// How long the last spans may take at the end. A collector that is away must not hold a restart up.
const LAST_WAIT: Duration = Duration::from_secs(3);

/// Sends spans to a collector, in batches, until it is ended.
pub(super) struct Traces(SdkTracerProvider);

impl Traces {
    /// `None`: the environment wants no traces. Needs a tokio runtime.
    #[cfg(feature = "otel")]
    pub(super) fn from_environment() -> Result<Option<Self>> {
        let environment = Environment::read(|name| std::env::var(name).ok())?;
        environment.map(|environment| Self::start(&environment, None)).transpose()
    }

    /// `endpoint` is for tests; else the exporter takes it from the environment by itself.
    fn start(environment: &Environment, endpoint: Option<&str>) -> Result<Self> {
        let client = Client::new(environment)?;
        let exporter = SpanExporter::builder().with_http().with_http_client(client);
        let exporter = match endpoint {
            None => exporter.build(),
            Some(endpoint) => opentelemetry_otlp::WithExportConfig::with_endpoint(exporter, endpoint).build(),
        };
        let exporter = exporter.context("traces: the environment variables OTEL_EXPORTER_OTLP_… are not right")?;
        let resource = Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        let resource = if environment.has_service_name { resource } else { resource.with_service_name(SERVICE) };
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build());
        Ok(Self(provider.build()))
    }

    /// Takes the spans of this project, and nothing else: neither the log nor what libraries do.
    pub(super) fn layer<S: Subscriber + for<'span> LookupSpan<'span>>(&self) -> impl Layer<S> + use<S> {
        let scope = InstrumentationScope::builder(SERVICE).with_version(env!("CARGO_PKG_VERSION")).build();
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer_with_scope(scope))
            // Places in the source and threads say nothing to who reads a trace.
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(Targets::new().with_target(TARGET, tracing::Level::DEBUG))
    }

    /// Sends what is left.
    pub(super) async fn end(self) {
        let sent = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(LAST_WAIT)).await;
        if let Ok(Err(error)) = sent {
            tracing::warn!("the last traces were not sent: {error}");
        }
    }
}

/// Puts a span under that of the caller, by the headers `traceparent` and `tracestate` of W3C.
pub(super) fn continue_trace(headers: &HeaderMap, span: &Span) {
    let caller = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
    // It fails only for a span that nobody collects.
    let _ = span.set_parent(caller);
}
