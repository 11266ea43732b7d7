//! The stories of the demo on real servers, told by the program as its users run it, while servers are killed, paused,
//! restarted and cut off.
//!
//! `SWITCHOVER_STORY_SEEDS=50` runs each pair with so many seeds, `SWITCHOVER_STORY_FIRST` is the first of them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::print_stdout, reason = "who runs many seeds wants to see what each came to")]

mod nemesis;
mod run;
mod servers;

use std::sync::LazyLock;

use tokio::sync::{Mutex, MutexGuard};

use crate::nemesis::Plan;
use crate::run::{FLEET, OF_2016, Report, tell};
use crate::servers::{Kind, Servers};

/// The steps in which sessions are at one database, whatever happens to the other one: of the report, from 0.
const ON_OLD: [usize; 2] = [0, 1];
const ON_NEW: [usize; 3] = [5, 6, 7];

/// One run at a time: two of them on two cores would fail by being slow.
async fn turn() -> MutexGuard<'static, ()> {
    static TURN: LazyLock<Mutex<()>> = LazyLock::new(Mutex::default);
    TURN.lock().await
}

/// The seeds to run, `few` of them if nothing else is asked for.
fn seeds(few: u64) -> std::ops::Range<u64> {
    let asked = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let first = asked("SWITCHOVER_STORY_FIRST").unwrap_or(1);
    first..first + asked("SWITCHOVER_STORY_SEEDS").unwrap_or(few)
}

async fn calm(old: Kind, new: Kind) {
    let _turn = turn().await;
    let servers = Servers::start(old, new).await.unwrap();
    let report = tell(&servers, OF_2016, Plan::Calm, 1).await;
    report.check_promises();
    assert_eq!(report.count("failed_calls") + report.count("unknown_outcomes"), 0, "{report}");
}

async fn calm_fleet(old: Kind, new: Kind) {
    let _turn = turn().await;
    let servers = Servers::start(old, new).await.unwrap();
    let report = tell(&servers, FLEET, Plan::Calm, 1).await;
    report.check_promises();
    assert_eq!(report.count("failed_calls") + report.count("unknown_outcomes"), 0, "{report}");
    for (figure, count) in [("steps_made", 10), ("steps_back", 2), ("steps_forbidden", 1), ("hosts_given_up", 1)] {
        assert_eq!(report.count(figure), count, "{figure}\n{report}");
    }
}

async fn stormy(old: Kind, new: Kind) {
    let _turn = turn().await;
    let servers = Servers::start(old, new).await.unwrap();
    for seed in seeds(1) {
        let report = tell(&servers, OF_2016, Plan::Storm, seed).await;
        report.check_promises();
        // Sessions are at one database, and only the other one and the cache were faulty.
        check_quiet(&report, &[&ON_OLD[..], &ON_NEW[..]].concat());
    }
}

fn check_quiet(report: &Report, steps: &[usize]) {
    for &step in steps {
        assert_eq!(
            report.failures_in(step),
            0,
            "calls failed in step {step}, where none needs a faulty server\n{report}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_fails_from_mariadb_to_postgres() {
    calm(Kind::MariaDb, Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_fails_from_postgres_to_mariadb() {
    calm(Kind::Postgres, Kind::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_fails_while_a_fleet_goes_from_postgres_to_mariadb() {
    calm_fleet(Kind::Postgres, Kind::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_fails_while_a_fleet_goes_from_mariadb_to_sqlite() {
    calm_fleet(Kind::MariaDb, Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_fails_from_mariadb_to_sqlite() {
    calm(Kind::MariaDb, Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_in_a_storm_from_postgres_to_postgres() {
    stormy(Kind::Postgres, Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_in_a_storm_from_postgres_to_mariadb() {
    stormy(Kind::Postgres, Kind::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_in_a_storm_from_mariadb_to_sqlite() {
    stormy(Kind::MariaDb, Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_fails_while_the_cache_alone_is_faulty() {
    let _turn = turn().await;
    let servers = Servers::start(Kind::Postgres, Kind::Postgres).await.unwrap();
    for seed in seeds(1) {
        let report = tell(&servers, OF_2016, Plan::CacheAlone, seed).await;
        report.check_promises();
        assert_eq!(report.count("failed_calls") + report.count("unknown_outcomes"), 0, "{report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_read_fails_while_the_new_database_alone_is_faulty() {
    let _turn = turn().await;
    let servers = Servers::start(Kind::Postgres, Kind::MariaDb).await.unwrap();
    for seed in seeds(1) {
        let report = tell(&servers, OF_2016, Plan::NewAloneUntilItIsHome, seed).await;
        report.check_promises();
        check_quiet(&report, &[&ON_OLD[..], &ON_NEW[..]].concat());
        assert_eq!(report.errors_of("load") + report.errors_of("exists"), 0, "{report}");
    }
}
