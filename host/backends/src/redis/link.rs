//! One connection: how it is made and tried, and how its errors are reported without secrets.

use std::io;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, Client, ErrorKind, RedisError, cmd};
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use super::scripts::{Incarnation, Scripts};
use crate::tls::Words;

const TLS: Words = Words { authority: "`ca_file`", without: "give an address with `redis:`" };

/// How many operations may be queued on one connection: as many as a host admits calls by default, each with one
/// operation.
const PIPELINE_BUFFER: usize = 2_048;

/// A connection that has been tried: its server takes writes, and has the scripts.
pub(super) struct Link {
    pub(super) connection: MultiplexedConnection,
    pub(super) server: Incarnation,
    /// Whether `SET` takes `NX` and `GET` together. Redis does from 7.0 on, Valkey always does.
    pub(super) looks_by_set: bool,
    /// Whether the user may look up many keys by one command.
    pub(super) looks_together: bool,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ConnectError {
    /// The server cannot be reached or is not ready; it may be later.
    Unreachable(String),
    /// The server answered, and its refusal will not change by itself.
    Refused(String),
}

impl ConnectError {
    pub(super) fn message(self) -> String {
        match self {
            Self::Unreachable(message) | Self::Refused(message) => message,
        }
    }
}

/// Opens a connection without checking the server.
pub(super) async fn open(client: &Client, wait: Duration) -> Result<MultiplexedConnection, ConnectError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(wait))
        // The caller limits the time of each operation; a second timer would only cost time.
        .set_response_timeout(None)
        .set_pipeline_buffer_size(PIPELINE_BUFFER);
    let opened = timeout(wait, client.get_multiplexed_async_connection_with_config(&config)).await;
    opened.map_err(|_| silent(wait))?.map_err(|error| connect_error(&error))
}

/// Opens a connection and tries it: finds out which server it is, loads the scripts, and checks that it takes writes.
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
    // For people who list the server's clients. A connection without a name works as well.
    let _named = cmd("CLIENT").arg("SETNAME").arg(name).exec_async(connection).await;
    let server = info(connection, "server").await?;
    let incarnation = incarnation(&server, &info(connection, "replication").await?)?;
    for script in scripts.all() {
        script.load_async(connection).await.map_err(|error| connect_error(&error))?;
    }
    // If the error has another cause in the server, the trial below reports it too.
    let looks_by_set = scripts.trial_look().exec_async(connection).await.is_ok();
    let looks_together = scripts.trial_look_many().exec_async(connection).await.is_ok();
    let tried: Result<(), _> = scripts.trial().invoke_async(connection).await;
    tried.map_err(|error| connect_error(&error))?;
    Ok(Link { connection: opened, server: incarnation, looks_by_set, looks_together })
}

/// Not in one pipeline, because that would lose the code of an error.
async fn info(connection: &mut MultiplexedConnection, section: &str) -> Result<String, ConnectError> {
    cmd("INFO").arg(section).query_async(connection).await.map_err(|error| connect_error(&error))
}

/// Identifies one run of one server. It does not include the server's history of replication. That history changes when
/// the first replica is added; then hosts that connected before and hosts that connected after would not read each
/// other's entries.
fn incarnation(server: &str, replication: &str) -> Result<Incarnation, ConnectError> {
    if field(server, "redis_mode").is_some_and(|mode| mode != "standalone") {
        let message = "it is a sentinel or part of a cluster: give the address of one server that holds all keys";
        return Err(ConnectError::Refused(message.to_owned()));
    }
    if field(replication, "role") != Some("master") {
        // After a failover the address may soon lead to another server.
        return Err(ConnectError::Unreachable("it is a replica: give the primary's address".to_owned()));
    }
    let Some(run) = field(server, "run_id") else {
        return Err(ConnectError::Refused("`INFO` has no `run_id`: this server cannot be used".to_owned()));
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

/// Says for people what failed. The server's message may contain an argument, so only its first word, the code, is
/// used.
pub(super) fn text(error: &RedisError) -> String {
    match (code(error), error.kind()) {
        (Some("ERR"), _) => "the server answered with an error".to_owned(),
        (Some(code), _) => format!("the server answered {code}"),
        (None, ErrorKind::Io) => TLS.explain(error).unwrap_or_else(|| format!("the connection failed: {error}")),
        (None, _) => error.category().to_owned(),
    }
}

/// The code of an error. Below Redis 7.0, the code of an error of a command in a script comes after the place in the
/// script: `@user_script: 1: -OOM command not allowed`.
fn code(error: &RedisError) -> Option<&str> {
    let code = error.code()?;
    if code != "ERR" && !code.starts_with("@user_script") {
        return Some(code);
    }
    let inner = error.detail().and_then(|detail| detail.rsplit_once(": -")?.1.split(' ').next());
    let is_code = |inner: &&str| !inner.is_empty() && inner.bytes().all(|byte| byte.is_ascii_uppercase());
    Some(inner.filter(is_code).unwrap_or("ERR"))
}

/// Whether the error says only that there was no memory for one entry. It says nothing against the connection or the
/// server.
pub(super) fn is_want_of_memory(error: &RedisError) -> bool {
    code(error) == Some("OOM")
}

/// Whether the error says only that the value under a name has another type.
pub(super) fn is_wrong_type(error: &RedisError) -> bool {
    error.code() == Some("WRONGTYPE")
}

/// The error of a connection on which no answer came in time.
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
