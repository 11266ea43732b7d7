//! A policy may return only what the databases answered in the same call: every false answer here is caught.
//!
//! The policies are native, since the imports and the judgement are the same as for a component.

use std::time::Duration;

use anyhow::Result;
use switchover::backends::{FlagSwitch, MemoryCache, MemoryDatabase};
use switchover::{Error, Policy, PolicyFault, SaveOutcome, Switchover, expires_in};
use switchover_guest::{
    Description, ErrorCode, Host, Instant, Lookup, Result as Told, SaveMode, SaveOutcome as Outcome, Target,
};
use switchover_tests::{create, payload};

const MINUTE: Duration = Duration::from_secs(60);
const HOME: &str = "default";

/// The false answers that the policy gives while the flag `lie` is on.
mod lie {
    pub(crate) const SAVE_IS_A_TOUCH: u8 = 0;
    pub(crate) const SAVE_OF_THE_OLD_ROW: u8 = 1;
    pub(crate) const CREATE_IS_AN_UPDATE: u8 = 2;
    pub(crate) const TOUCH_OF_NOTHING: u8 = 3;
    pub(crate) const SAVED_THEN_DELETED: u8 = 4;
    pub(crate) const DELETED_THE_OPPOSITE: u8 = 5;
    pub(crate) const DELETED_THEN_SAVED: u8 = 6;
    pub(crate) const ABSENT_UNASKED: u8 = 7;
    pub(crate) const EXISTS_UNASKED: u8 = 8;
    pub(crate) const ABSENT_IN_ONE: u8 = 9;
    pub(crate) const CLEANS_IN_A_LOAD: u8 = 10;
    pub(crate) const FILLS_WHAT_IT_LOADED_BEFORE: u8 = 11;
    pub(crate) const FILLS_WHAT_IT_SHALL_SAVE: u8 = 12;
    pub(crate) const CLEARED_FOR_EVER: u8 = 13;
    pub(crate) const WRITES_WHAT_THE_CACHE_GAVE: u8 = 14;
}

struct Liar<const LIE: u8>;

impl<const LIE: u8> Liar<LIE> {
    fn lies<H: Host>(host: &H, lie: u8) -> bool {
        LIE == lie && host.flag_enabled("lie")
    }
}

impl<const LIE: u8> switchover_guest::Policy for Liar<LIE> {
    fn describe<H: Host>(_: &H) -> Description {
        let databases = vec![HOME.to_owned(), "other".to_owned()];
        Description { name: "liar".into(), protocol: "liar".into(), databases, ..Description::default() }
    }

    async fn load<H: Host>(host: &H, key: &str) -> Told<Option<H::Session>> {
        if Self::lies(host, lie::ABSENT_UNASKED) {
            return Ok(None);
        }
        if Self::lies(host, lie::ABSENT_IN_ONE) {
            let answers = host.load_each(&["other", HOME], key).await;
            return Ok(answers.into_iter().find_map(|answer| answer.ok().flatten()));
        }
        if Self::lies(host, lie::CLEANS_IN_A_LOAD) {
            host.delete_expired(HOME, Some(u64::MAX), 1_000).await?;
        }
        if Self::lies(host, lie::WRITES_WHAT_THE_CACHE_GAVE) {
            let lease = match host.cache_get(key).await? {
                Lookup::Hit(old) => {
                    host.save(&Target::home(HOME), key, &old, SaveMode::Update).await?;
                    return Ok(Some(old));
                }
                Lookup::Miss(lease) => lease,
            };
            let found = host.load(HOME, key).await?;
            if let Some(found) = &found {
                host.cache_fill(lease, found).await?;
            }
            return Ok(found);
        }
        if Self::lies(host, lie::FILLS_WHAT_IT_LOADED_BEFORE) {
            let found = host.load(HOME, key).await?;
            if let (Some(found), Ok(Lookup::Miss(lease))) = (&found, host.cache_get(key).await) {
                host.cache_fill(lease, found).await?;
            }
            return Ok(found);
        }
        host.load(HOME, key).await
    }

    async fn save<H: Host>(host: &H, key: &str, value: H::Session, mode: SaveMode) -> Told<Outcome> {
        let home = Target::home(HOME);
        if Self::lies(host, lie::SAVE_IS_A_TOUCH) {
            return host.touch(&home, key, 1).await;
        }
        if Self::lies(host, lie::SAVE_OF_THE_OLD_ROW)
            && let Some(old) = host.load(HOME, key).await?
        {
            return host.save(&home, key, &old, mode).await;
        }
        if Self::lies(host, lie::CREATE_IS_AN_UPDATE) {
            host.save(&home, key, &value, SaveMode::Create).await?;
            return match host.save(&home, key, &value, SaveMode::Update).await? {
                Outcome::Saved => Ok(Outcome::Exists),
                other => Ok(other),
            };
        }
        if Self::lies(host, lie::FILLS_WHAT_IT_SHALL_SAVE)
            && let Ok(Lookup::Miss(lease)) = host.cache_get(key).await
        {
            host.cache_fill(lease, &value).await?;
        }
        let outcome = host.save(&home, key, &value, mode).await?;
        if Self::lies(host, lie::SAVED_THEN_DELETED) {
            host.delete(&home, key).await?;
        }
        Ok(outcome)
    }

    async fn touch<H: Host>(host: &H, key: &str, expires_at: Instant) -> Told<Outcome> {
        let expires_at = if Self::lies(host, lie::TOUCH_OF_NOTHING) { 0 } else { expires_at };
        host.touch(&Target::home(HOME), key, expires_at).await
    }

    async fn delete<H: Host>(host: &H, key: &str) -> Told<bool> {
        let home = Target::home(HOME);
        let row = host.load(HOME, key).await?;
        let had = host.delete(&home, key).await?;
        if Self::lies(host, lie::DELETED_THE_OPPOSITE) {
            return Ok(!had);
        }
        if Self::lies(host, lie::DELETED_THEN_SAVED)
            && let Some(row) = row
        {
            host.save(&home, key, &row, SaveMode::Create).await?;
        }
        Ok(had)
    }

    async fn exists<H: Host>(host: &H, key: &str) -> Told<bool> {
        if Self::lies(host, lie::EXISTS_UNASKED) {
            return Ok(true);
        }
        host.exists(HOME, key).await
    }

    async fn clear_expired<H: Host>(host: &H, limit: u32) -> Told<u32> {
        let cleared = host.delete_expired(HOME, None, limit).await?;
        Ok(if Self::lies(host, lie::CLEARED_FOR_EVER) { limit } else { cleared })
    }
}

/// A host whose lying policy is active, and a session in it.
async fn host<const LIE: u8>() -> Result<(Switchover, switchover::SessionKey)> {
    let flags = FlagSwitch::new([("lie", "false")]);
    let host = Switchover::builder()
        .database(HOME, MemoryDatabase::new())
        .database("other", switchover::backends::Faulty::new(MemoryDatabase::new()))
        .cache(MemoryCache::default())
        .flags(flags.clone())
        .insist_on_flags(true)
        .policy(Policy::native::<Liar<LIE>>())
        .build()
        .await?;
    let key = create(&host.sessions(), "v1").await?;
    flags.set("lie", "true");
    host.apply_flags().await?;
    Ok((host, key))
}

/// A false answer without an effect is the policy's fault. One that may have had an effect is an unknown outcome.
#[track_caller]
fn caught<T: std::fmt::Debug>(answer: Result<T, Error>, claimed: &str) {
    match answer {
        Err(Error::Policy { source: PolicyFault::FalseOutcome { claimed: found }, .. }) => assert_eq!(found, claimed),
        Err(Error::UnknownOutcome { message }) => assert!(message.contains(claimed), "{message}"),
        other => panic!("the lie `{claimed}` was not caught: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn saved_is_only_the_save_that_was_asked_for() -> Result<()> {
    let (host, key) = host::<{ lie::SAVE_IS_A_TOUCH }>().await?;
    caught(host.sessions().save(&key, payload("v2"), expires_in(MINUTE)).await, "saved");
    let (host, key) = self::host::<{ lie::SAVE_OF_THE_OLD_ROW }>().await?;
    caught(host.sessions().save(&key, payload("v2"), expires_in(MINUTE)).await, "saved");
    let (host, key) = self::host::<{ lie::SAVED_THEN_DELETED }>().await?;
    caught(host.sessions().save(&key, payload("v2"), expires_in(MINUTE)).await, "saved");
    let (host, _) = self::host::<{ lie::CREATE_IS_AN_UPDATE }>().await?;
    caught(host.sessions().create(payload("v2"), expires_in(MINUTE)).await, "exists");
    let (host, key) = self::host::<{ lie::TOUCH_OF_NOTHING }>().await?;
    caught(host.sessions().touch(&key, expires_in(2 * MINUTE)).await, "saved");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_is_what_the_deletes_answered() -> Result<()> {
    let (host, key) = host::<{ lie::DELETED_THE_OPPOSITE }>().await?;
    caught(host.sessions().delete(&key).await, "not there to delete");
    caught(host.sessions().delete(&key).await, "deleted");
    let (host, key) = self::host::<{ lie::DELETED_THEN_SAVED }>().await?;
    caught(host.sessions().delete(&key).await, "deleted");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn absence_and_presence_are_what_a_database_answered() -> Result<()> {
    let (host, key) = host::<{ lie::ABSENT_UNASKED }>().await?;
    let error = host.sessions().load(&key).await.unwrap_err();
    assert!(matches!(error, Error::Policy { source: PolicyFault::FalseAbsence, .. }), "{error}");
    let (host, key) = self::host::<{ lie::EXISTS_UNASKED }>().await?;
    caught(host.sessions().exists(&key).await, "it exists");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn absence_needs_every_database_that_was_asked_at_the_same_time() -> Result<()> {
    let other = switchover::backends::Faulty::new(MemoryDatabase::new());
    let flags = FlagSwitch::new([("lie", "true")]);
    let host = Switchover::builder()
        .database(HOME, MemoryDatabase::new())
        .database("other", other.clone())
        .flags(flags)
        .policy(Policy::native::<Liar<{ lie::ABSENT_IN_ONE }>>())
        .build()
        .await?;
    let absent = switchover::SessionKey::random();
    assert!(host.sessions().load(&absent).await?.is_none(), "both answered");
    other.set_down(true);
    let error = host.sessions().load(&absent).await.unwrap_err();
    assert!(matches!(error, Error::Policy { source: PolicyFault::FalseAbsence, .. }), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_cleaner_deletes_and_only_what_has_ended() -> Result<()> {
    let (host, key) = host::<{ lie::CLEANS_IN_A_LOAD }>().await?;
    let error = host.sessions().load(&key).await.unwrap_err();
    assert!(matches!(error, Error::Refused { code: ErrorCode::Denied, .. }), "{error}");
    assert!(host.sessions().exists(&key).await?);
    assert_eq!(host.sessions().clear_expired(1_000).await?, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cleaner_returns_no_more_than_was_cleared() -> Result<()> {
    let (host, _) = host::<{ lie::CLEARED_FOR_EVER }>().await?;
    caught(host.sessions().clear_expired(10).await, "more cleared than the databases cleared");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cache_takes_only_what_was_loaded_after_its_lease() -> Result<()> {
    let (host, key) = host::<{ lie::FILLS_WHAT_IT_LOADED_BEFORE }>().await?;
    let error = host.sessions().load(&key).await.unwrap_err();
    assert!(matches!(error, Error::Refused { code: ErrorCode::Denied, .. }), "{error}");
    let (host, key) = self::host::<{ lie::FILLS_WHAT_IT_SHALL_SAVE }>().await?;
    let error = host.sessions().save(&key, payload("v2"), expires_in(MINUTE)).await.unwrap_err();
    assert!(matches!(error, Error::Refused { code: ErrorCode::Denied, .. }), "{error}");
    assert_eq!(host.sessions().load(&key).await?.unwrap().payload, payload("v1"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_written_that_only_the_cache_gave() -> Result<()> {
    let (host, key) = host::<{ lie::WRITES_WHAT_THE_CACHE_GAVE }>().await?;
    assert!(host.sessions().load(&key).await?.is_some(), "it fills the cache");
    let error = host.sessions().load(&key).await.unwrap_err();
    assert!(matches!(error, Error::Refused { code: ErrorCode::Denied, .. }), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn honest_policy_is_never_at_fault() -> Result<()> {
    let (host, key) = host::<255>().await?;
    let sessions = host.sessions();
    assert_eq!(sessions.save(&key, payload("v2"), expires_in(MINUTE)).await?, SaveOutcome::Saved);
    assert_eq!(sessions.touch(&key, expires_in(2 * MINUTE)).await?, SaveOutcome::Saved);
    assert!(sessions.exists(&key).await? && sessions.delete(&key).await? && !sessions.delete(&key).await?);
    assert!(sessions.load(&key).await?.is_none() && !sessions.exists(&key).await?);
    assert_eq!(sessions.save(&key, payload("v3"), expires_in(MINUTE)).await?, SaveOutcome::Missing);
    assert_eq!(host.policy().faults, 0);
    Ok(())
}
