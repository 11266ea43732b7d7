//! A bounded queue from which several lanes take jobs.

use tokio::sync::{Mutex, mpsc};

use super::lane::Source;

/// The receiving end of a queue.
pub(super) struct Inbox<J>(Mutex<mpsc::Receiver<J>>);

impl<J> Inbox<J> {
    pub(super) fn new(capacity: usize) -> (mpsc::Sender<J>, Self) {
        let (sender, receiver) = mpsc::channel(capacity);
        (sender, Self(Mutex::new(receiver)))
    }

    /// Takes the jobs that are queued now, until `jobs` has `max`. It never waits.
    pub(super) fn more(&self, max: usize, jobs: &mut Vec<J>) {
        // If another lane waits for a job, the queue is empty.
        let Ok(mut queue) = self.0.try_lock() else { return };
        while jobs.len() < max {
            let Ok(job) = queue.try_recv() else { return };
            jobs.push(job);
        }
    }
}

impl<J: Send> Source for Inbox<J> {
    type Job = J;

    async fn next(&self) -> Option<J> {
        self.0.lock().await.recv().await
    }
}
