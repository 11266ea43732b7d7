//! One call to the server: how long it waits for the answer, and what a missing answer means for the connection.

use std::sync::Arc;

use ::redis::{FromRedisValue, RedisError, RedisResult, ScriptInvocation};
use switchover_core::capabilities::CacheError;
use tokio::time::timeout;

use super::link::{Link, is_want_of_memory, no_answer, text};
use super::shared::Shared;

impl Shared {
    /// Runs a script within the response timeout.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        link: &Arc<Link>,
        call: ScriptInvocation<'_>,
    ) -> Result<T, CacheError> {
        let mut connection = link.connection.clone();
        let answer = self.answer(link, call.invoke_async(&mut connection)).await;
        answer.map_err(|error| self.failed(link, &error))
    }

    /// Waits for an answer within the response timeout.
    pub(super) async fn answer<T>(
        &self,
        link: &Arc<Link>,
        call: impl Future<Output = RedisResult<T>>,
    ) -> RedisResult<T> {
        let mut running = Running { shared: self, link, ended: false };
        let answer = timeout(self.response_timeout, call).await;
        running.ended = true;
        answer.unwrap_or_else(|_| Err(no_answer()))
    }

    /// Makes the error of an operation. Gives the connection up, unless the server only lacked memory.
    pub(super) fn failed(&self, link: &Arc<Link>, error: &RedisError) -> CacheError {
        if !is_want_of_memory(error) {
            self.fault(link, text(error));
        }
        CacheError { message: text(error) }
    }

    pub(super) fn connected(&self) -> Result<Arc<Link>, CacheError> {
        self.link().ok_or_else(|| self.lost())
    }

    pub(super) fn lost(&self) -> CacheError {
        CacheError { message: format!("no connection to {} now", self.place) }
    }
}

/// An operation in progress. If it is dropped before it ends, it counts as one without an answer: it has waited long
/// enough then, because no caller that may leave for its own reasons runs one directly.
struct Running<'a> {
    shared: &'a Shared,
    link: &'a Arc<Link>,
    ended: bool,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.shared.fault(self.link, "an operation was given up before it was answered".to_owned());
        }
    }
}
