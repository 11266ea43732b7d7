//! The shop's processes: its web servers, the servers of Switchover beside them, its visitors, and its operator.

use std::fs::{self, File};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use switchover::expires_in;
use switchover_harness::free_port;
use switchover_server::Tokens;
use tempfile::TempDir;

use crate::django::environment::{PROJECT, python};
use crate::django::place::PATIENCE;
use crate::django::program::program;

const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../host/clients/django");
/// Each has a web server and a server of Switchover.
pub(crate) const HOSTS: [&str; 2] = ["web-1", "web-2"];
const VISITORS: usize = 10;
/// In the order of a migration. A step that waited in vain is repeated, so each says where it goes.
pub(crate) const STEPS: [&[&str]; 6] = [
    &["advance", "--to", "mirror"],
    &["settle"],
    &["advance", "--to", "strict"],
    &["advance", "--to", "cutover"],
    &["advance", "--to", "reverse"],
    &["complete"],
];

/// The addresses of what the shop keeps its things in.
pub(crate) struct Stores {
    /// Django's own tables: the users, and the sessions as long as Django keeps them.
    pub(crate) site: String,
    pub(crate) old: String,
    pub(crate) new: String,
    pub(crate) control: String,
    pub(crate) cache: Option<String>,
}

/// How a web server calls the server of Switchover of its host.
pub(crate) enum Door {
    Unix,
    /// Over TCP, with a token.
    Tcp {
        ports: [u16; 2],
    },
}

pub(crate) struct Shop {
    folder: TempDir,
    python: PathBuf,
    program: PathBuf,
    stores: Stores,
    ports: [u16; 2],
    door: Door,
}

impl Shop {
    pub(crate) fn new(stores: Stores, door: Door) -> Result<Self> {
        let folder = TempDir::new()?;
        let Stores { old, new, control, cache, .. } = &stores;
        let cache = cache.as_ref().map(|address| format!("[cache]\naddress = \"{address}\"\n\n")).unwrap_or_default();
        // Django saves a session as a whole: by an old one from the cache it would undo what another request has saved.
        let config = format!(
            "[databases.default]\naddress = \"{old}\"\n\n[databases.new_session_store]\naddress = \"{new}\"\n\n{cache}\
             [migration]\nname = \"to-new\"\ncontrol = \"{control}\"\ncache_rule = \"writes\"\n"
        );
        fs::write(folder.path().join("switchover.toml"), config)?;
        let made = Tokens::make().context("no random numbers")?;
        fs::write(folder.path().join("tokens"), made.line)?;
        fs::write(folder.path().join("token"), made.token)?;
        let ports = [free_port()?, free_port()?];
        Ok(Self { folder, python: python()?, program: program()?, stores, ports, door })
    }

    /// Makes Django's tables and a user for each visitor.
    pub(crate) fn furnish(&self) -> Result<()> {
        self.manage(&["migrate"])?;
        let users = format!(
            "from django.contrib.auth.models import User\n\
             for n in range({VISITORS}): User.objects.create_user(f'visitor{{n}}', password='pear')"
        );
        self.manage(&["shell", "-c", &users])
    }

    /// Makes a step, as an operator who repeats it as long as it must wait, and also after a failure if `may_fail`.
    pub(crate) fn migrate(&self, step: &[&str], may_fail: bool) -> Result<()> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let (code, said) = self.try_switchover(&[&["migrate"], step].concat())?;
            if code == Some(0) {
                return Ok(());
            }
            let goes_on = code == Some(2) || may_fail && code == Some(1);
            ensure!(goes_on && Instant::now() < give_up, "{step:?} ended with {code:?}: {said}");
            sleep(Duration::from_millis(100));
        }
    }

    pub(crate) fn has_migrated(&self) -> Result<()> {
        let status = self.switchover(&["migrate", "status", "--json"])?;
        ensure!(status.contains("\"phase\":\"complete\""), "{status}");
        Ok(())
    }

    pub(crate) fn switchover(&self, arguments: &[&str]) -> Result<String> {
        let (code, said) = self.try_switchover(arguments)?;
        ensure!(code == Some(0), "{arguments:?} ended with {code:?}: {said}");
        Ok(said)
    }

    pub(crate) fn try_switchover(&self, arguments: &[&str]) -> Result<(Option<i32>, String)> {
        let output = Command::new(&self.program).args(arguments).current_dir(self.folder.path()).output()?;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.code(), String::from_utf8_lossy(&said).into_owned()))
    }

    /// A command that goes on until it is dropped.
    pub(crate) fn run(&self, name: &str, arguments: &[&str]) -> Result<Process> {
        let mut command = Command::new(&self.program);
        self.start(name, command.args(arguments).stdout(Stdio::null()), || true)
    }

    pub(crate) fn serve(&self, host: usize) -> Result<Process> {
        let mut command = Command::new(&self.program);
        command.arg("serve").env("SWITCHOVER_HOST", HOSTS[host]).stdout(Stdio::null());
        match self.door {
            Door::Unix => command.arg("--unix").arg(self.socket(host)),
            Door::Tcp { ports } => {
                command.arg("--listen").arg(address(ports[host])).arg("--tokens").arg(self.path("tokens"))
            }
        };
        self.start(&format!("serve-{host}"), &mut command, || match self.door {
            Door::Unix => UnixStream::connect(self.socket(host)).is_ok(),
            Door::Tcp { ports } => TcpStream::connect(address(ports[host])).is_ok(),
        })
    }

    pub(crate) fn web(&self, host: usize, on_switchover: bool) -> Result<Process> {
        let address = address(self.ports[host]);
        let mut command = self.python();
        command.args(["-m", "django", "runserver", "--noreload", "--skip-checks", &address]).stdout(Stdio::null());
        match self.door {
            Door::Unix if on_switchover => command.env("SWITCHOVER_SOCKET", self.socket(host)),
            Door::Tcp { ports } if on_switchover => command
                .env("SWITCHOVER_URL", format!("http://127.0.0.1:{}", ports[host]))
                .env("SWITCHOVER_TOKEN_FILE", self.path("token")),
            Door::Unix | Door::Tcp { .. } => &mut command,
        };
        self.start(&format!("web-{host}"), &mut command, || TcpStream::connect(&address).is_ok())
    }

    pub(crate) fn load(&self) -> Result<Process> {
        let mut command = self.python();
        command.arg(Path::new(PROJECT).join("shop_load.py")).arg(VISITORS.to_string()).arg(self.path("keys"));
        command.args(self.ports.map(|port| port.to_string())).stdin(Stdio::piped()).stdout(Stdio::piped());
        self.start("load", &mut command, || true)
    }

    fn manage(&self, arguments: &[&str]) -> Result<()> {
        let output = self.python().args(["-m", "django"]).args(arguments).output()?;
        ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    fn python(&self) -> Command {
        let path = [&format!("{CLIENT}/src"), &format!("{CLIENT}/examples/shop"), PROJECT].join(":");
        let mut command = Command::new(&self.python);
        command.arg("-B").env("PYTHONPATH", path).env("DJANGO_SETTINGS_MODULE", "shop_settings");
        command.env("SHOP_DATABASE", &self.stores.site).env_remove("SWITCHOVER_SOCKET").env_remove("SWITCHOVER_URL");
        command
    }

    /// Starts a process in the folder, and waits until it is up. What it says is added to a log of its name.
    fn start(&self, name: &str, command: &mut Command, is_up: impl Fn() -> bool) -> Result<Process> {
        let log = File::options().create(true).append(true).open(self.path(name).with_extension("log"))?;
        let mut process = Process(command.current_dir(self.folder.path()).stderr(log).spawn()?);
        let give_up = Instant::now() + PATIENCE;
        while !is_up() {
            let ended = process.0.try_wait()?;
            ensure!(ended.is_none() && Instant::now() < give_up, "{name} is not up: {}", self.log(name));
            sleep(Duration::from_millis(10));
        }
        Ok(process)
    }

    /// What the visitors counted must be what the shop promises.
    pub(crate) fn keeps_its_promises(&self, told: &Value) -> Result<()> {
        note(&told.to_string());
        for fault in ["lost", "back", "logged_out", "wrong", "errors"] {
            ensure!(
                count(told, fault)? == 0,
                "{fault} in {told}:\n{}",
                ["load", "serve-0", "serve-1"].map(|of| self.log(of)).join("\n")
            );
        }
        for (traffic, at_least) in [("logins", 40), ("adds", 300), ("logouts", 20), ("old_cookies", 100), ("kept", 10)]
        {
            ensure!(count(told, traffic)? >= at_least, "{traffic} is no traffic: {told}");
        }
        self.has_no_secret_in_its_logs()
    }

    fn has_no_secret_in_its_logs(&self) -> Result<()> {
        let mut secrets = fs::read_to_string(self.path("keys"))?;
        ensure!(secrets.lines().count() > 100, "too few keys: {secrets}");
        secrets += &fs::read_to_string(self.path("token"))?;
        for log in ["serve-0", "serve-1"] {
            let log = self.log(log);
            ensure!(!secrets.lines().any(|secret| log.contains(secret)), "a secret is in the log of a server: {log}");
        }
        Ok(())
    }

    pub(crate) fn log(&self, name: &str) -> String {
        fs::read_to_string(self.path(name).with_extension("log")).unwrap_or_default()
    }

    fn socket(&self, host: usize) -> PathBuf {
        self.path(HOSTS[host]).with_extension("sock")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// A process. It is killed when this is dropped.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Ends the visit of all visitors, and returns what they counted.
    pub(crate) fn told(&mut self) -> Result<Value> {
        drop(self.0.stdin.take());
        let stdout = self.0.stdout.take().context("the visitors count on standard output")?;
        Ok(serde_json::from_reader(stdout)?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn count(told: &Value, name: &str) -> Result<u64> {
    told[name].as_u64().with_context(|| format!("no {name} in {told}"))
}

/// Says when something was done, by the clock of the visitors' histories.
#[expect(clippy::print_stdout, reason = "a test that fails shows what it has printed")]
pub(crate) fn note(what: &str) {
    println!("{:.3} {what}", expires_in(Duration::ZERO).as_micros() as f64 / 1e6);
}

fn address(port: u16) -> String {
    format!("127.0.0.1:{port}")
}
