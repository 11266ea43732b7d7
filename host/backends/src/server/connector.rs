//! Making connections: one at a time, failing at once while the server cannot be reached, trying again after growing pauses.

use std::time::{Duration, Instant};

use switchover_core::capabilities::DatabaseError;
use switchover_core::sync::Mutex;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::timeout_at;

use super::link::Driver;

/// How long connecting may take, TLS and authentication included; a server that needs longer serves nobody in time.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(2);
/// An attempt that ended earlier because its operation had no more time says nothing about the server.
const CONNECT_TIME_TELLING: Duration = Duration::from_millis(250);
/// The first pause: a restart of a small server takes about as long.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
/// The longest pause, so that the server is found again within a second or two of its return.
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

    /// Looks whether the address can be worked with.
    pub(super) async fn check(&self, deadline: Instant) -> Result<(), DatabaseError> {
        timeout_at(deadline.into(), self.driver.check()).await.unwrap_or(Err(DatabaseError::Timeout))
    }

    /// Connects, or says at once why not while a pause lasts.
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
            Err(_) => DatabaseError::Unavailable { message: "it did not answer to connecting".to_owned() },
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
        // Half of it at least: hosts that lost the server together do not come back together.
        let length = longest.mul_f64(0.5 + fastrand::f64() / 2.0);
        *pause = Some(Pause { until: Instant::now() + length, failures: failures + 1, error });
    }
}
