//! The spans of what is asked of the cache.

use std::time::Duration;

use switchover_core::capabilities::{Cache, CacheError, Endpoint};
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use super::outcome::failed;
use super::{TARGET, is_on};

/// Makes the spans of one cache.
pub(crate) struct CacheSpans {
    /// The server; `None`: the cache is in this process.
    endpoint: Option<Endpoint>,
}

impl CacheSpans {
    pub(crate) fn of(cache: Option<&dyn Cache>) -> Self {
        Self { endpoint: cache.and_then(Cache::endpoint) }
    }

    /// Runs one operation, bounded in time. `Err(None)`: there was no answer in time.
    pub(crate) async fn bounded<T>(
        &self,
        operation: &'static str,
        patience: Duration,
        work: impl Future<Output = Result<T, CacheError>> + Send,
    ) -> Result<T, Option<CacheError>> {
        let span = self.span(operation);
        let answer = match tokio::time::timeout(patience, work.instrument(span.clone())).await {
            Ok(answer) => answer.map_err(Some),
            Err(_) => Err(None),
        };
        match &answer {
            Ok(_) => {}
            Err(Some(_)) => failed(&span, "unavailable"),
            Err(None) => failed(&span, "timeout"),
        }
        answer
    }

    fn span(&self, operation: &'static str) -> Span {
        // Jobs and repairs are no part of a call.
        if !is_on() || Span::current().is_disabled() {
            return Span::none();
        }
        match &self.endpoint {
            None => tracing::debug_span!(
                target: TARGET,
                "cache",
                "otel.name" = %format_args!("cache {operation}"),
                "switchover.cache.operation" = operation,
                "otel.status_code" = Empty,
                "error.type" = Empty,
            ),
            Some(server) => {
                // Look-ups are a command, or `MGET` for those of one moment; everything else is a script.
                let (name, script) = if operation == "get" { ("GET", None) } else { ("EVALSHA", Some(operation)) };
                tracing::debug_span!(
                    target: TARGET,
                    "cache",
                    "otel.name" = %format_args!("{name}{}{}", if script.is_some() { " " } else { "" }, script.unwrap_or_default()),
                    "otel.kind" = "client",
                    "db.system.name" = server.system,
                    "db.namespace" = server.namespace.as_deref(),
                    "db.operation.name" = name,
                    "db.stored_procedure.name" = script,
                    "server.address" = server.address.as_deref(),
                    "server.port" = server.port,
                    "switchover.cache.operation" = operation,
                    "otel.status_code" = Empty,
                    "error.type" = Empty,
                )
            }
        }
    }
}
