//! One connection: how it is made and tried, and how its errors are told without secrets.

use std::io;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, Client, ErrorKind, RedisError, cmd};
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use super::scripts::{Incarnation, Scripts};
use crate::tls::Words;

const TLS: Words = Words { authority: "`ca_file`", without: "give an address with `redis:`" };

/// Operations that may be queued at one connection: the calls that a host lets in by default, each with one.
const PIPELINE_BUFFER: usize = 2_048;

/// A connection that was tried: its server takes writes, and has the scripts.
pub(super) struct Link {
    pub(super) connection: MultiplexedConnection,
    pub(super) server: Incarnation,
    /// Whether `SET` takes `NX` and `GET` together: Redis does from 7.0 on, Valkey always.
    pub(super) looks_by_set: bool,
    /// Whether the user may look many keys up by one command.
    pub(super) looks_together: bool,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ConnectError {
    /// The server cannot be reached, or is not ready: it may be later.
    Unreachable(String),
    /// It answered, and this will not change by itself.
    Refused(String),
}

impl ConnectError {
    pub(super) fn message(self) -> String {
        match self {
            Self::Unreachable(message) | Self::Refused(message) => message,
        }
    }
}

/// Opens a connection without trying what the server is.
pub(super) async fn open(client: &Client, wait: Duration) -> Result<MultiplexedConnection, ConnectError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(wait))
        // The caller bounds each operation; two timers would only cost.
        .set_response_timeout(None)
        .set_pipeline_buffer_size(PIPELINE_BUFFER);
    let opened = timeout(wait, client.get_multiplexed_async_connection_with_config(&config)).await;
    opened.map_err(|_| silent(wait))?.map_err(|error| connect_error(&error))
}

/// Opens a connection and tries it: which server it is, whether it takes writes, with the scripts loaded.
pub(super) async fn connect(
    client: &Client,
    scripts: &Scripts,
    name: &str,
    wait: Duration,
) -> Result<Link, ConnectError> {
    let connection = open(client, wait).await?;
    timeout(wait, prepare(connection, scripts, name)).await.map_err(|_| silent(wait))?
}

async fn prepare(mut opened: MultiplexedConnection, scripts: &Scripts, name: &str) -> Result<Link, ConnectError> {
    let connection = &mut opened;
    // For people who list the server's clients; one that may not be named works as well.
    let _named = cmd("CLIENT").arg("SETNAME").arg(name).exec_async(connection).await;
    let server = info(connection, "server").await?;
    let incarnation = incarnation(&server, &info(connection, "replication").await?)?;
    for script in scripts.all() {
        script.load_async(connection).await.map_err(|error| connect_error(&error))?;
    }
    // Whatever else an error says of the server, the trial says too.
    let looks_by_set = scripts.trial_look().exec_async(connection).await.is_ok();
    let looks_together = scripts.trial_look_many().exec_async(connection).await.is_ok();
    let tried: Result<(), _> = scripts.trial().invoke_async(connection).await;
    tried.map_err(|error| connect_error(&error))?;
    Ok(Link { connection: opened, server: incarnation, looks_by_set, looks_together })
}

/// Not in one pipeline: that would not tell the code of an error.
async fn info(connection: &mut MultiplexedConnection, section: &str) -> Result<String, ConnectError> {
    cmd("INFO").arg(section).query_async(connection).await.map_err(|error| connect_error(&error))
}

/// Which run of which server. Not its history of replication: that changes when a first replica comes, and hosts that
/// connected before and after would not read each other's entries.
fn incarnation(server: &str, replication: &str) -> Result<Incarnation, ConnectError> {
    if field(server, "redis_mode").is_some_and(|mode| mode != "standalone") {
        let message = "it is a sentinel or part of a cluster: give the address of one server that holds all keys";
        return Err(ConnectError::Refused(message.to_owned()));
    }
    if field(replication, "role") != Some("master") {
        // After a failover the address may soon lead elsewhere.
        return Err(ConnectError::Unreachable("it is a replica: give the primary's address".to_owned()));
    }
    let Some(run) = field(server, "run_id") else {
        return Err(ConnectError::Refused("`INFO` does not tell `run_id`: this server cannot be used".to_owned()));
    };
    let digest = Sha256::digest(run.as_bytes());
    Ok(Incarnation(digest[..8].try_into().expect("a digest has 32 bytes")))
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

fn silent(wait: Duration) -> ConnectError {
    ConnectError::Unreachable(format!("no answer within {} ms", wait.as_millis()))
}

fn connect_error(error: &RedisError) -> ConnectError {
    let message = text(error);
    match error.kind() {
        ErrorKind::AuthenticationFailed => {
            ConnectError::Refused("the server refused user or password, or wants one".to_owned())
        }
        _ if code(error) == Some("NOPERM") => {
            let needs = "INFO, SCRIPT LOAD, EVALSHA, GET, SET, DEL, PTTL and TIME under the prefix";
            ConnectError::Refused(format!("{message}: the user must be allowed {needs}"))
        }
        ErrorKind::InvalidClientConfig => ConnectError::Refused(message),
        _ if matches!(error.code(), Some("NOAUTH" | "WRONGPASS")) => {
            ConnectError::Refused(format!("{message}: give user and password in the address"))
        }
        _ => ConnectError::Unreachable(message),
    }
}

/// What failed, for people. A server's own words may repeat an argument, so only their first one, the code, is told.
pub(super) fn text(error: &RedisError) -> String {
    match (code(error), error.kind()) {
        (Some("ERR"), _) => "the server answered with an error".to_owned(),
        (Some(code), _) => format!("the server answered {code}"),
        (None, ErrorKind::Io) => TLS.explain(error).unwrap_or_else(|| format!("the connection failed: {error}")),
        (None, _) => error.category().to_owned(),
    }
}

/// The code of an error. Below Redis 7.0 that of a command in a script stands behind the place in the script:
/// `@user_script: 1: -OOM command not allowed`.
fn code(error: &RedisError) -> Option<&str> {
    let code = error.code()?;
    if code != "ERR" && !code.starts_with("@user_script") {
        return Some(code);
    }
    let inner = error.detail().and_then(|detail| detail.rsplit_once(": -")?.1.split(' ').next());
    let is_code = |inner: &&str| !inner.is_empty() && inner.bytes().all(|byte| byte.is_ascii_uppercase());
    Some(inner.filter(is_code).unwrap_or("ERR"))
}

/// Whether an error says nothing against the connection and the server: only that one entry found no memory.
pub(super) fn is_want_of_memory(error: &RedisError) -> bool {
    code(error) == Some("OOM")
}

/// Whether an error says no more than that the value under a name has another type.
pub(super) fn is_wrong_type(error: &RedisError) -> bool {
    error.code() == Some("WRONGTYPE")
}

/// That nothing came in time, as an error of the connection.
pub(super) fn no_answer() -> RedisError {
    io::Error::from(io::ErrorKind::TimedOut).into()
}

#[cfg(test)]
mod tests {
    use ::redis::parse_redis_value;

    use super::*;

    #[test]
    fn code_of_an_error_in_a_script_is_found_below_redis_7_too() {
        let answers = [
            ("OOM command not allowed when used memory > 'maxmemory'.", "OOM"),
            ("OOM command not allowed when used memory > 'maxmemory'. script: f1, on @user_script:1.", "OOM"),
            ("@user_script: 23: -OOM command not allowed when used memory > 'maxmemory'.", "OOM"),
            (
                "ERR Error running script (call to f_5e36): @user_script:1: @user_script: 1: -READONLY You can't write",
                "READONLY",
            ),
            ("@user_script: 1: Wrong number of args calling Redis command From Lua script", "ERR"),
            ("ERR value: - is not an integer", "ERR"),
            ("ERR", "ERR"),
        ];
        for (answer, expected) in answers {
            let value = parse_redis_value(format!("-{answer}\r\n").as_bytes()).expect("an answer");
            let error = value.extract_error().expect_err("it is an error");
            assert_eq!(code(&error), Some(expected), "{answer}");
            assert_eq!(is_want_of_memory(&error), expected == "OOM", "{answer}");
            let told = if expected == "ERR" { "the server answered with an error" } else { expected };
            assert!(text(&error).contains(told) && !text(&error).contains("script"), "{}", text(&error));
        }
    }
}
