//! The audit log: who gave which command, and how it ended.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Request, State as FromState};
use axum::http::StatusCode;
use axum::http::header::FROM;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use switchover::capabilities::{Clock as _, SystemClock};

use super::Operated;
use super::refusal::NO_AUDIT;
use crate::access::Caller;
use crate::asked::written as instant;

/// The longest name of a caller.
const NAME_MAX: usize = 64;

/// Where commands are written: before they are made, and once more when they have ended. A command that cannot be
/// written is not made. Cheap to clone.
#[derive(Clone)]
pub struct Audit(Option<Arc<Mutex<File>>>);

impl Audit {
    /// Into the log of the process, as events of `tracing` with the target `switchover::audit`.
    pub fn to_log() -> Self {
        Self(None)
    }

    /// Into a file, a JSON object each line; what is there stays. The lines of two processes do not mix.
    ///
    /// # Errors
    ///
    /// The file cannot be opened.
    pub fn to_file(path: impl AsRef<Path>) -> io::Result<Self> {
        let file = File::options().append(true).create(true).open(path)?;
        Ok(Self(Some(Arc::new(Mutex::new(file)))))
    }

    /// Returns when the line is on the disk.
    async fn write(&self, line: Value) -> io::Result<()> {
        let Some(file) = self.0.clone() else {
            tracing::info!(target: "switchover::audit", "{line}");
            return Ok(());
        };
        let write = move || {
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            file.write_all(format!("{line}\n").as_bytes())?;
            file.sync_data()
        };
        tokio::task::spawn_blocking(write).await.map_err(io::Error::other)?
    }
}

/// Who gives a command.
#[derive(Clone)]
pub(super) struct Operator(pub(super) String);

/// Writes each command. What only looks is not written.
pub(super) async fn written(FromState(state): FromState<Operated>, mut request: Request, next: Next) -> Response {
    let operator = operator(&request);
    let command = request.uri().path().trim_start_matches("/v1/admin/").to_owned();
    let looks = request.method().is_safe();
    request.extensions_mut().insert(Operator(operator.clone()));
    if looks {
        return next.run(request).await;
    }
    let line = |status: Option<StatusCode>| {
        let status = status.map(|status| status.as_u16());
        json!({"at": instant(SystemClock.now()), "by": operator, "command": command, "status": status})
    };
    if let Err(error) = state.audit.write(line(None)).await {
        let detail = format!("the audit log cannot be written, so nothing was done: {error}");
        return NO_AUDIT.problem(detail).into_response();
    }
    let response = next.run(request).await;
    if let Err(error) = state.audit.write(line(Some(response.status()))).await {
        tracing::error!("the end of the command `{command}` is not in the audit log: {error}");
    }
    response
}

/// The token's name, and the name that the caller gives itself in the header `From`. The second can neither push out
/// the first nor look like it.
fn operator(request: &Request) -> String {
    let clean = |name: &str| name.chars().filter(|c| !c.is_control()).take(NAME_MAX).collect::<String>();
    let known = request.extensions().get::<Caller>();
    let known = known.map_or_else(|| "somebody at the socket".to_owned(), |Caller(name)| clean(name));
    let own = request.headers().get(FROM).and_then(|name| name.to_str().ok());
    own.map_or_else(|| known.clone(), |own| format!("{} ({known})", clean(&own.replace(['(', ')'], ""))))
}
