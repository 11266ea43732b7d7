//! `switchover serve`: the session store over HTTP, and `switchover token`, which makes a token for it.

mod descriptors;
mod log;
mod metrics;
mod opened;
#[cfg(any(feature = "otel", test))]
mod traces;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use clap::builder::RangedU64ValueParser;
use switchover::backends::{Address, MemoryCache};
use switchover::{Builtin, Config, Layout, Limits, Policy, Switchover};
use switchover_server::{CONNECTIONS_MAX, Doors, Server, Tokens};
use tokio::signal::unix::{SignalKind, signal};

use self::opened::{Known, open};

use crate::output::{Colour, Verdict, note, paint_note, print};
use crate::place;

const SOCKET: &str = "switchover.sock";
const DATABASE: &str = "switchover.sqlite3";
const READ_AGAIN: &str = "read again";

/// The options of `serve`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  switchover serve
  curl --unix-socket switchover.sock -X POST -H 'Session-Expires: 2030-01-01T00:00:00Z' \\
      --data-binary hello -H 'Content-Type: application/octet-stream' http://localhost/v1/sessions
  switchover serve --config switchover.toml --unix /run/switchover/sock --unix-mode 660 --unix-group www-data
  switchover token >> tokens
  switchover serve --listen 0.0.0.0:7655 --tokens tokens --cert cert.pem --key key.pem
  switchover serve --config switchover.toml --admin-unix /run/switchover/admin --audit-log audit.jsonl
  curl --unix-socket /run/switchover/admin http://localhost/v1/admin/status

Without a configuration it keeps sessions in switchover.sqlite3, with a cache in its memory. Without
--unix and --listen it listens at the unix socket switchover.sock, for its own user alone.

SIGTERM and Ctrl-C: /readyz fails for --ready-delay, then requests under way end, then the databases
are closed. A second one ends it at once. SIGHUP reads the policy, the limits, the tokens and the files
of TLS again; if one of them is bad, the old one stays. Databases, cache and addresses need a restart,
as do the limits `calls_in_flight_max`, `call_cpu_time_ms`, `host_calls_max` and `warm_instances`.

The admin API is off unless --admin-unix or --admin-listen opens it.")]
pub(crate) struct Options {
    /// The configuration
    #[arg(long, default_value = place::CONFIG)]
    config: PathBuf,
    /// Listen at a unix socket
    #[arg(long, value_name = "PATH")]
    unix: Option<PathBuf>,
    /// The mode of the socket, octal: who may call
    #[arg(long, value_name = "MODE", default_value = "600", value_parser = mode)]
    unix_mode: u32,
    /// The group of the socket, by name or number; the server's user must be in it
    #[arg(long, value_name = "GROUP", value_parser = group)]
    unix_group: Option<u32>,
    /// Listen at a port, as in 127.0.0.1:7655
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Callers at the port must have one of the tokens whose hashes are in this file
    #[arg(long, value_name = "FILE", requires = "listen")]
    tokens: Option<PathBuf>,
    /// The certificate of the port, PEM
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Callers at the port must have a certificate of this authority
    #[arg(long, value_name = "FILE", requires = "cert")]
    client_ca: Option<PathBuf>,
    /// Let everyone who can reach the port read and write every session
    #[arg(long, requires = "listen")]
    let_anyone_call: bool,
    /// Send sessions and tokens over the network as they are
    #[arg(long)]
    without_tls: bool,
    /// Listen for operators at a unix socket: status, policies, and the commands of `switchover migrate`
    #[arg(long, value_name = "PATH")]
    admin_unix: Option<PathBuf>,
    /// The mode of that socket, octal
    #[arg(long, value_name = "MODE", default_value = "600", value_parser = mode)]
    admin_unix_mode: u32,
    /// The group of that socket
    #[arg(long, value_name = "GROUP", value_parser = group, requires = "admin_unix")]
    admin_unix_group: Option<u32>,
    /// Listen for operators at a port, with the certificate of --cert if it is given
    #[arg(long, value_name = "ADDRESS", requires = "admin_tokens")]
    admin_listen: Option<SocketAddr>,
    /// Operators at the port must have one of the tokens whose hashes are in this file
    #[arg(long, value_name = "FILE", requires = "admin_listen")]
    admin_tokens: Option<PathBuf>,
    /// Write each command of an operator into this file, not into the log
    #[arg(long, value_name = "FILE")]
    audit_log: Option<PathBuf>,
    /// Listen at a port for health checks and metrics alone; everyone who can reach it may ask
    #[arg(long, value_name = "ADDRESS")]
    metrics_listen: Option<SocketAddr>,
    /// How many connections may be open at a time, over all doors; fewer if the limit of open files is lower
    #[arg(long, value_name = "NUMBER", default_value_t = CONNECTIONS_MAX, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    connections: usize,
    /// How long /readyz fails before requests are refused
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(..=600))]
    ready_delay: u64,
    /// How long requests under way may take then
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    drain_wait: u64,
}

fn mode(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| (0o1..=0o777).contains(mode))
        .ok_or_else(|| "an octal number such as 660".to_owned())
}

/// The number of a group. Names are those of /etc/group.
fn group(text: &str) -> Result<u32, String> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let number =
        groups.lines().find_map(|line| line.strip_prefix(text)?.strip_prefix(':')?.split(':').nth(1)?.parse().ok());
    number.ok_or_else(|| "/etc/group has no group of this name: give its number".to_owned())
}

/// Serves until a signal ends it.
pub(crate) async fn run(options: Options) -> Result<Verdict> {
    let traces = log::start()?;
    let served = serve(options).await;
    log::end(traces).await;
    served
}

async fn serve(options: Options) -> Result<Verdict> {
    options.ensure_nobody_is_let_in_unasked()?;
    let known = Known::read(&options)?;
    let page = metrics::install()?;
    // Before the host, so that a signal that comes early ends the program as usual, and none is lost later.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut reload = signal(SignalKind::hangup())?;
    let switchover = options.host().await?;

    let doors = Doors::new(&switchover).with_metrics(page).with_trace_parents(log::continue_trace);
    let mut server = Server::new(doors.clone()).with_connections_max(descriptors::bounded(options.connections));
    if let Err(error) = open(&mut server, &doors, &switchover, &known, &options) {
        // A door that opened before the one that did not is closed, and its socket removed.
        let _closed = server.end(Duration::ZERO, Duration::ZERO).await;
        switchover.close().await;
        return Err(error);
    }
    note(format_args!("{} Ctrl-C ends it", paint_note(Colour::Green, "serving.")));
    let failed = loop {
        tokio::select! {
            _ = terminate.recv() => break None,
            _ = interrupt.recv() => break None,
            error = server.failed() => break Some(error),
            _ = reload.recv() => options.reload(&switchover, &server, &known).await,
        }
    };
    note(format_args!("ending; {} connections are open", server.connections()));
    let (ready_delay, drain_wait) = (Duration::from_secs(options.ready_delay), Duration::from_secs(options.drain_wait));
    let ended = async {
        let ended = server.end(ready_delay, drain_wait).await;
        switchover.close().await;
        ended
    };
    tokio::select! {
        ended = ended => {
            ended?;
            failed.map_or(Ok(()), Err)?;
            note("ended");
            Ok(Verdict::Fine)
        }
        _ = terminate.recv() => Ok(Verdict::Stopped),
        _ = interrupt.recv() => Ok(Verdict::Stopped),
    }
}

/// Makes a token: the token on standard error, once, and the line for `--tokens` on standard output.
pub(crate) fn token() -> Result<Verdict> {
    let made = Tokens::make().context("the system has no random numbers")?;
    note(format_args!("the token, for the caller, shown once: {}", made.token));
    print(made.line)?;
    Ok(Verdict::Fine)
}

impl Options {
    /// The host of the configuration, or one with everything in a file and in memory.
    async fn host(&self) -> Result<Switchover> {
        if self.config.exists() {
            let config = Config::read(&self.config)?;
            return Ok(config.builder().await?.build().await?);
        }
        if self.config != Path::new(place::CONFIG) {
            bail!("there is no configuration {}: check the path, or leave --config out", self.config.display());
        }
        note(format_args!("there is no {}: sessions are kept in {DATABASE}", place::CONFIG));
        let address = Address::parse(&format!("sqlite:{DATABASE}")).context("the address of the file")?;
        let database = address.open(None, Layout::SWITCHOVER, true).await?;
        let deadline = || Instant::now() + Limits::default().write_deadline;
        if !database.upkeep().missing_schema(deadline()).await?.is_empty() {
            database.upkeep().create_schema(deadline()).await?;
        }
        let builder = Switchover::builder().database("default", database).cache(MemoryCache::default());
        Ok(builder.policy(Policy::builtin(Builtin::CachedDb)).build().await?)
    }

    /// Reads again what can change while it serves. Each part that is bad stays as it was.
    async fn reload(&self, switchover: &Switchover, server: &Server, known: &Known) {
        let told = |what: &str, result: Result<&str>| match result {
            Ok(how) => tracing::info!("{what}: {how}"),
            Err(error) => tracing::error!("{what}: {error:#}; the old one stays in force"),
        };
        for (what, result) in known.read_again(self) {
            told(what, result.map(|()| READ_AGAIN));
        }
        if self.cert.is_some() {
            told("certificate", server.reload_tls().map(|()| READ_AGAIN).map_err(anyhow::Error::from));
        }
        if !self.config.exists() {
            tracing::info!("there is no configuration to read again");
            return;
        }
        match Config::read(&self.config) {
            Err(error) => told("configuration", Err(error.into())),
            Ok(config) => {
                told("limits", change_limits(&config, switchover));
                // In a migration the control document names the policy; in one that is only configured, from the next start
                // on.
                if switchover.readiness().epochs.is_none() && config.migrates_between().is_none() {
                    told("policy", swap(&config, switchover).await);
                }
            }
        }
    }
}

fn change_limits(config: &Config, switchover: &Switchover) -> Result<&'static str> {
    let limits = config.limits();
    if limits == *switchover.limits() {
        return Ok("they are those in force");
    }
    switchover.change_limits(limits)?;
    Ok(READ_AGAIN)
}

/// Takes the policy of the configuration into use, if it is another than the one that runs.
async fn swap(config: &Config, switchover: &Switchover) -> Result<&'static str> {
    let policy = config.policy()?;
    let (tried, _) = switchover.try_policy(&policy).await?;
    if tried.digest == switchover.policy().version.digest {
        return Ok("it is the one that runs");
    }
    switchover.swap_policy(policy).await?;
    Ok(READ_AGAIN)
}
