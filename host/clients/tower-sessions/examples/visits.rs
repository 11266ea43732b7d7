//! The service of docs/tutorial-axum.md: `cargo run -p switchover-tower-sessions --example visits`.

#![expect(clippy::print_stdout, reason = "an example says where it listens")]

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use switchover::Config;
use switchover_tower_sessions::SwitchoverStore;
use tower_sessions::{Session, SessionManagerLayer};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let switchover = Config::read("switchover.toml")?.builder().await?.build().await?;
    // Without TLS in front, a browser sends no cookie that is `Secure`.
    let layer = SessionManagerLayer::new(SwitchoverStore::new(switchover.sessions())).with_secure(false);
    let app = Router::new().route("/", get(count)).route("/leave", post(leave)).layer(layer);

    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

async fn count(session: Session) -> Result<String, StatusCode> {
    let visits = session.get::<u64>("visits").await.map_err(away)?.unwrap_or_default() + 1;
    session.insert("visits", visits).await.map_err(away)?;
    Ok(format!("visit {visits}\n"))
}

async fn leave(session: Session) -> Result<&'static str, StatusCode> {
    session.flush().await.map_err(away)?;
    Ok("bye\n")
}

fn away(_: tower_sessions::session::Error) -> StatusCode {
    StatusCode::SERVICE_UNAVAILABLE
}
