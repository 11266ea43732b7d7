//! One question to the server: how long an answer is waited for, and what its absence says of the connection.

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

    /// The error of an operation; the connection serves nobody any more if it is to blame.
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

/// An operation under way. One that is given up has waited long enough, and is one without an answer: no operation is asked for by
/// a caller who might leave for reasons of its own.
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
