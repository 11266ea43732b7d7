//! Two hosts on one database share one Redis, which is cut off from one of them again and again.
//!
//! During a cut, a load may return a session that is as old as `cache_max_age`. Nothing else is allowed: nothing is
//! lost, nothing comes back, and nothing is written from an old entry. `SWITCHOVER_STORY_SEEDS=50` runs the test with
//! this many seeds, and `SWITCHOVER_STORY_FIRST` is the first of them.
#![expect(clippy::print_stdout, reason = "who runs many seeds wants to see what each came to")]

#[path = "two_hosts/cut.rs"]
mod cut;
#[path = "two_hosts/fleet.rs"]
mod fleet;
#[path = "two_hosts/story.rs"]
mod story;

use std::time::Duration;

use anyhow::Result;
use switchover::{CycleOutcome, SaveOutcome, SessionKey, Sessions, Timestamp, expires_in};
use switchover_tests::payload;

use crate::cut::Cut;
use crate::fleet::{Fleet, Kind, turn};

const HOUR: Duration = Duration::from_secs(3_600);
/// Longer than any test takes, so that no entry ends by itself.
const LONG: Duration = Duration::from_secs(600);

/// A session that one host has saved again while it was cut off from Redis, and that the other host still finds as it
/// was before.
struct Outdated {
    key: SessionKey,
    /// Its end since the save.
    expires_at: Timestamp,
}

impl Outdated {
    /// Makes such a session, and leaves host A cut off from Redis.
    async fn make(fleet: &Fleet, cut: Cut) -> Result<Self> {
        let [a, b] = fleet.sessions();
        let key = a.create(payload("v1"), expires_in(HOUR)).await?;
        assert_eq!(text(&b, &key).await?.as_deref(), Some("v1"), "and it is in the cache");
        fleet.cut(cut).await;
        let expires_at = expires_in(HOUR * 2);
        assert_eq!(a.save(&key, payload("v2"), expires_at).await?, SaveOutcome::Saved);
        assert_eq!(text(&b, &key).await?.as_deref(), Some("v1"), "{cut:?}: the published bound");
        Ok(Self { key, expires_at })
    }
}

async fn text(host: &Sessions, key: &SessionKey) -> Result<Option<String>> {
    Ok(host.load(key).await?.map(|session| session.payload.as_text().unwrap_or_default().to_owned()))
}

async fn cycle(host: &Sessions, key: &SessionKey) -> Result<SessionKey> {
    match host.cycle_key(key).await? {
        CycleOutcome::Cycled(key) => Ok(key),
        CycleOutcome::Missing => anyhow::bail!("a living session was reported gone"),
    }
}

/// Checks that both hosts and the table agree on a session, and that its former keys find nothing.
async fn check(
    fleet: &Fleet,
    key: &SessionKey,
    expires_at: Timestamp,
    former: &[&SessionKey],
    when: &str,
) -> Result<()> {
    for (host, name) in fleet.sessions().iter().zip(["A", "B"]) {
        let session = host.load(key).await?.unwrap_or_else(|| panic!("{when}: host {name} has lost the session"));
        assert_eq!(
            session.payload.as_text().unwrap_or_default(),
            "v2",
            "{when}: host {name} has lost an acknowledged write"
        );
        assert_eq!(session.expires_at, expires_at, "{when}: host {name} has lost an acknowledged end");
        for key in former {
            assert_eq!(host.load(key).await?, None, "{when}: host {name} finds a former key");
        }
    }
    let rows = fleet.table.rows().await?;
    let row = |key: &SessionKey| rows.iter().find(|row| row.key == key.expose());
    let kept = row(key).map(|row| (row.data.as_str(), row.expires_at));
    assert_eq!(kept, Some(("v2", expires_at)), "{when}: the row of the new key");
    assert!(former.iter().all(|key| row(key).is_none()), "{when}: the row of a former key is there");
    Ok(())
}

async fn new_key_holds_what_the_other_host_saved(kind: Kind) -> Result<()> {
    let _turn = turn().await;
    for cut in Cut::ALL {
        let fleet = Fleet::start(kind, LONG).await?;
        let Outdated { key, expires_at } = Outdated::make(&fleet, cut).await?;
        let [_, b] = fleet.sessions();
        let new_key = cycle(&b, &key).await?;
        fleet.heal().await?;
        check(&fleet, &new_key, expires_at, &[&key], &format!("{cut:?}")).await?;
        let newest = cycle(&b, &new_key).await?;
        check(&fleet, &newest, expires_at, &[&key, &new_key], &format!("{cut:?}, once more")).await?;
    }
    Ok(())
}

async fn logout_on_the_other_host_stays_a_logout(kind: Kind) -> Result<()> {
    let _turn = turn().await;
    let fleet = Fleet::start(kind, LONG).await?;
    let Outdated { key, .. } = Outdated::make(&fleet, Cut::Refused).await?;
    let [a, b] = fleet.sessions();
    assert!(a.delete(&key).await?);
    assert!(text(&b, &key).await?.is_some(), "the published bound");
    assert_eq!(b.cycle_key(&key).await?, CycleOutcome::Missing);
    assert_eq!(b.save(&key, payload("late"), expires_in(HOUR)).await?, SaveOutcome::Missing);
    assert_eq!(b.touch(&key, expires_in(HOUR)).await?, SaveOutcome::Missing);
    fleet.heal().await?;
    for host in fleet.sessions() {
        assert_eq!(host.load(&key).await?, None);
    }
    assert!(fleet.table.rows().await?.is_empty(), "nothing is left under any key");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn new_key_holds_what_the_other_host_saved_on_postgres() -> Result<()> {
    new_key_holds_what_the_other_host_saved(Kind::Postgres).await
}

#[tokio::test(flavor = "multi_thread")]
async fn new_key_holds_what_the_other_host_saved_on_mariadb() -> Result<()> {
    new_key_holds_what_the_other_host_saved(Kind::MariaDb).await
}

#[tokio::test(flavor = "multi_thread")]
async fn logout_on_the_other_host_stays_a_logout_on_postgres() -> Result<()> {
    logout_on_the_other_host_stays_a_logout(Kind::Postgres).await
}

#[tokio::test(flavor = "multi_thread")]
async fn logout_on_the_other_host_stays_a_logout_on_mariadb() -> Result<()> {
    logout_on_the_other_host_stays_a_logout(Kind::MariaDb).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_while_one_host_is_cut_off_from_redis_on_postgres() -> Result<()> {
    story::run(Kind::Postgres).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_while_one_host_is_cut_off_from_redis_on_mariadb() -> Result<()> {
    story::run(Kind::MariaDb).await
}
