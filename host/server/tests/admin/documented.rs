//! What the OpenAPI document says of the admin API, compared with what is answered.

use std::path::Path;

use serde_json::Value;

use super::{Operator, alone};
use crate::client::Answer;

const METHODS: [&str; 2] = ["get", "post"];

fn document() -> Value {
    serde_json::from_str(&switchover_server::admin_document()).unwrap()
}

/// Fails if the document does not say that the operation has such an answer. Paths that it does not have are left out.
pub(super) fn ensure(method: &str, path: &str, answer: &Answer) {
    let document = document();
    let path = path.split('?').next().unwrap();
    let Some(operation) = document["paths"][path].get(method.to_lowercase()) else { return };
    let response = &operation["responses"][answer.status.to_string()];
    assert!(response.is_object(), "{method} {path}: the document has no {}: {answer:?}", answer.status);
    if let Some(code) = answer.header("switchover-error") {
        let codes = response["x-codes"].as_array().unwrap();
        assert!(codes.iter().any(|known| known == code), "{method} {path}: the document has no `{code}`: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn committed_admin_document_is_that_of_the_routes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("admin-openapi.json");
    let made = switchover_server::admin_document();
    if std::env::var_os("UPDATE_GOLDENFILES").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    assert_eq!(committed, made, "write it anew with UPDATE_GOLDENFILES=1, and read the difference");

    let switchover = alone().await;
    let operator = Operator::of(&switchover);
    let path = "/v1/admin/openapi.json";
    assert_eq!(operator.client.ask("GET", path, "", b"").await.status, 401);
    assert_eq!(operator.client.ask("GET", path, &operator.headers, b"").await.body, committed.as_bytes());
    assert!(operator.audited().is_empty(), "looking is not written");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_documented_operation_is_a_route_and_says_what_it_refuses() {
    let switchover = alone().await;
    let operator = Operator::of(&switchover);
    let document = document();
    let mut known = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in METHODS.into_iter().filter(|method| item.get(method).is_some()) {
            let answer = operator.client.ask(&method.to_uppercase(), path, "", b"").await;
            assert_eq!(answer.header("switchover-error"), Some("unauthorized"), "{method} {path}");
            ensure(method, path, &answer);
            let operation = &item[method];
            assert!(operation["summary"].is_string(), "{path}");
            // Only what changes something can be repeated with other results.
            let says = operation["description"].as_str().unwrap_or_default();
            assert!(method == "get" || says.contains("epeat"), "{path} does not say what happens if it is repeated");
            known += 1;
        }
    }
    assert_eq!(known, 25);
}
