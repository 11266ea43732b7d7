//! `log`: lines of a policy in the service's log, bounded, the call's key struck out. What a guest writes to its standard output
//! and error goes the same way.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwapOption;
use switchover_guest::Level;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};

use super::bindings::switchover::policy::log::{Host, Level as GuestLevel};
use super::call::CallContext;
use super::types::GuestState;

impl Host for GuestState {
    fn write(&mut self, level: GuestLevel, message: String) -> wasmtime::Result<()> {
        let level = match level {
            GuestLevel::Debug => Level::Debug,
            GuestLevel::Info => Level::Info,
            GuestLevel::Warn => Level::Warn,
            GuestLevel::Error => Level::Error,
        };
        self.call_ref()?.log(level, &message);
        Ok(())
    }
}

/// Standard output or error of a guest that knows `wasi:cli`: each write is a line of its log.
#[derive(Clone)]
pub(crate) struct LogStream {
    pub(crate) call: Arc<ArcSwapOption<CallContext>>,
    pub(crate) level: Level,
}

impl IsTerminal for LogStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogStream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for LogStream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(call) = self.call.load_full() {
            let text = String::from_utf8_lossy(bytes);
            text.lines().filter(|line| !line.trim().is_empty()).for_each(|line| call.log(self.level, line));
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
