//! Work that ends whatever becomes of its caller.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll, Waker};

use crate::error::Error;

/// Runs work that must not stop halfway when its caller goes away. It runs in the caller's task as far as it gets without waiting,
/// since a task and its wake-ups cost about as much as a load from memory; once it waits, it goes on in a task of its own.
pub(crate) async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let mut work = Box::pin(work);
    // Nobody has to be woken after this poll, since the new task polls again at once. A panic ends the work, not its caller, as it
    // does in a task.
    let begun = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(&mut Context::from_waker(Waker::noop()))));
    let done = match begun {
        Ok(Poll::Ready(done)) => Some(done),
        Ok(Poll::Pending) => tokio::spawn(work).await.ok(),
        Err(_panic) => None,
    };
    done.unwrap_or_else(|| Err(Error::UnknownOutcome { message: "the call panicked in the host".to_owned() }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::{Semaphore, oneshot};

    use super::*;

    #[tokio::test]
    async fn work_that_never_waits_runs_in_the_task_of_its_caller() {
        let caller = tokio::spawn(async {
            let there = to_the_end(async { Ok(tokio::task::id()) }).await.expect("it ends");
            assert_eq!(there, tokio::task::id());
        });
        caller.await.expect("the same task");
    }

    #[tokio::test]
    async fn work_that_waits_ends_without_its_caller() {
        let gate = Arc::new(Semaphore::new(0));
        let (ended, end) = oneshot::channel();
        let waits = Arc::clone(&gate);
        let mut caller = Box::pin(to_the_end(async move {
            let _ = waits.acquire().await;
            let _ = ended.send(());
            Ok(())
        }));
        assert!(caller.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(caller);
        gate.add_permits(1);
        end.await.expect("the work ends");
    }

    #[tokio::test]
    async fn panic_of_the_work_is_an_error_of_its_caller() {
        for waits in [false, true] {
            let done: Result<(), _> = to_the_end(async move {
                if waits {
                    tokio::task::yield_now().await;
                }
                panic!("a bug of the host")
            })
            .await;
            assert!(matches!(done, Err(Error::UnknownOutcome { .. })));
        }
    }
}
