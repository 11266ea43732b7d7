//! Turns what a guest writes to its standard output and error into lines of its log.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use switchover_contract::Level;
use switchover_core::sync::Mutex;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::call::CallContext;
use crate::limits::LOG_LINE_BYTES_MAX;

/// The line that a guest has begun in this call and not yet ended.
#[derive(Default)]
pub(super) struct Output {
    call: Option<Arc<CallContext>>,
    line: Vec<u8>,
}

impl Output {
    pub(super) fn begin(&mut self, call: Arc<CallContext>) {
        self.call = Some(call);
    }

    /// Ends the call. An unfinished line is written now, while the call's key is known and can be struck out.
    pub(super) fn end(&mut self) {
        self.end_line(Level::Info);
        self.call = None;
    }

    fn write(&mut self, level: Level, bytes: &[u8]) {
        for &byte in bytes {
            match byte {
                b'\n' => self.end_line(level),
                // It keeps twice the length of a log line, so that the cut never leaves half of a key.
                _ if self.line.len() < 2 * LOG_LINE_BYTES_MAX => self.line.push(byte),
                _ => {}
            }
        }
    }

    fn end_line(&mut self, level: Level) {
        let line = std::mem::take(&mut self.line);
        if let (Some(call), false) = (&self.call, line.is_empty()) {
            call.log(level, &String::from_utf8_lossy(&line));
        }
    }
}

/// Standard output or error of a guest that knows `wasi:cli`.
#[derive(Clone)]
pub(super) struct LogStream {
    pub(super) output: Arc<Mutex<Output>>,
    pub(super) level: Level,
}

impl LogStream {
    fn append(&self, bytes: &[u8]) {
        self.output.lock().write(self.level, bytes);
    }
}

impl IsTerminal for LogStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LogStream {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for LogStream {
    async fn ready(&mut self) {}
}

impl OutputStream for LogStream {
    fn write(&mut self, bytes: bytes::Bytes) -> StreamResult<()> {
        self.append(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(LOG_LINE_BYTES_MAX)
    }
}

impl AsyncWrite for LogStream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.append(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
