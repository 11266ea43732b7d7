//! Makes connections, one at a time. While the server cannot be reached it fails at once, and tries again after growing
//! pauses.

use std::time::{Duration, Instant};

use switchover_core::capabilities::DatabaseError;
use switchover_core::sync::Mutex;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::timeout_at;

use super::link::Driver;

/// How long connecting may take, including TLS and authentication. A server that needs longer answers nobody in time.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(2);
/// If an attempt ended earlier than this because its operation ran out of time, it says nothing about the server.
const CONNECT_TIME_TELLING: Duration = Duration::from_millis(250);
/// The first pause. A small server restarts in about this time.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
/// The longest pause. A server that returns is found again within a second or two.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Makes the connections of all lanes of one database.
pub(super) struct Connector<D> {
    driver: D,
    turn: AsyncMutex<()>,
    pause: Mutex<Option<Pause>>,
}

struct Pause {
    until: Instant,
    failures: u32,
    error: DatabaseError,
}

impl<D: Driver> Connector<D> {
    pub(super) fn new(driver: D) -> Self {
        Self { driver, turn: AsyncMutex::default(), pause: Mutex::default() }
    }

    /// Checks whether the database at the address can be used.
    pub(super) async fn check(&self, deadline: Instant) -> Result<(), DatabaseError> {
        timeout_at(deadline.into(), self.driver.check()).await.unwrap_or(Err(DatabaseError::Timeout))
    }

    /// Connects. During a pause it fails at once, with the error of the last attempt.
    pub(super) async fn connect(&self, deadline: Instant) -> Result<D::Link, DatabaseError> {
        self.not_paused()?;
        let _turn = timeout_at(deadline.into(), self.turn.lock()).await.map_err(|_| DatabaseError::Timeout)?;
        self.not_paused()?;
        let begun = Instant::now();
        let latest = deadline.min(begun + CONNECT_TIME_MAX);
        let error = match timeout_at(latest.into(), self.driver.connect()).await {
            Ok(Ok(link)) => {
                *self.pause.lock() = None;
                return Ok(link);
            }
            Ok(Err(error)) => error,
            Err(_) if begun.elapsed() < CONNECT_TIME_TELLING => return Err(DatabaseError::Timeout),
            Err(_) => DatabaseError::Unavailable { message: "it did not answer the attempt to connect".to_owned() },
        };
        self.begin_pause(error.clone());
        Err(error)
    }

    fn not_paused(&self) -> Result<(), DatabaseError> {
        match &*self.pause.lock() {
            Some(pause) if Instant::now() < pause.until => Err(pause.error.clone()),
            _ => Ok(()),
        }
    }

    fn begin_pause(&self, error: DatabaseError) {
        let mut pause = self.pause.lock();
        let failures = pause.as_ref().map_or(0, |pause| pause.failures);
        let longest = PAUSE_FIRST.saturating_mul(1 << failures.min(8)).min(PAUSE_MAX);
        // At least half of the length, at random: hosts that lost the server together must not return together.
        let length = longest.mul_f64(0.5 + fastrand::f64() / 2.0);
        *pause = Some(Pause { until: Instant::now() + length, failures: failures + 1, error });
    }
}
