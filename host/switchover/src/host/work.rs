//! Runs work for a caller, either to its end even if the caller goes away, or only as long as the caller.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use switchover_runtime::Error;

/// Runs work that must not stop halfway when its caller goes away. The work runs in the caller's task until it first
/// waits, since a task and its wake-ups cost about as much as a load from memory. Then it continues in a task of its
/// own.
pub(crate) async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let mut work = Box::pin(work);
    // This poll needs no waker, since the new task polls again at once. As in a task, a panic ends the work and not its
    // caller.
    let begun = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(&mut Context::from_waker(Waker::noop()))));
    let done = match begun {
        Ok(Poll::Ready(done)) => Some(done),
        Ok(Poll::Pending) => tokio::spawn(work).await.ok(),
        Err(_panic) => None,
    };
    done.unwrap_or_else(|| Err(panicked()))
}

/// Runs work in the caller's task. The work ends with the caller. A panic becomes an error of the call.
///
/// The caller pins the work: it is large, and is not moved once more.
pub(crate) async fn caught<T>(mut work: Pin<&mut impl Future<Output = Result<T, Error>>>) -> Result<T, Error> {
    poll_fn(|task| {
        let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(task)));
        polled.unwrap_or_else(|_panic| Poll::Ready(Err(panicked())))
    })
    .await
}

fn panicked() -> Error {
    Error::UnknownOutcome { message: "the call panicked in the host".to_owned() }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
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
        let work = |waits| async move {
            if waits {
                tokio::task::yield_now().await;
            }
            panic!("a bug of the host")
        };
        for waits in [false, true] {
            for done in [to_the_end(work(waits)).await, caught(pin!(work(waits))).await] {
                let done: Result<(), _> = done;
                assert!(matches!(done, Err(Error::UnknownOutcome { .. })));
            }
        }
    }

    #[tokio::test]
    async fn caught_work_ends_with_its_caller() {
        let gate = Arc::new(Semaphore::new(0));
        let waits = Arc::clone(&gate);
        let mut caller = Box::pin(async move {
            let work = pin!(async move {
                let _ = waits.acquire().await;
                Ok(())
            });
            caught(work).await
        });
        assert!(caller.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(Arc::strong_count(&gate), 2);
        drop(caller);
        assert_eq!(Arc::strong_count(&gate), 1, "it is gone");
    }
}
