//! The doors that the options ask for, and who may come in.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use switchover::migration::Controller;
use switchover::{Config, ConfigError, Switchover};
use switchover_server::{Admin, Audit, Doors, Server, Tls, Tokens, UnixDoor};

use super::{Options, SOCKET, log};
use crate::output::note;

/// The tokens of callers and of operators.
pub(super) struct Known {
    callers: Option<Tokens>,
    operators: Option<Tokens>,
}

impl Known {
    pub(super) fn read(options: &Options) -> Result<Self> {
        let tokens = |path: &PathBuf| Tokens::parse(&read(path)?).with_context(|| path.display().to_string());
        let callers = options.tokens.as_ref().map(tokens).transpose()?;
        Ok(Self { callers, operators: options.admin_tokens.as_ref().map(tokens).transpose()? })
    }

    /// Reads the files again, each by itself.
    pub(super) fn read_again(&self, options: &Options) -> Vec<(&'static str, Result<()>)> {
        let files = [
            ("tokens", &self.callers, &options.tokens),
            ("tokens of operators", &self.operators, &options.admin_tokens),
        ];
        let given = files.into_iter().filter_map(|(what, tokens, path)| Some((what, tokens.as_ref()?, path.as_ref()?)));
        given.map(|(what, tokens, path)| (what, read(path).and_then(|text| Ok(tokens.replace(&text)?)))).collect()
    }
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

impl Options {
    fn tls(&self) -> Option<Tls> {
        let (cert, key) = (self.cert.clone()?, self.key.clone()?);
        Some(Tls { cert, key, client_ca: self.client_ca.clone() })
    }

    /// Refuses a port that would let in who was not asked for.
    pub(super) fn ensure_nobody_is_let_in_unasked(&self) -> Result<()> {
        ensure!(
            self.unix_group.is_none() || self.unix.is_some() || self.listen.is_none(),
            "--unix-group is for a socket, and none is opened: give --unix"
        );
        ensure!(
            self.audit_log.is_none() || self.admin_unix.is_some() || self.admin_listen.is_some(),
            "--audit-log is for operators, and they have no door: give --admin-unix or --admin-listen"
        );
        let ports: Vec<SocketAddr> = self.listen.into_iter().chain(self.admin_listen).collect();
        ensure!(
            !ports.is_empty() || (self.cert.is_none() && !self.without_tls),
            "--cert and --without-tls are for a port: give --listen or --admin-listen"
        );
        if let Some(address) = self.listen {
            let known = self.tokens.is_some() || self.client_ca.is_some();
            ensure!(
                known || self.let_anyone_call,
                "everyone who reaches {address} could read and write every session: give --tokens or --client-ca, or \
                 say --let-anyone-call"
            );
            ensure!(
                !(known && self.let_anyone_call),
                "--let-anyone-call is given beside --tokens or --client-ca: leave one of them out"
            );
        }
        let all_stay_here = ports.iter().all(|address| address.ip().is_loopback());
        ensure!(
            self.cert.is_some() || all_stay_here || self.without_tls,
            "sessions and tokens would go over the network as they are: give --cert and --key, or say --without-tls"
        );
        Ok(())
    }
}

/// The operator's end of the migration that the configuration names. It is read anew, so that a server can begin the
/// migration that its next start takes part in.
async fn configured(path: PathBuf, by: String) -> Result<Option<Controller>, String> {
    let found = async {
        if !path.exists() {
            return Ok(None);
        }
        let config = Config::read(path)?;
        match config.migrates_between() {
            None => Ok(None),
            Some(_) => config.controller(&by).await.map(Some),
        }
    };
    found.await.map_err(|error: ConfigError| error.to_string())
}

/// Opens every door.
pub(super) fn open(
    server: &mut Server,
    doors: &Doors,
    switchover: &Switchover,
    known: &Known,
    options: &Options,
) -> Result<()> {
    let tls = options.tls();
    let scheme = if tls.is_some() { "https" } else { "http" };
    // Without any door, the usual one.
    let usual = options.listen.is_none().then(|| PathBuf::from(SOCKET));
    if let Some(path) = options.unix.clone().or(usual) {
        let door = UnixDoor { path: path.clone(), mode: options.unix_mode, group: options.unix_group };
        server.unix(&door, doors.routes())?;
        note(format_args!("listening at {} (mode {:o})", path.display(), options.unix_mode));
    }
    if let Some(address) = options.listen {
        let routes = known.callers.as_ref().map_or_else(|| doors.routes(), |tokens| doors.routes_with_tokens(tokens));
        let bound = server.tcp(address, routes, tls.as_ref())?;
        note(format_args!("listening at {scheme}://{bound}"));
    }
    let audit = match &options.audit_log {
        None => Audit::to_log(),
        Some(path) => Audit::to_file(path).with_context(|| format!("cannot write {}", path.display()))?,
    };
    let config = options.config.clone();
    let admin = Admin::new(switchover, audit).with_trace_parents(log::continue_trace);
    let admin = admin.with_configured(move |by| configured(config.clone(), by));
    if let Some(path) = &options.admin_unix {
        let door = UnixDoor { path: path.clone(), mode: options.admin_unix_mode, group: options.admin_unix_group };
        server.unix(&door, admin.routes())?;
        note(format_args!("operators at {} (mode {:o})", path.display(), options.admin_unix_mode));
    }
    if let (Some(address), Some(tokens)) = (options.admin_listen, &known.operators) {
        let bound = server.tcp(address, admin.routes_with_tokens(tokens), tls.as_ref())?;
        note(format_args!("operators at {scheme}://{bound}"));
    }
    if let Some(address) = options.metrics_listen {
        let bound = server.tcp(address, doors.routes_for_watchers(), None)?;
        note(format_args!("health and metrics at http://{bound}"));
    }
    Ok(())
}
