//! A lane: one connection. It is made when it is needed, and given up when it breaks or when an operation on it runs
//! out of time.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use switchover_core::capabilities::DatabaseError;
use tokio::time::timeout_at;

use super::connector::Connector;
use super::link::{Driver, Failure, Link};

/// How long a connection may be idle before it gets a ping. So a server that disappeared while the connection was idle
/// is noticed before the next write, not by it.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(1);
/// How long the ping may take.
const PING_TIME_MAX: Duration = Duration::from_secs(1);
/// How long the rollback of a transaction may take. After that the lane gives the connection up, which also undoes the
/// transaction.
pub(super) const ROLL_BACK_TIME_MAX: Duration = Duration::from_millis(500);
/// How long closing a connection may take.
const CLOSE_TIME_MAX: Duration = Duration::from_millis(200);
/// On how many connections one operation is tried before it fails with [`DatabaseError::Unavailable`]. It is tried
/// again only if nothing can have been written.
const ATTEMPTS_MAX: u32 = 2;
/// The pause before a lock is tried again. Hosts hold locks for about as long as two commits take.
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// Why a lane did not do an operation.
#[derive(Debug)]
pub(super) enum Trouble {
    /// See [`Failure::Busy`].
    Busy(String),
    /// See [`Failure::Row`].
    Row(String),
    /// See [`Failure::Refused`]: the server would refuse it again, but may do the operations that it was grouped with.
    Refused(DatabaseError),
    /// Any other error. It applies to all operations of the group.
    Failed(DatabaseError),
}

impl From<Trouble> for DatabaseError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Busy(message) => Self::Conflict { message },
            Trouble::Row(message) => Self::Corrupt { message },
            Trouble::Refused(error) | Trouble::Failed(error) => error,
        }
    }
}

/// The queue from which a lane takes its jobs.
pub(super) trait Source: Sync {
    type Job: Send;

    /// Waits for the next job; `None`: there will be no more. Cancel safe: no job is lost.
    fn next(&self) -> impl Future<Output = Option<Self::Job>> + Send;
}

pub(super) type Operation<'a, T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send + 'a>>;

/// One connection, and the connector that makes the next one.
pub(super) struct Lane<D: Driver> {
    connector: Arc<Connector<D>>,
    link: Option<D::Link>,
}

impl<D: Driver> Lane<D> {
    pub(super) fn new(connector: Arc<Connector<D>>, link: Option<D::Link>) -> Self {
        Self { connector, link }
    }

    /// Runs one operation until `deadline`.
    pub(super) async fn run<T>(
        &mut self,
        deadline: Instant,
        mut operation: impl for<'a> FnMut(&'a mut D::Link) -> Operation<'a, T>,
    ) -> Result<T, Trouble> {
        let mut attempt = 1;
        loop {
            let mut link = match self.link.take() {
                Some(link) => link,
                None => self.connector.connect(deadline).await.map_err(Trouble::Failed)?,
            };
            *link.may_have_written() = false;
            let message = match timeout_at(deadline.into(), operation(&mut link)).await {
                Ok(Ok(value)) => {
                    self.link = Some(link);
                    return Ok(value);
                }
                Ok(Err(Failure::Refused(error))) => {
                    self.link = Some(link);
                    return Err(Trouble::Refused(error));
                }
                Ok(Err(Failure::Busy(message))) => {
                    self.link = Some(link);
                    return Err(Trouble::Busy(message));
                }
                Ok(Err(Failure::Row(message))) => {
                    self.link = Some(link);
                    return Err(Trouble::Row(message));
                }
                Ok(Err(Failure::Lost(message))) => message,
                Err(_) if *link.may_have_written() => {
                    return Err(unknown("no answer before the deadline".to_owned()));
                }
                Err(_) => return Err(Trouble::Failed(DatabaseError::Timeout)),
            };
            if *link.may_have_written() {
                return Err(unknown(message));
            }
            if attempt == ATTEMPTS_MAX {
                return Err(Trouble::Failed(DatabaseError::Unavailable { message }));
            }
            attempt += 1;
        }
    }

    /// Like [`Lane::run`], but tries again after [`Failure::Busy`], until shortly before `deadline`.
    pub(super) async fn run_patiently<T>(
        &mut self,
        deadline: Instant,
        mut operation: impl for<'a> FnMut(&'a mut D::Link) -> Operation<'a, T>,
    ) -> Result<T, Trouble> {
        loop {
            match self.run(deadline, &mut operation).await {
                Err(Trouble::Busy(message)) => {
                    let again = busy_until();
                    if again + BUSY_PAUSE >= deadline {
                        return Err(Trouble::Failed(DatabaseError::Conflict { message }));
                    }
                    tokio::time::sleep_until(again.into()).await;
                }
                other => return other,
            }
        }
    }

    /// The connection that the last operation left open; `None`: it has been lost since.
    pub(super) fn link(&mut self) -> Option<&mut D::Link> {
        self.link.as_mut()
    }

    /// Drops the connection, even if an operation is in progress on it.
    pub(super) fn give_up(&mut self) {
        self.link = None;
    }

    /// Waits for the next job, and pings the connection meanwhile. `None`: there will be no more.
    pub(super) async fn next<S: Source>(&mut self, source: &S) -> Option<S::Job> {
        loop {
            match tokio::time::timeout(IDLE_MAX, source.next()).await {
                Ok(job) => return job,
                Err(_) => self.keep_alive().await,
            }
        }
    }

    async fn keep_alive(&mut self) {
        let Some(link) = &mut self.link else { return };
        let alive = tokio::time::timeout(PING_TIME_MAX, link.ping()).await;
        if !matches!(alive, Ok(Ok(()))) {
            self.link = None;
        }
    }

    /// Closes the connection.
    pub(super) async fn close(mut self) {
        if let Some(link) = self.link.take() {
            // If the server does not answer in time, it will notice that the socket was closed.
            tokio::time::timeout(CLOSE_TIME_MAX, link.close()).await.ok();
        }
    }
}

/// When to try again after [`Failure::Busy`].
pub(super) fn busy_until() -> Instant {
    Instant::now() + BUSY_PAUSE.mul_f64(0.5 + fastrand::f64())
}

fn unknown(message: String) -> Trouble {
    Trouble::Failed(DatabaseError::UnknownOutcome { message })
}
