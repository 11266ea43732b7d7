//! The queues of a database whose work is done by threads or tasks of its own: how they are reached, and how they end.

use arc_swap::ArcSwapOption;
use switchover_core::capabilities::DatabaseError;
use tokio::sync::watch;

/// Queues until they are closed. Their workers do what is queued by then, and end.
pub(crate) struct UntilClosed<Q> {
    queues: ArcSwapOption<Q>,
    /// Closed when the last worker has ended.
    ended: watch::Receiver<()>,
}

impl<Q> UntilClosed<Q> {
    /// Open queues. Each worker holds the other end of `ended` until it ends.
    pub(crate) fn new(queues: Q, ended: watch::Receiver<()>) -> Self {
        Self { queues: ArcSwapOption::from_pointee(queues), ended }
    }

    /// Puts something into one of the queues.
    ///
    /// # Errors
    ///
    /// [`closed`], and those of `enqueue`.
    pub(crate) fn put(&self, enqueue: impl FnOnce(&Q) -> Result<(), DatabaseError>) -> Result<(), DatabaseError> {
        self.queues.load().as_ref().map_or_else(|| Err(closed()), |queues| enqueue(queues))
    }

    /// Takes nothing more, and waits until the last worker has ended. Each worker is bounded by the deadlines it
    /// serves.
    pub(crate) async fn close(&self) {
        self.queues.store(None);
        let mut ended = self.ended.clone();
        // Nothing is ever sent: this ends when the last worker has dropped its end.
        while ended.changed().await.is_ok() {}
    }
}

/// The error of queues that were closed.
pub(crate) fn closed() -> DatabaseError {
    DatabaseError::Unavailable { message: "it was closed".to_owned() }
}
