//! Counts the visits of each visitor: `cargo run -p switchover-tower-sessions --example counter`.

use std::net::SocketAddr;

use anyhow::Result;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use switchover::backends::{MemoryCache, MemoryDatabase};
use switchover::{Builtin, Layout, Policy, Switchover};
use switchover_tower_sessions::SwitchoverStore;
use tower_sessions::{Session, SessionManagerLayer};

#[tokio::main]
async fn main() -> Result<()> {
    let switchover = Switchover::builder()
        .database("default", MemoryDatabase::with_layout(Layout::SWITCHOVER))
        .cache(MemoryCache::default())
        .policy(Policy::builtin(Builtin::CachedDb))
        .build()
        .await?;
    let layer = SessionManagerLayer::new(SwitchoverStore::new(switchover.sessions())).with_secure(false);
    let app = Router::new().route("/", get(count)).layer(layer);
    axum_server::bind(SocketAddr::from(([127, 0, 0, 1], 3000))).serve(app.into_make_service()).await?;
    Ok(())
}

async fn count(session: Session) -> Result<String, StatusCode> {
    let visits = session.get::<u64>("visits").await.map_err(away)?.unwrap_or_default() + 1;
    session.insert("visits", visits).await.map_err(away)?;
    Ok(format!("visit {visits}\n"))
}

fn away(_: tower_sessions::session::Error) -> StatusCode {
    StatusCode::SERVICE_UNAVAILABLE
}
