//! How a server is reached, what it must be, and the errors if it is not.

use std::time::Duration;

use anyhow::Result;
use switchover_backends::{Redis, RedisFlags};
use switchover_core::capabilities::{Cache as _, Flags as _};
use switchover_harness::{Certificates, Proxy, Redis as RedisServer};

use super::cache::{fill, is_hit, some};
use super::fixture::eventually;
use super::redis_fixture::{Outside, builder};

async fn works(cache: &Redis) -> Result<()> {
    fill(cache, &some("payload")).await?;
    assert!(is_hit(cache, &some("payload")).await?);
    Ok(())
}

#[tokio::test]
async fn unix_socket_carries_it() -> Result<()> {
    let server = RedisServer::start().await?;
    let cache = builder(&server.socket_url_of("3")).connect().await?;
    works(&cache).await?;
    assert!(cache.summary().contains("database 3"), "{}", cache.summary());
    let flags_url = server.socket_url();
    Outside::at(&flags_url).await?.ask::<()>(&["HSET", "switchover:flags", "on", "true"]).await?;
    assert!(RedisFlags::connect(&flags_url).await?.subscribe().borrow().enabled("on"));
    Ok(())
}

#[tokio::test]
async fn tls_needs_a_certificate_that_is_trusted() -> Result<()> {
    let server = RedisServer::builder().tls(&Certificates::generate()?).start().await?;
    let (url, authority) = (server.tls_url()?, server.authority()?);
    works(&builder(&url).ca_file(&authority).connect().await?).await?;
    let error = builder(&url).connect().await.unwrap_err().message;
    assert!(error.contains("certificate"), "{error}");
    let other = tempfile::tempdir()?;
    let path = other.path().join("other.pem");
    std::fs::write(&path, Certificates::generate()?.authority())?;
    assert!(builder(&url).ca_file(&path).connect().await.is_err());
    std::fs::write(&path, "no certificate")?;
    let error = builder(&url).ca_file(&path).connect().await.unwrap_err().message;
    assert!(error.contains("other.pem"), "{error}");
    let error = builder(&server.url()).ca_file(&authority).connect().await.unwrap_err().message;
    assert!(error.contains("rediss"), "{error}");
    let insecure = builder(&format!("{url}#insecure")).connect().await.unwrap_err().message;
    assert!(insecure.contains("always checked"), "{insecure}");
    Ok(())
}

#[tokio::test]
async fn password_opens_and_is_never_told() -> Result<()> {
    let server = RedisServer::start().await?;
    let mut outside = Outside::at(&server.url()).await?;
    outside.ask::<()>(&["ACL", "SETUSER", "app", "on", ">hunter2", "~switchover:*", "+@all"]).await?;
    outside.ask::<()>(&["ACL", "SETUSER", "poor", "on", ">hunter2", "~switchover:*", "+@all", "-set"]).await?;
    outside.ask::<()>(&["ACL", "SETUSER", "default", "off"]).await?;
    let at = |user: &str, password: &str| format!("redis://{user}:{password}@{}/0", server.address());
    let cache = builder(&at("app", "hunter2")).connect().await?;
    works(&cache).await?;
    let told = format!("{} {cache:?} {:?}", cache.summary(), Redis::builder(&at("app", "hunter2")));
    assert!(!told.contains("hunter2") && !told.contains("app"), "{told}");
    for (user, password) in [("app", "hunter3"), ("hunter2", "hunter3")] {
        let error = builder(&at(user, password)).connect().await.unwrap_err().message;
        assert!(error.contains("password") && !error.contains("hunter"), "{error}");
        let error = builder(&at(user, password)).start().await.unwrap_err().message;
        assert!(error.contains("password") && !error.contains("hunter"), "{error}");
    }
    let error = builder(&server.url()).connect().await.unwrap_err().message;
    assert!(error.contains("NOAUTH") && error.contains("password"), "{error}");
    Ok(())
}

#[tokio::test]
async fn wrong_address_is_told_without_repeating_it() -> Result<()> {
    let wrong = [
        "hunter2",
        "redis://:hunter2@",
        "redis://:hunter2@127.0.0.1:99999/0",
        "redis://:hunter2@127.0.0.1:1/hunter2",
        "redis://:hunter2@127.0.0.1:1/?protocol=hunter2",
        "postgres://:hunter2@127.0.0.1:1/0",
        "rediss://:hunter2@127.0.0.1:1/0#hunter2",
    ];
    for address in wrong {
        for error in [
            builder(address).start().await.map(|_| ()).unwrap_err().message,
            RedisFlags::connect(address).await.map(|_| ()).unwrap_err().message,
        ] {
            assert!(error.contains("redis") && !error.contains("hunter2"), "{error}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn start_does_not_need_the_server_and_a_connect_does() -> Result<()> {
    let server = RedisServer::start().await?;
    server.kill().await?;
    let error = builder(&server.url()).connect().await.unwrap_err().message;
    assert!(error.contains(&server.address().to_string()), "{error}");
    let cache = builder(&server.url()).start().await?;
    assert!(!cache.is_connected());
    assert!(cache.get(&some("x").key, super::cache::now()).await.is_err());
    server.restart().await?;
    eventually("connected", async || Ok(cache.is_connected())).await?;
    works(&cache).await
}

#[tokio::test]
async fn two_prefixes_are_two_caches() -> Result<()> {
    let server = RedisServer::start().await?;
    let one = builder(&server.url()).prefix("one:").connect().await?;
    let two = builder(&server.url()).prefix("two:").connect().await?;
    fill(&one, &some("one")).await?;
    fill(&two, &some("two")).await?;
    assert!(is_hit(&one, &some("one")).await? && is_hit(&two, &some("two")).await?);
    Ok(())
}

#[tokio::test]
async fn connection_ends_with_the_last_clone_and_has_a_name() -> Result<()> {
    let server = RedisServer::start().await?;
    let proxy = Proxy::start(server.address()).await?;
    let mut outside = Outside::at(&server.url()).await?;
    let cache = builder(&proxy.url_of(&server.url())?).client_name("shop-7").connect().await?;
    let clone = cache.clone();
    drop(cache);
    works(&clone).await?;
    let mut is_listed = async || anyhow::Ok(outside.ask::<String>(&["CLIENT", "LIST"]).await?.contains("name=shop-7"));
    assert!(is_listed().await?);
    drop(clone);
    eventually("it is gone", async || Ok(!is_listed().await?)).await?;
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(proxy.counts().connections, 1, "nobody connects again");
    Ok(())
}
