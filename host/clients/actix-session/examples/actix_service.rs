//! Counts the visits of each visitor: `cargo run -p switchover-actix-session --example actix_service`.

use std::error::Error;

use actix_session::{Session, SessionMiddleware};
use actix_web::cookie::Key;
use actix_web::{App, HttpServer, web};
use switchover::backends::{MemoryCache, MemoryDatabase};
use switchover::{Builtin, Layout, Policy, Switchover};
use switchover_actix_session::SwitchoverStore;

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let switchover = Switchover::builder()
        .database("default", MemoryDatabase::with_layout(Layout::SWITCHOVER))
        .cache(MemoryCache::default())
        .policy(Policy::builtin(Builtin::CachedDb))
        .build()
        .await?;
    // In production the same on every host, and at each start.
    let (store, seals_cookies) = (SwitchoverStore::new(switchover.sessions()), Key::generate());
    let app = move || {
        let sessions = SessionMiddleware::builder(store.clone(), seals_cookies.clone()).cookie_secure(false);
        App::new().wrap(sessions.build()).route("/", web::get().to(count))
    };
    HttpServer::new(app).bind("127.0.0.1:3000")?.run().await?;
    switchover.close().await;
    Ok(())
}

async fn count(session: Session) -> actix_web::Result<String> {
    let visits = session.get::<u64>("visits")?.unwrap_or_default() + 1;
    session.insert("visits", visits)?;
    Ok(format!("visit {visits}\n"))
}
