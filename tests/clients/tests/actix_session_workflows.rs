//! The tests that actix-session has for its stores, unchanged, on this one.
#![allow(
    missing_docs,
    clippy::print_stdout,
    clippy::unwrap_used,
    unreachable_pub,
    dead_code,
    reason = "they are of another project"
)]

use actix_session::{Session, SessionExt, SessionMiddleware, config, storage};
use switchover::backends::{MemoryCache, MemoryDatabase};
use switchover::{Builtin, Layout, Policy, Switchover};
use switchover_actix_session::SwitchoverStore;

include!(concat!(env!("OUT_DIR"), "/actix_session.rs"));

async fn run(layout: Layout) {
    let switchover = Switchover::builder()
        .database("default", MemoryDatabase::with_layout(layout))
        .cache(MemoryCache::default())
        .policy(Policy::builtin(Builtin::CachedDb))
        .build()
        .await
        .unwrap();
    let store = SwitchoverStore::new(switchover.sessions());
    test_helpers::acceptance_test_suite(move || store.clone(), true).await;
}

#[actix_web::test]
async fn in_the_layout_switchover() {
    run(Layout::SWITCHOVER).await;
}

#[actix_web::test]
async fn in_the_layout_django() {
    run(Layout::DJANGO).await;
}
