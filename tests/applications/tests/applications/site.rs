//! A shop with its database, its visitors and its operator.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sqlx::{Connection, PgConnection};
use switchover_harness::{Durability, Postgres, Server, free_port};
use tempfile::TempDir;

use super::application::Application;
use super::process::{PATIENCE, Process};
use super::program::program;
use super::table::Table;

/// Django's shop has the same pages.
const VISITORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../django/project/shop_load.py");
const HOW_MANY: &str = "10";

/// An application whose two processes are up. It ends when this is dropped.
pub(crate) struct Site {
    application: Application,
    processes: Vec<Process>,
    ports: [u16; 2],
    program: PathBuf,
    folder: TempDir,
    database: String,
    /// The database on another server that the table is carried to.
    new: Option<(Server, String)>,
    _server: Server,
}

impl Site {
    /// Starts it, or says why it cannot be run here.
    pub(crate) async fn open(application: Application) -> Result<Option<Self>> {
        if let Some(why) = application.is_missing() {
            // A test that passes shows nothing that it prints by `println`.
            writeln!(io::stderr(), "not run: the shop on {application:?}: {why}").context("nobody hears of it")?;
            return Ok(None);
        }
        let server = Postgres::builder().durability(Durability::Fast).start().await?;
        let database = server.create_database("shop").await?;
        let (ports, folder) = ([free_port()?, free_port()?], TempDir::new()?);
        let program = program()?;
        let mut site =
            Self { application, processes: Vec::new(), ports, program, folder, database, new: None, _server: server };
        tokio::task::block_in_place(|| {
            // The first one makes the table.
            for port in ports {
                let web = site.web(port)?;
                site.processes.push(web);
            }
            anyhow::Ok(())
        })?;
        Ok(Some(site))
    }

    pub(crate) async fn table(&self) -> Result<Table> {
        Ok(Table { application: self.application, connection: PgConnection::connect(&self.database).await? })
    }

    /// From now on the operator's commands are for another server, and a bridge to it.
    pub(crate) async fn goes_to_another_server(&mut self) -> Result<()> {
        let server = Postgres::builder().durability(Durability::Fast).start().await?;
        let database = server.create_database("shop").await?;
        server.create_role("shop", "secret").await?;
        self.new = Some((server, database));
        Ok(())
    }

    /// The table at that server.
    pub(crate) async fn new_table(&self) -> Result<Table> {
        let (_, database) = self.new.as_ref().context("it stays where it is")?;
        Ok(Table { application: self.application, connection: PgConnection::connect(database).await? })
    }

    pub(crate) fn visitors(&self) -> Result<Process> {
        let mut command = Command::new("python3");
        // These libraries bring a session back that is saved while it ends, whoever has the table.
        command.args(["-B", VISITORS, "--one-tab", HOW_MANY]).arg(self.folder.path().join("keys"));
        command.args(self.ports.map(|port| port.to_string())).stdin(Stdio::piped()).stdout(Stdio::piped());
        self.start("visitors", &mut command, || true)
    }

    /// A command of `switchover move` that is made.
    pub(crate) fn switchover(&self, command: &str, options: &[&str]) -> Result<Value> {
        let (code, said) = self.try_switchover(command, options)?;
        ensure!(code == Some(0), "{command} ended with {code:?}: {said}");
        Ok(serde_json::from_str(&said)?)
    }

    pub(crate) fn try_switchover(&self, command: &str, options: &[&str]) -> Result<(Option<i32>, String)> {
        let output = self.mover(command).args(options).output()?;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.code(), String::from_utf8_lossy(&said).into_owned()))
    }

    /// `switchover move run`, until it is dropped or ends.
    pub(crate) fn copier(&self) -> Result<Process> {
        self.start("copier", self.mover("run").stdout(Stdio::null()), || true)
    }

    pub(crate) fn log(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn mover(&self, command: &str) -> Command {
        let mut program = Command::new(&self.program);
        program.args(["move", command, &self.database, "--table", self.application.table(), "--json"]);
        if let Some((_, new)) = &self.new {
            program.args(["--to", new, "--bridge", &new.replace("postgres@", "shop:secret@")]);
        }
        program
    }

    fn web(&self, port: u16) -> Result<Process> {
        let mut command = self.application.command(&self.database, port)?;
        self.start(&format!("web-{port}"), command.stdout(Stdio::null()), || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        })
    }

    /// Starts a process in the folder, and waits until it is up. What it says is added to a log of its name.
    fn start(&self, name: &str, command: &mut Command, is_up: impl Fn() -> bool) -> Result<Process> {
        let log = File::options().create(true).append(true).open(self.path(name))?;
        let mut process = Process(command.current_dir(self.folder.path()).stderr(log).spawn()?);
        let give_up = Instant::now() + PATIENCE;
        while !is_up() {
            let ended = process.0.try_wait()?;
            ensure!(ended.is_none() && Instant::now() < give_up, "{name} is not up: {}", self.log(name));
            sleep(Duration::from_millis(10));
        }
        Ok(process)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name).with_extension("log")
    }

    /// What every visitor must find, and that none of their requests failed.
    pub(crate) fn keeps_its_promises(&self, told: &Value) -> Result<()> {
        note(&format!("{:?}: {told}", self.application));
        for fault in ["lost", "back", "logged_out", "wrong", "errors", "retries", "cuts"] {
            ensure!(count(told, fault)? == 0, "{fault} in {told}:\n{}", self.logs());
        }
        for (traffic, at_least) in [("logins", 40), ("adds", 300), ("logouts", 20), ("old_cookies", 100), ("kept", 10)]
        {
            ensure!(count(told, traffic)? >= at_least, "{traffic} is no traffic: {told}");
        }
        Ok(())
    }

    fn logs(&self) -> String {
        let webs = self.ports.map(|port| self.log(&format!("web-{port}")));
        [self.log("visitors"), self.log("copier"), webs.join("\n")].join("\n")
    }
}

pub(crate) fn count(told: &Value, name: &str) -> Result<u64> {
    told[name].as_u64().with_context(|| format!("no {name} in {told}"))
}

#[expect(clippy::print_stdout, reason = "a test that fails shows what it has printed")]
pub(crate) fn note(what: &str) {
    println!("{what}");
}
