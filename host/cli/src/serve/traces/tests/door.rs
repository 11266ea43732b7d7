//! A server with one host, asked over TCP.

use std::net::SocketAddr;
use std::time::Duration;

use axum::http::Method;
use opentelemetry_http::{Bytes, HttpClient as _, Request, Response};
use switchover::Switchover;
use switchover_server::{Admin, Audit, Doors, Server};

use super::collector::COLLECTOR;
use crate::serve::traces::client::Client;
use crate::serve::traces::continue_trace;
use crate::serve::traces::environment::Environment;

/// The payload of every session here.
pub(super) const PAYLOAD: &str = "payload-that-nobody-may-see";
pub(super) const END: &str = "2100-01-01T00:00:00Z";
/// The span of the caller.
pub(super) const CALLER: &str = "00f067aa0ba902b7";

pub(super) struct Door {
    address: SocketAddr,
    operators: SocketAddr,
    client: Client,
    _server: Server,
}

impl Door {
    pub(super) fn open(switchover: &Switchover) -> Self {
        let _collects = &*COLLECTOR;
        let doors = Doors::new(switchover).with_trace_parents(continue_trace);
        let admin = Admin::new(switchover, Audit::to_log()).with_trace_parents(continue_trace);
        let mut server = Server::new(doors.clone());
        let any = "127.0.0.1:0".parse().unwrap();
        let address = server.tcp(any, doors.routes(), None).unwrap();
        let operators = server.tcp(any, admin.routes(), None).unwrap();
        let environment = Environment { timeout: Duration::from_secs(10), certificate: None, has_service_name: true };
        Self { address, operators, client: Client::new(&environment).unwrap(), _server: server }
    }

    /// One request of a session, in the trace of this id.
    pub(super) async fn ask(&self, trace: &str, method: Method, path: &str) -> Response<Bytes> {
        self.send(self.address, trace, method, path, PAYLOAD.into()).await
    }

    /// One request of an operator.
    pub(super) async fn order(&self, trace: &str, method: Method, path: &str) -> Response<Bytes> {
        self.send(self.operators, trace, method, path, Bytes::new()).await
    }

    /// As [`Door::ask`], with this body in place of a payload.
    pub(super) async fn ask_with(&self, trace: &str, path: &str, body: String) -> Response<Bytes> {
        self.send(self.address, trace, Method::POST, path, body.into()).await
    }

    async fn send(&self, to: SocketAddr, trace: &str, method: Method, path: &str, body: Bytes) -> Response<Bytes> {
        let has_payload = method == Method::PUT || path == "/v1/sessions";
        let kind = match path {
            _ if has_payload => "application/octet-stream",
            _ if path.contains("/policy/") => "application/wasm",
            _ => "application/json",
        };
        let body = if has_payload || path.starts_with("/v1/router") { body } else { Bytes::new() };
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{to}{path}"))
            .header("traceparent", format!("00-{trace}-{CALLER}-01"))
            .header("Session-Expires", END)
            .header("Content-Type", kind)
            .body(body);
        self.client.send_bytes(request.unwrap()).await.unwrap()
    }
}
