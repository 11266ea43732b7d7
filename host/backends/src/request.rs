//! One operation on its way to a thread or a task and back, and what is known about its outcome once the caller has
//! stopped waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

use switchover_core::capabilities::DatabaseError;
use tokio::sync::oneshot;

/// No thread or task has begun it.
const WAITING: u8 = 0;
/// One has begun it: a write may already be in the database.
const BEGUN: u8 = 1;
/// The caller gave up before it was begun. It will never be begun.
const GIVEN_UP: u8 = 2;

/// Makes the two ends of one operation.
///
/// # Errors
///
/// [`DatabaseError::Timeout`] if the deadline has already passed.
pub(crate) fn request<T>(deadline: Instant) -> Result<(Request<T>, Reply<T>), DatabaseError> {
    if deadline <= Instant::now() {
        return Err(DatabaseError::Timeout);
    }
    let stage = Arc::new(AtomicU8::new(WAITING));
    let (sender, receiver) = oneshot::channel();
    let request = Request { deadline, stage: Arc::clone(&stage), answer: sender };
    Ok((request, Reply { deadline, stage, answer: receiver }))
}

/// The end of the thread or task that does it.
#[derive(Debug)]
pub(crate) struct Request<T> {
    deadline: Instant,
    stage: Arc<AtomicU8>,
    answer: oneshot::Sender<Result<T, DatabaseError>>,
}

impl<T> Request<T> {
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Returns `None` if nobody waits for it any more. Also if its deadline has passed; then it has been answered.
    pub(crate) fn if_wanted(self) -> Option<Self> {
        if self.answer.is_closed() {
            return None;
        }
        if self.deadline <= Instant::now() {
            self.answer(Err(DatabaseError::Timeout));
            return None;
        }
        Some(self)
    }

    /// Must be called before the first statement that could have an effect. `None`: it has been answered and must not
    /// be executed.
    pub(crate) fn begin(self) -> Option<Self> {
        let request = self.if_wanted()?;
        // A request whose transaction was rolled back begins a second time.
        match request.stage.compare_exchange(WAITING, BEGUN, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) | Err(BEGUN) => Some(request),
            Err(_) => None,
        }
    }

    /// Puts the request back into the waiting state: its effects were undone.
    #[cfg(any(feature = "postgres", feature = "mysql"))]
    pub(crate) fn was_undone(&self) {
        let _given_up = self.stage.compare_exchange(BEGUN, WAITING, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Sends the answer. Returns `false` if nobody waits for it any more.
    pub(crate) fn answer(self, result: Result<T, DatabaseError>) -> bool {
        self.answer.send(result).is_ok()
    }
}

/// What the caller gets for an operation that had begun and was not answered before its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Late {
    /// The operation has no lasting effect, even if it ends later.
    Timeout,
    /// The operation may have written.
    UnknownOutcome,
}

/// The caller's end.
#[derive(Debug)]
pub(crate) struct Reply<T> {
    deadline: Instant,
    stage: Arc<AtomicU8>,
    answer: oneshot::Receiver<Result<T, DatabaseError>>,
}

impl<T> Reply<T> {
    /// Waits for the answer until the deadline.
    pub(crate) async fn wait(mut self, late: Late) -> Result<T, DatabaseError> {
        let in_time = match tokio::time::timeout_at(self.deadline.into(), &mut self.answer).await {
            Ok(Ok(result)) => return result,
            Ok(Err(_)) => Instant::now() < self.deadline,
            Err(_) => false,
        };
        let waited = self.stage.compare_exchange(WAITING, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire).is_ok();
        // The answer may have arrived at the deadline.
        if let Ok(result) = self.answer.try_recv() {
            return result;
        }
        match (waited, late) {
            (false, Late::UnknownOutcome) => {
                Err(DatabaseError::UnknownOutcome { message: "it was begun and not answered".to_owned() })
            }
            (true, _) | (_, Late::Timeout) if in_time => {
                Err(DatabaseError::Unavailable { message: "it has ended".to_owned() })
            }
            _ => Err(DatabaseError::Timeout),
        }
    }
}
