//! How work is run for a caller: to its end whatever becomes of the caller, or with the caller.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use switchover_runtime::Error;

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
    done.unwrap_or_else(|| Err(panicked()))
}

/// Runs work in the caller's task, and ends with the caller. A panic is an error of the caller.
pub(crate) async fn caught<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let mut work = pin!(work);
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
            for done in [to_the_end(work(waits)).await, caught(work(waits)).await] {
                let done: Result<(), _> = done;
                assert!(matches!(done, Err(Error::UnknownOutcome { .. })));
            }
        }
    }

    #[tokio::test]
    async fn caught_work_ends_with_its_caller() {
        let gate = Arc::new(Semaphore::new(0));
        let waits = Arc::clone(&gate);
        let mut caller = Box::pin(caught(async move {
            let _ = waits.acquire().await;
            Ok(())
        }));
        assert!(caller.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(Arc::strong_count(&gate), 2);
        drop(caller);
        assert_eq!(Arc::strong_count(&gate), 1, "it is gone");
    }
}
