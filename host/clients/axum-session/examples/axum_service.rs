//! Counts the visits of each visitor: `cargo run -p switchover-axum-session --example axum_service`.

use std::net::SocketAddr;

use anyhow::Result;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum_session::{Session, SessionConfig, SessionStore};
use switchover::backends::{MemoryCache, MemoryDatabase};
use switchover::{Builtin, Layout, Policy, Switchover};
use switchover_axum_session::{SwitchoverPool, log_out, with_sessions};

#[tokio::main]
async fn main() -> Result<()> {
    let switchover = Switchover::builder()
        .database("default", MemoryDatabase::with_layout(Layout::SWITCHOVER))
        .cache(MemoryCache::default())
        .policy(Policy::builtin(Builtin::CachedDb))
        .build()
        .await?;
    let pool = SwitchoverPool::new(switchover.sessions());
    let store = SessionStore::new(Some(pool), SessionConfig::default()).await?;
    let routes = Router::new().route("/", get(count)).route("/leave", post(leave));
    let app = with_sessions(routes, store).into_make_service();
    axum_server::bind(SocketAddr::from(([127, 0, 0, 1], 3000))).serve(app).await?;
    Ok(())
}

async fn count(session: Session<SwitchoverPool>) -> String {
    let visits = session.get::<u64>("visits").unwrap_or_default() + 1;
    session.set("visits", visits);
    format!("visit {visits}\n")
}

async fn leave(session: Session<SwitchoverPool>) -> Result<(), StatusCode> {
    log_out(&session).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
}
