//! The shop of the examples: it goes over from Django's own engine to a server of Switchover, and its sessions then move
//! from one PostgreSQL server to another. Visitors shop all the time, and processes are killed at every step.

use std::fs::{self, File};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sqlx::{Connection, PgConnection};
use switchover::expires_in;
use switchover_harness::{Durability, Postgres, Server, free_port};
use tempfile::TempDir;

use super::environment::{PROJECT, python};
use super::place::PATIENCE;
use super::program::program;

const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../host/clients/django");
/// Each has a web server and a server of Switchover.
const HOSTS: [&str; 2] = ["web-1", "web-2"];
const VISITORS: usize = 10;
/// The visitors shop at least this long before the first step, and between two.
const SHOPPING: Duration = Duration::from_millis(2_000);
/// From the beginning of a step to the kill in the middle of it: an epoch is sealed after one to two seconds.
const UNTIL_KILL: Duration = Duration::from_millis(600);
/// In the order of a migration. A step that waited in vain is repeated, so each says where it goes.
const STEPS: [&[&str]; 6] = [
    &["advance", "--to", "mirror"],
    &["settle"],
    &["advance", "--to", "strict"],
    &["advance", "--to", "cutover"],
    &["advance", "--to", "reverse"],
    &["complete"],
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shop_stays_logged_in_while_its_sessions_move() -> Result<()> {
    let (old, new) = (server().await?, server().await?);
    let shop = Shop::new(&old, &new).await?;
    let told = tokio::task::block_in_place(|| shop.moves())?;
    note(&told.to_string());
    let count = |name: &str| told[name].as_u64().with_context(|| format!("no {name} in {told}"));
    for fault in ["lost", "back", "logged_out", "wrong", "errors"] {
        ensure!(count(fault)? == 0, "{fault} in {told}:\n{}", shop.log("load"));
    }
    for (traffic, at_least) in [("logins", 40), ("adds", 300), ("logouts", 20), ("old_cookies", 100), ("kept", 10)] {
        ensure!(count(traffic)? >= at_least, "{traffic} is no traffic: {told}");
    }
    ensure!(count("retries")? + count("cuts")? > 0, "nobody has seen that servers were killed: {told}");
    shop.has_no_key_in_its_logs()
}

/// The visitors are no use if they would not see what the other test rules out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn visitors_notice_what_should_not_be() -> Result<()> {
    let server = server().await?;
    let shop = Shop::new(&server, &server).await?;
    let (_webs, mut load) = tokio::task::block_in_place(|| shop.opens())?;
    let mut database = PgConnection::connect(&shop.old).await?;
    until(&mut database, "SELECT count(*) >= 20 FROM django_session").await?;
    sqlx::raw_sql("CREATE TABLE before AS SELECT * FROM django_session").execute(&mut database).await?;
    until(&mut database, TRAFFIC).await?;
    sqlx::raw_sql("BEGIN; DELETE FROM django_session; INSERT INTO django_session SELECT * FROM before; COMMIT")
        .execute(&mut database)
        .await?;
    // At the end of a visit each basket and each old cookie is looked at.
    let told = tokio::task::block_in_place(|| load.told())?;
    for fault in ["lost", "back", "logged_out"] {
        ensure!(told[fault].as_u64() > Some(0), "nobody has seen {fault}: {told}\n{}", shop.log("load"));
    }
    Ok(())
}

/// Whether enough sessions of `before` have changed, some have ended, and others have begun since.
const TRAFFIC: &str = "SELECT count(*) FILTER (WHERE b.session_data <> s.session_data) >= 5 \
     AND count(*) FILTER (WHERE s.session_key IS NULL) >= 5 AND count(*) FILTER (WHERE b.session_key IS NULL) >= 5 \
     FROM before b FULL JOIN django_session s USING (session_key)";

async fn until(database: &mut PgConnection, question: &'static str) -> Result<()> {
    let give_up = Instant::now() + PATIENCE;
    while !sqlx::query_scalar::<_, bool>(question).fetch_one(&mut *database).await? {
        ensure!(Instant::now() < give_up, "the visitors do not shop: {question}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn server() -> Result<Server> {
    Postgres::builder().durability(Durability::Fast).start().await
}

struct Shop {
    folder: TempDir,
    python: PathBuf,
    program: PathBuf,
    old: String,
    new: String,
    ports: [u16; 2],
}

impl Shop {
    async fn new(old: &Server, new: &Server) -> Result<Self> {
        let control = new.create_database("control").await?;
        let (old, new) = (old.create_database("shop").await?, new.create_database("sessions").await?);
        let folder = TempDir::new()?;
        let config = format!(
            "[databases.default]\naddress = \"{old}\"\n\n[databases.new_session_store]\naddress = \"{new}\"\n\n\
             [migration]\nname = \"to-new\"\ncontrol = \"{control}\"\n"
        );
        fs::write(folder.path().join("switchover.toml"), config)?;
        Ok(Self { folder, python: python()?, program: program()?, old, new, ports: [free_port()?, free_port()?] })
    }

    /// The shop of before, with people in it: Django keeps the sessions.
    fn opens(&self) -> Result<([Process; 2], Process)> {
        self.manage(&["migrate"])?;
        let users = format!(
            "from django.contrib.auth.models import User\n\
             for n in range({VISITORS}): User.objects.create_user(f'visitor{{n}}', password='pear')"
        );
        self.manage(&["shell", "-c", &users])?;
        Ok(([self.web(0, false)?, self.web(1, false)?], self.load()?))
    }

    /// The whole story. Returns what the visitors counted.
    fn moves(&self) -> Result<Value> {
        let (mut webs, mut load) = self.opens()?;
        sleep(SHOPPING);
        self.switchover(&["init", &self.new])?;
        self.switchover(&["migrate", "init"])?;
        let mut servers = [self.serve(0)?, self.serve(1)?];
        // The engine is changed on one host after the other: meanwhile both write one table.
        for (host, web) in webs.iter_mut().enumerate() {
            note(&format!("the other engine at {}", HOSTS[host]));
            web.kill();
            *web = self.web(host, true)?;
            sleep(SHOPPING);
        }
        for (number, step) in STEPS.iter().enumerate() {
            let host = number % HOSTS.len();
            note(&format!("{step:?}, and a kill of server {host}"));
            thread::scope(|threads| {
                let moved = threads.spawn(|| self.migrate(step));
                sleep(UNTIL_KILL);
                servers[host].kill();
                servers[host] = self.serve(host)?;
                if number % 3 == 1 {
                    note(&format!("a kill of web server {}", 1 - host));
                    webs[1 - host].kill();
                    webs[1 - host] = self.web(1 - host, true)?;
                }
                moved.join().map_err(|_| anyhow::anyhow!("{step:?} panicked"))?
            })?;
            note("the step is made");
            sleep(SHOPPING);
        }
        let status = self.switchover(&["migrate", "status", "--json"])?;
        ensure!(status.contains("\"phase\":\"complete\""), "{status}");
        load.told().with_context(|| self.log("load"))
    }

    fn migrate(&self, step: &[&str]) -> Result<()> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let (code, said) = self.try_switchover(&[&["migrate"], step].concat())?;
            if code == Some(0) {
                return Ok(());
            }
            ensure!(code == Some(2) && Instant::now() < give_up, "{step:?} ended with {code:?}: {said}");
            sleep(Duration::from_millis(100));
        }
    }

    fn switchover(&self, arguments: &[&str]) -> Result<String> {
        let (code, said) = self.try_switchover(arguments)?;
        ensure!(code == Some(0), "{arguments:?} ended with {code:?}: {said}");
        Ok(said)
    }

    fn try_switchover(&self, arguments: &[&str]) -> Result<(Option<i32>, String)> {
        let output = Command::new(&self.program).args(arguments).current_dir(self.folder.path()).output()?;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.code(), String::from_utf8_lossy(&said).into_owned()))
    }

    fn serve(&self, host: usize) -> Result<Process> {
        let mut command = Command::new(&self.program);
        command.args(["serve", "--unix"]).arg(self.socket(host)).env("SWITCHOVER_HOST", HOSTS[host]);
        command.stdout(Stdio::null());
        self.start(&format!("serve-{host}"), &mut command, || UnixStream::connect(self.socket(host)).is_ok())
    }

    fn web(&self, host: usize, on_switchover: bool) -> Result<Process> {
        let address = format!("127.0.0.1:{}", self.ports[host]);
        let mut command = self.python();
        command.args(["-m", "django", "runserver", "--noreload", "--skip-checks", &address]).stdout(Stdio::null());
        if on_switchover {
            command.env("SWITCHOVER_SOCKET", self.socket(host));
        }
        self.start(&format!("web-{host}"), &mut command, || TcpStream::connect(&address).is_ok())
    }

    fn load(&self) -> Result<Process> {
        let mut command = self.python();
        command.arg(Path::new(PROJECT).join("shop_load.py")).arg(VISITORS.to_string()).arg(self.keys());
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
        command.env("SHOP_DATABASE", &self.old).env_remove("SWITCHOVER_SOCKET");
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

    fn has_no_key_in_its_logs(&self) -> Result<()> {
        let keys = fs::read_to_string(self.keys())?;
        ensure!(keys.lines().count() > 100, "too few keys: {keys}");
        for log in ["serve-0", "serve-1"] {
            let log = self.log(log);
            ensure!(!keys.lines().any(|key| log.contains(key)), "a key is in the log of a server: {log}");
        }
        Ok(())
    }

    fn log(&self, name: &str) -> String {
        fs::read_to_string(self.path(name).with_extension("log")).unwrap_or_default()
    }

    fn socket(&self, host: usize) -> PathBuf {
        self.path(HOSTS[host]).with_extension("sock")
    }

    fn keys(&self) -> PathBuf {
        self.path("keys")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Says when something was done, by the clock of the visitors' histories.
#[expect(clippy::print_stdout, reason = "a test that fails shows what it has printed")]
fn note(what: &str) {
    println!("{:.3} {what}", expires_in(Duration::ZERO).as_micros() as f64 / 1e6);
}

/// A process. It is killed when this is dropped.
struct Process(Child);

impl Process {
    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Ends the visit of all visitors, and returns what they counted.
    fn told(&mut self) -> Result<Value> {
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
