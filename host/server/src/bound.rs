//! A bound on open connections, over every door.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::http::Request;
use axum_server::accept::Accept;
use metrics::counter;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_service::Service;

use crate::trace::{self, Scheme};

/// Accepts as another acceptor does, while there is a place.
#[derive(Clone)]
pub(crate) struct Bounded<A> {
    pub(crate) acceptor: A,
    pub(crate) places: Arc<Semaphore>,
    pub(crate) scheme: Scheme,
}

/// A service with the place of its connection.
#[derive(Clone)]
pub(crate) struct Placed<S> {
    service: S,
    scheme: Scheme,
    _place: Arc<OwnedSemaphorePermit>,
}

impl<A, I, S> Accept<I, S> for Bounded<A>
where
    A: Accept<I, S>,
    A::Future: Send + 'static,
{
    type Stream = A::Stream;
    type Service = Placed<A::Service>;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            counter!("switchover_http_connections_refused_total").increment(1);
            return Box::pin(async { Err(io::Error::other("too many connections are open")) });
        };
        let (accepted, scheme) = (self.acceptor.accept(stream, service), self.scheme);
        Box::pin(async move {
            let (stream, service) = accepted.await?;
            Ok((stream, Placed { service, scheme, _place: Arc::new(place) }))
        })
    }
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for Placed<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        if trace::is_on() {
            request.extensions_mut().insert(self.scheme);
        }
        self.service.call(request)
    }
}
