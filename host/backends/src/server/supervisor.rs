//! The task of a lane. If a lane panics, another one replaces it, with a connection of its own.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::connector::Connector;
use super::lane::Lane;
use super::link::Driver;

/// How long it waits before it replaces a lane that panicked. A lane that panics again at once must not keep a core
/// busy.
const PANIC_PAUSE: Duration = Duration::from_millis(50);

/// Runs a lane until its queue is closed and empty, and then drops `alive`. `link` is the first lane's connection, if
/// there is one yet.
///
/// A panic drops the requests that the lane was working on, so their callers get an error. It also drops the
/// connection, which undoes what was not committed.
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
                // The lane has ended, or the runtime has.
                Ok(()) | Err(_) => break,
            }
        }
        drop(alive);
    });
}
