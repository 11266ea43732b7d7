//! A migration that is begun through the API.

use std::sync::Arc;

use serde_json::{Value, json};
use switchover::backends::MemoryCache;
use switchover::capabilities::Database;
use switchover::migration::{Controller, Migration};
use switchover::{Builtin, Policy, Switchover};
use tempfile::TempDir;

use super::{Operator, alone, control_in, opened};

/// The controller that a configuration would lead to, with connections of its own.
async fn configured(folder: Arc<TempDir>, new: &'static str, by: String) -> Result<Option<Controller>, String> {
    let (old, new) = (opened(&folder, "old.sqlite3").await, opened(&folder, new).await);
    Ok(Some(Controller::new("to-new", control_in(&folder), old, new, by)))
}

/// A host that takes part in no migration, on the old database.
async fn before(old: Arc<dyn Database>) -> Switchover {
    let builder = Switchover::builder().database("default", old).cache(MemoryCache::default());
    builder.policy(Policy::builtin(Builtin::CachedDb)).build().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn migration_is_begun_by_a_host_that_takes_part_in_it_from_its_next_start_on() {
    let folder = Arc::new(TempDir::new().unwrap());
    let switchover = before(opened(&folder, "old.sqlite3").await).await;
    let operator = Operator::with(&switchover, {
        let folder = Arc::clone(&folder);
        |admin| admin.with_configured(move |by| configured(Arc::clone(&folder), "new.sqlite3", by))
    });
    for (order, status) in [
        (json!({"profile": "nonsense"}), 400),
        (json!({"policy": "../x"}), 422),
        (json!({"flags": {"a=b": "c"}, "dry_run": true}), 422),
        (json!({"profil": "lazy"}), 422),
    ] {
        let (answered, told) = operator.order("migration/init", &order).await;
        assert_eq!((answered, &told["code"]), (status, &json!("invalid")), "{order}: {told}");
    }
    let statements = |told: &Value| told["statements"].as_array().unwrap().len();
    let missing = operator.get("migration/preflight").await;
    let (status, dry) = operator.order("migration/init", &json!({"dry_run": true})).await;
    assert_eq!((status, &dry), (200, &missing), "a dry run is a preflight of the same migration");
    assert!(statements(&dry) > 0 && dry["migration"] == "to-new" && dry["phase"].is_null(), "{dry}");

    let (status, begun) = operator.order("migration/init", &json!({"flags": {"colour": "blue"}})).await;
    assert_eq!((status, &begun["phase"], &begun["epoch"]), (200, &json!("off"), &json!(1)), "{begun}");
    assert_eq!(statements(&begun), statements(&missing));
    let (status, again) = operator.ask("POST", "migration/init", "", b"").await;
    assert_eq!((status, &again["phase"], statements(&again)), (200, &json!("off"), 0), "it may be repeated: {again}");
    let (status, told) = operator.ask("GET", "migration", "", b"").await;
    assert_eq!((status, &told["code"]), (404, &json!("no-migration")), "this host takes no part yet: {told}");
    let audited = operator.audited();
    assert_eq!(audited.len(), 2 * 7, "dry runs and refusals too: {audited:#?}");
    assert!(audited.iter().all(|(command, _, _)| command == "migration/init"));
    switchover.close().await;

    let next = Switchover::builder()
        .database("default", opened(&folder, "old.sqlite3").await)
        .database("new_session_store", opened(&folder, "new.sqlite3").await)
        .migration(Migration::new("to-new", "web-1", control_in(&folder)))
        .build()
        .await
        .unwrap();
    assert_eq!(next.flags().value("colour"), Some("blue"));
    let log = Operator::of(&next).get("migration/evidence").await["log"].to_string();
    assert!(log.contains("init, by alice@example.org (alice)"), "{log}");
    next.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beginning_is_refused_where_no_configuration_leads_to_two_databases() {
    let folder = Arc::new(TempDir::new().unwrap());
    let switchover = alone().await;
    let none = Operator::of(&switchover);
    let no_table = Operator::with(&switchover, |admin| admin.with_configured(async |_| Ok(None)));
    let bad = Operator::with(&switchover, |admin| admin.with_configured(async |_| Err("line 3 is wrong".to_owned())));
    let one = Operator::with(&switchover, |admin| {
        admin.with_configured(move |by| configured(Arc::clone(&folder), "old.sqlite3", by))
    });
    for (operator, status, code) in [
        (&none, 404, "no-migration"),
        (&no_table, 404, "no-migration"),
        (&bad, 409, "not-configured"),
        (&one, 422, "invalid"),
    ] {
        for (method, path) in [("POST", "migration/init"), ("GET", "migration/preflight")] {
            let (answered, told) = operator.ask(method, path, "", b"").await;
            assert_eq!((answered, &told["code"]), (status, &json!(code)), "{method} {path}: {told}");
        }
    }
}
