//! Why caches are off on both sides of a shared table: neither side's cache hears of the other's writes. These are the
//! warnings of `docs/django.md`; a test that fails here makes one of them untrue.

use anyhow::Result;
use serde_json::json;
use switchover::backends::MemoryCache;
use switchover::{Builtin, Policy};

use super::peer::{Peer, Zone};
use super::place::{Kind, Place, host};
use super::samples::instants;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cached_db_of_django_does_not_hear_of_a_logout_at_switchover() -> Result<()> {
    let place = Place::with_table(Kind::Sqlite).await?;
    let mut django = Peer::start(Zone::UTC, &[("default", &place)])?;
    let switchover = host(Policy::builtin(Builtin::CachedDb)).database("default", place.open().await?).build().await?;
    let data = json!({ "_auth_user_id": "7" });
    let key = django.create("default", &data, instants()[0])?.key;
    assert_eq!(django.load_cached("default", &key)?, Some(data.clone()));
    assert!(switchover.sessions().delete(&key).await?);
    assert!(django.load("default", &key)?.is_none(), "the engine `db` asks the table");
    assert_eq!(django.load_cached("default", &key)?, Some(data), "the engine `cached_db` asks its cache");
    switchover.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cache_of_switchover_does_not_hear_of_a_logout_at_django() -> Result<()> {
    let place = Place::with_table(Kind::Sqlite).await?;
    let mut django = Peer::start(Zone::UTC, &[("default", &place)])?;
    let builder = host(Policy::builtin(Builtin::CachedDb)).database("default", place.open().await?);
    let switchover = builder.cache(MemoryCache::default()).build().await?;
    let session = django.create("default", &json!({ "_auth_user_id": "7" }), instants()[0])?;
    assert_eq!(switchover.sessions().load(&session.key).await?, Some(session.clone()));
    django.delete("default", &session.key)?;
    assert_eq!(switchover.sessions().load(&session.key).await?, Some(session), "for at most `cache_max_age`");
    switchover.close().await;
    Ok(())
}
