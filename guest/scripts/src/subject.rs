//! Who answers a script's calls: a policy, natively or by another way.

use std::marker::PhantomData;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use switchover_guest::Policy;

use super::answer::Answer;
use super::call::Call;
use super::fakes::Fakes;

/// What a script is run against.
pub trait Subject: Sync {
    /// Makes one call of the policy, with these fakes as its host. Every script has fakes of its own.
    fn call(&self, fakes: &Arc<Fakes>, call: &Call) -> impl Future<Output = Answer> + Send;
}

/// A policy as plain Rust.
#[derive(Debug)]
pub struct NativeSubject<P>(PhantomData<P>);

impl<P> NativeSubject<P> {
    /// The policy `P`.
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<P> Default for NativeSubject<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P: Policy> Subject for NativeSubject<P> {
    async fn call(&self, fakes: &Arc<Fakes>, call: &Call) -> Answer {
        let host = &**fakes;
        match call.clone() {
            Call::Load { key } => Answer::Session(P::load(host, &key).await),
            Call::Save { key, value, mode } => Answer::Outcome(P::save(host, &key, value, mode).await),
            Call::Touch { key, expires_at } => Answer::Outcome(P::touch(host, &key, expires_at).await),
            Call::Delete { key } => Answer::Truth(P::delete(host, &key).await),
            Call::Exists { key } => Answer::Truth(P::exists(host, &key).await),
            Call::ClearExpired { limit } => Answer::Count(P::clear_expired(host, limit).await),
            Call::DbForRead { model, hints } => Answer::Database(P::db_for_read(host, &model, &hints)),
            Call::DbForWrite { model, hints } => Answer::Database(P::db_for_write(host, &model, &hints)),
            Call::AllowRelation { a, b, hints } => Answer::Opinion(P::allow_relation(host, &a, &b, &hints)),
            Call::AllowMigrate { database, app_label, model_name, hints } => {
                Answer::Opinion(P::allow_migrate(host, &database, &app_label, model_name.as_deref(), &hints))
            }
            Call::Describe => Answer::Description(P::describe(host)),
        }
    }
}

/// Runs a future to its end on this thread.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}
