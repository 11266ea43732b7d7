//! A lane's task: a lane that panics is followed by another one, with a connection of its own.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::connector::Connector;
use super::lane::Lane;
use super::link::Driver;

/// How long a lane that panicked is not replaced: what panics again at once must not keep a core busy.
const PANIC_PAUSE: Duration = Duration::from_millis(50);

/// Runs a lane until its queue is closed and empty, and drops `alive` then; `link` is the first one's connection, if there is one yet.
///
/// A panic drops the requests that the lane had in hand, which tells their callers, and its connection, which undoes what was not
/// committed.
pub(super) fn spawn<D: Driver, F>(
    alive: &watch::Sender<()>,
    connector: &Arc<Connector<D>>,
    mut link: Option<D::Link>,
    run: impl Fn(Lane<D>) -> F + Send + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let (alive, connector) = (alive.clone(), Arc::clone(connector));
    tokio::spawn(async move {
        loop {
            let lane = tokio::spawn(run(Lane::new(Arc::clone(&connector), link.take())));
            match lane.await {
                Err(error) if error.is_panic() => {
                    tracing::error!(
                        "a lane of a database panicked, which is a bug of its driver; another one is started"
                    );
                    tokio::time::sleep(PANIC_PAUSE).await;
                }
                // It has ended, or the runtime has.
                Ok(()) | Err(_) => break,
            }
        }
        drop(alive);
    });
}
