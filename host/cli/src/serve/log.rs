//! What becomes of the program's log, and of the spans of its calls.

use std::io;

use anyhow::Result;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry};

pub(super) use self::kind::{continue_trace, end, start};

/// With traces, if the environment wants them.
#[cfg(feature = "otel")]
mod kind {
    use super::*;
    use crate::serve::traces::Traces;
    pub(in crate::serve) use crate::serve::traces::continue_trace;

    pub(in crate::serve) fn start() -> Result<Option<Traces>> {
        let traces = Traces::from_environment()?;
        Registry::default().with(traces.as_ref().map(Traces::layer)).with(lines()).init();
        Ok(traces)
    }

    pub(in crate::serve) async fn end(traces: Option<Traces>) {
        if let Some(traces) = traces {
            traces.end().await;
        }
    }
}

/// The log alone.
#[cfg(not(feature = "otel"))]
mod kind {
    use axum::http::HeaderMap;
    use tracing::Span;

    use super::*;

    /// What says that traces are wanted.
    const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];

    pub(in crate::serve) struct NoTraces;

    pub(in crate::serve) fn start() -> Result<NoTraces> {
        Registry::default().with(lines()).init();
        if let Some(name) = ENDPOINTS.into_iter().find(|name| std::env::var_os(name).is_some()) {
            tracing::warn!("{name} is set, but this program was built without the feature `otel`: it sends no traces");
        }
        Ok(NoTraces)
    }

    pub(in crate::serve) async fn end(_: NoTraces) {}

    pub(in crate::serve) fn continue_trace(_: &HeaderMap, _: &Span) {}
}

/// Lines on standard error.
fn lines<S: Subscriber + for<'span> LookupSpan<'span>>() -> impl Layer<S> {
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_target(false).with_ansi(false);
    lines.with_filter(LevelFilter::INFO)
}
