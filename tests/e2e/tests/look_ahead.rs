//! The host looks a session up in the cache before it asks the policy: which loads get this answer, and what happens to
//! it in other loads.
//!
//! The policies are native, since the imports are the same as for a component.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Result;
use async_trait::async_trait;
use switchover::backends::{FlagSwitch, MemoryCache, MemoryDatabase};
use switchover::capabilities::{Cache, CacheError, CacheLookup, Lease, Nonce};
use switchover::{Builtin, Policy, Session, SessionKey, Switchover, Timestamp};
use switchover_guest::{Description, Host, Instant, Lookup, Result as Told, SaveMode, SaveOutcome as Outcome, Target};
use switchover_tests::{create, patient, payload, until};
use tokio::sync::Semaphore;

const HOME: &str = "default";

/// A policy that loads in the order that the flag `order` gives.
struct Ordered;

/// How many loads have reached the policy of the one test that counts them.
static COUNTED: AtomicU32 = AtomicU32::new(0);

impl switchover_guest::Policy for Ordered {
    fn describe<H: Host>(_: &H) -> Description {
        Description { name: "ordered".into(), protocol: "o".into(), databases: vec![HOME.into()], ..Default::default() }
    }

    async fn load<H: Host>(host: &H, key: &str) -> Told<Option<H::Session>> {
        match host.flag_value("order").as_deref() {
            Some("database, cache") => {
                let found = host.load(HOME, key).await?;
                host.cache_get(key).await?;
                Ok(found)
            }
            Some("invalidate, cache") => {
                host.cache_invalidate(key).await?;
                host.cache_get(key).await?;
                host.load(HOME, key).await
            }
            Some("cache, cache") => {
                host.cache_get(key).await?;
                host.cache_get(key).await?;
                host.load(HOME, key).await
            }
            Some("database") => host.load(HOME, key).await,
            order => {
                if order == Some("cache, counted") {
                    COUNTED.fetch_add(1, Ordering::SeqCst);
                }
                match host.cache_get(key).await {
                    Ok(Lookup::Hit(session)) => Ok(Some(session)),
                    Ok(Lookup::Miss(_)) | Err(_) => host.load(HOME, key).await,
                }
            }
        }
    }

    async fn save<H: Host>(host: &H, key: &str, value: H::Session, mode: SaveMode) -> Told<Outcome> {
        host.save(&Target::home(HOME), key, &value, mode).await
    }

    async fn touch<H: Host>(host: &H, key: &str, expires_at: Instant) -> Told<Outcome> {
        host.touch(&Target::home(HOME), key, expires_at).await
    }

    async fn delete<H: Host>(host: &H, key: &str) -> Told<bool> {
        host.delete(&Target::home(HOME), key).await
    }

    async fn exists<H: Host>(host: &H, key: &str) -> Told<bool> {
        host.exists(HOME, key).await
    }

    async fn clear_expired<H: Host>(host: &H, limit: u32) -> Told<u32> {
        host.delete_expired(HOME, None, limit).await
    }
}

/// A cache that counts look-ups, and lets through as many as there are permits.
#[derive(Clone)]
struct Watched {
    inner: Arc<MemoryCache>,
    look_ups: Arc<AtomicU32>,
    permits: Arc<Semaphore>,
}

impl Watched {
    fn new() -> Self {
        Self { inner: Arc::default(), look_ups: Arc::default(), permits: Arc::new(Semaphore::new(1_000)) }
    }

    /// How many look-ups there were since the last call of this.
    fn look_ups(&self) -> u32 {
        self.look_ups.swap(0, Ordering::SeqCst)
    }
}

#[async_trait]
impl Cache for Watched {
    async fn get(&self, key: &SessionKey, now: Timestamp) -> Result<CacheLookup, CacheError> {
        self.look_ups.fetch_add(1, Ordering::SeqCst);
        self.permits.acquire().await.map_err(|_| CacheError { message: "closed".to_owned() })?.forget();
        self.inner.get(key, now).await
    }

    async fn fill(&self, lease: Lease, session: &Session, ttl: Duration) -> Result<bool, CacheError> {
        self.inner.fill(lease, session, ttl).await
    }

    async fn guard(&self, key: &SessionKey, nonce: Nonce, ttl: Duration) -> Result<(), CacheError> {
        self.inner.guard(key, nonce, ttl).await
    }

    async fn release(&self, key: &SessionKey, nonce: Nonce) -> Result<(), CacheError> {
        self.inner.release(key, nonce).await
    }

    async fn invalidate(&self, key: &SessionKey) -> Result<(), CacheError> {
        self.inner.invalidate(key).await
    }

    fn summary(&self) -> String {
        "watched".to_owned()
    }
}

async fn host(cache: &Watched, policy: Policy, order: &str) -> Result<(Switchover, FlagSwitch, SessionKey)> {
    let flags = FlagSwitch::new([("order", order)]);
    let databases = Switchover::builder().database(HOME, MemoryDatabase::new());
    let builder = databases.database("new_session_store", MemoryDatabase::new()).cache(cache.clone());
    let host = builder.flags(flags.clone()).limits(patient()).policy(policy).build().await?;
    let key = create(&host.sessions(), "v1").await?;
    Ok((host, flags, key))
}

async fn load(host: &Switchover, key: &SessionKey) -> Result<()> {
    anyhow::ensure!(host.sessions().load(key).await?.is_some_and(|found| found.payload == payload("v1")));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policy_that_begins_with_the_cache_is_asked_when_the_answer_is_there() -> Result<()> {
    let cache = Watched::new();
    let (host, _flags, key) = host(&cache, Policy::native::<Ordered>(), "cache, counted").await?;
    let counted_in_its_trial = COUNTED.load(Ordering::SeqCst);
    cache.permits.forget_permits(1_000);
    let loading = tokio::spawn({
        let (host, key) = (host.clone(), key.clone());
        async move { load(&host, &key).await }
    });
    until("the look-up is under way", async || cache.look_ups.load(Ordering::SeqCst) == 1).await?;
    assert_eq!(COUNTED.load(Ordering::SeqCst), counted_in_its_trial, "the policy waits for nothing");
    assert_eq!(host.policy().calls_in_flight, 1, "the call is one of the policy all the same");
    cache.permits.add_permits(1_000);
    loading.await??;
    assert_eq!(COUNTED.load(Ordering::SeqCst), counted_in_its_trial + 1);
    assert_eq!(cache.look_ups(), 1, "the policy got what was looked up");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shipped_policies_look_up_once_in_each_load() -> Result<()> {
    for policy in [Builtin::CachedDb, Builtin::Fallback] {
        let cache = Watched::new();
        let (host, _flags, key) = host(&cache, Policy::builtin(policy), "").await?;
        for _miss_then_hits in 0..3 {
            load(&host, &key).await?;
            assert_eq!(cache.look_ups(), 1, "{policy:?}");
        }
        assert_eq!(host.counts().cache_failures, 0);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looked_up_session_is_returned_once_and_only_before_anything_else() -> Result<()> {
    for (order, first, later) in [("database, cache", 2, 1), ("invalidate, cache", 2, 1), ("cache, cache", 2, 2)] {
        let cache = Watched::new();
        let (host, _flags, key) = host(&cache, Policy::native::<Ordered>(), order).await?;
        for expected in [first, later, later] {
            load(&host, &key).await?;
            assert_eq!(cache.look_ups(), expected, "{order}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policy_that_leaves_the_cache_alone_costs_a_look_up_after_each_change() -> Result<()> {
    let cache = Watched::new();
    let (host, flags, key) = host(&cache, Policy::native::<Ordered>(), "database").await?;
    let loads = async |change: &str| {
        for expected in [1, 0, 0] {
            load(&host, &key).await?;
            assert_eq!(cache.look_ups(), expected, "{change}");
        }
        anyhow::Ok(())
    };
    loads("start").await?;
    flags.set("other", "on");
    host.apply_flags().await?;
    loads("flags").await?;
    host.swap_policy(Policy::native::<Ordered>()).await?;
    loads("swap").await?;
    host.rollback_policy().await?;
    loads("rollback").await?;
    flags.set("order", "cache");
    host.apply_flags().await?;
    load(&host, &key).await?;
    assert_eq!(cache.look_ups(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caller_that_leaves_during_the_look_up_leaves_its_place() -> Result<()> {
    let cache = Watched::new();
    let mut limits = patient();
    limits.calls_in_flight_max = 1;
    let host = Switchover::builder().database(HOME, MemoryDatabase::new()).cache(cache.clone()).limits(limits);
    let host = host.build().await?;
    let key = create(&host.sessions(), "v1").await?;
    cache.permits.forget_permits(1_000);
    for _ in 0..3 {
        let caller = tokio::spawn({
            let (host, key) = (host.clone(), key.clone());
            async move { load(&host, &key).await }
        });
        until("the look-up is under way", async || cache.look_ups() == 1).await?;
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled(), "the caller left");
        assert_eq!((host.policy().in_flight, host.policy().calls_in_flight), (0, 0));
    }
    cache.permits.add_permits(1_000);
    load(&host, &key).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn look_up_that_fails_is_counted_once_and_fails_no_load() -> Result<()> {
    let cache = Watched::new();
    let (host, _flags, key) = host(&cache, Policy::builtin(Builtin::CachedDb), "").await?;
    cache.permits.close();
    load(&host, &key).await?;
    assert_eq!((cache.look_ups(), host.counts().cache_failures), (1, 1));
    Ok(())
}
