//! A collector in this process, and what it was sent.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::serve::traces::Traces;
use crate::serve::traces::environment::Environment;

type Received = Arc<Mutex<Vec<Bytes>>>;

/// One collector for all tests: a process has one subscriber. Tests look for their own traces.
pub(super) static COLLECTOR: LazyLock<Collector> = LazyLock::new(Collector::start);

pub(super) struct Collector {
    received: Received,
    traces: Traces,
}

impl Collector {
    /// On a runtime of its own, which outlives those of the tests.
    fn start() -> Self {
        let received = Received::default();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let take = async |State(received): State<Received>, body: Bytes| received.lock().unwrap().push(body);
        let routes = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&received));
        let started = std::thread::spawn(move || {
            let traces = runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                let endpoint = format!("http://{}/v1/traces", listener.local_addr().unwrap());
                tokio::spawn(async { axum::serve(listener, routes).await });
                let environment =
                    Environment { timeout: Duration::from_secs(10), certificate: None, has_service_name: false };
                Traces::start(&environment, Some(&endpoint)).unwrap()
            });
            Registry::default().with(traces.layer()).init();
            std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
            traces
        });
        Self { received, traces: started.join().unwrap() }
    }

    /// Every byte that was sent until now.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.traces.0.force_flush().unwrap();
        self.received.lock().unwrap().concat()
    }

    /// The spans of a trace that have ended.
    pub(super) fn trace(&self, id: &str) -> Vec<Seen> {
        self.traces.0.force_flush().unwrap();
        let bodies = self.received.lock().unwrap().clone();
        let requests = bodies.into_iter().map(|body| ExportTraceServiceRequest::decode(body).unwrap());
        let scopes = requests.flat_map(|request| request.resource_spans).flat_map(|spans| spans.scope_spans);
        scopes.flat_map(|scope| scope.spans).filter(|span| hex(&span.trace_id) == id).map(Seen).collect()
    }

    /// The attributes of the service.
    pub(super) fn service(&self) -> BTreeMap<String, String> {
        let body = self.received.lock().unwrap().first().unwrap().clone();
        let request = ExportTraceServiceRequest::decode(body).unwrap();
        text(&request.resource_spans[0].resource.as_ref().unwrap().attributes)
    }
}

/// A span that the collector was sent.
#[derive(Debug)]
pub(super) struct Seen(pub(super) Span);

impl Seen {
    pub(super) fn name(&self) -> &str {
        &self.0.name
    }

    pub(super) fn attributes(&self) -> BTreeMap<String, String> {
        text(&self.0.attributes)
    }

    pub(super) fn attribute(&self, name: &str) -> Option<String> {
        self.attributes().remove(name)
    }

    pub(super) fn is_error(&self) -> bool {
        self.0.status.as_ref().is_some_and(|status| status.code == 2)
    }

    /// Its feature flags, by their keys.
    pub(super) fn flags(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        let evaluations = self.0.events.iter().filter(|event| event.name == "feature_flag.evaluation");
        evaluations.map(|event| text(&event.attributes)).map(|flag| (flag["feature_flag.key"].clone(), flag)).collect()
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let value = |attribute: &KeyValue| match attribute.value.as_ref().and_then(|any| any.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    attributes.iter().map(|attribute| (attribute.key.clone(), value(attribute))).collect()
}
