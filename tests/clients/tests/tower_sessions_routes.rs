//! The tests that tower-sessions has for its stores, unchanged, on this one.
#![allow(missing_docs, clippy::dbg_macro, clippy::unwrap_used, unreachable_pub, reason = "they are of another project")]

#[macro_use]
mod common {
    include!(concat!(env!("TOWER_SESSIONS"), "/tests/common/mod.rs"));
}

mod switchover_store {
    use axum::Router;
    use switchover::backends::{MemoryCache, MemoryDatabase};
    use switchover::{Builtin, Layout, Policy, Switchover};
    use switchover_tower_sessions::SwitchoverStore;
    use tower_sessions::SessionManagerLayer;

    use crate::common::build_app;

    async fn app(max_age: Option<Duration>, domain: Option<String>) -> Router {
        let switchover = Switchover::builder()
            .database("default", MemoryDatabase::with_layout(Layout::SWITCHOVER))
            .cache(MemoryCache::default())
            .policy(Policy::builtin(Builtin::CachedDb))
            .build()
            .await
            .unwrap();
        let store = SwitchoverStore::new(switchover.sessions());
        build_app(SessionManagerLayer::new(store).with_secure(true), max_age, domain)
    }

    route_tests!(app);
}
