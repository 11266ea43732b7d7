//! A contestant: a gunicorn with the site, and `switchover serve` beside it if the engine needs it.

use std::fs::{self, File};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use switchover_harness::free_port;
use tempfile::TempDir;

use super::options::Options;
use super::site::Place;
use crate::environment::{Environment, PROJECT, Pythons};
use crate::program::program;

const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../host/clients/django/src");
const PATIENCE: Duration = Duration::from_secs(60);
/// The kernel's unit of processor time.
const TICKS_PER_SECOND: f64 = 100.0;

/// The order of the reports.
pub(crate) const KINDS: [Kind; 2] = [Kind::Engine, Kind::CachedDb];

const ENVIRONMENT: Environment = Environment {
    name: "beside-venv",
    pythons: Pythons::Own,
    file: "requirements-beside.txt",
    requirements: include_str!("../../project/requirements-beside.txt"),
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `switchover.sessions`, on a `switchover serve` with PostgreSQL and Redis.
    Engine,
    /// `django.contrib.sessions.backends.cached_db`, on PostgreSQL and Redis.
    CachedDb,
}

impl Kind {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Engine => "Switchover",
            Self::CachedDb => "cached_db",
        }
    }
}

/// A web server that is up. It ends with this value.
pub(crate) struct Web {
    pub(crate) place: Place,
    pub(crate) port: u16,
    gunicorn: Process,
    serve: Option<Process>,
    _folder: TempDir,
}

/// Processor seconds since the start.
#[derive(Clone, Copy, Default)]
pub(crate) struct Processor {
    /// Of gunicorn and its workers.
    pub(crate) web: f64,
    /// Of `switchover serve`.
    pub(crate) serve: f64,
}

impl Web {
    pub(crate) fn start(kind: Kind, place: Place, options: &Options) -> Result<Self> {
        let folder = TempDir::new()?;
        let (python, port, socket) = (ENVIRONMENT.python()?, free_port()?, folder.path().join("sock"));
        let django = |command: &mut Command| {
            command.env("PYTHONPATH", format!("{PROJECT}:{CLIENT}")).env("PYTHONDONTWRITEBYTECODE", "1");
            command.env("DJANGO_SETTINGS_MODULE", "beside").env_remove("SWITCHOVER_SOCKET");
            command.env("BESIDE_DATABASE", &place.database).env("BESIDE_CACHE", &place.cache);
            if kind == Kind::Engine {
                command.env("SWITCHOVER_SOCKET", &socket);
            }
            command.current_dir(folder.path());
        };
        let mut migrate = Command::new(&python);
        django(migrate.args(["-m", "django", "migrate", "--skip-checks", "--verbosity", "0"]));
        let migrated = migrate.output()?;
        ensure!(migrated.status.success(), "no table: {}", String::from_utf8_lossy(&migrated.stderr));

        let serve = match kind {
            Kind::Engine => Some(serve(&place, folder.path(), &socket)?),
            Kind::CachedDb => None,
        };
        let mut gunicorn = Command::new(&python);
        gunicorn.args(["-m", "gunicorn", "--worker-class", "gthread", "--keep-alive", "60"]);
        gunicorn.args(["--worker-connections", "4096", "--log-level", "warning"]);
        gunicorn.arg("--workers").arg(options.workers.to_string()).arg("--threads").arg(options.threads.to_string());
        gunicorn.arg("--bind").arg(format!("127.0.0.1:{port}")).arg("django.core.wsgi:get_wsgi_application()");
        django(&mut gunicorn);
        let is_up = || TcpStream::connect(("127.0.0.1", port)).is_ok();
        let gunicorn = Process::start(&mut gunicorn, &folder.path().join("gunicorn.log"), is_up)?;
        Ok(Self { place, port, gunicorn, serve, _folder: folder })
    }

    pub(crate) fn processor(&self) -> Result<Processor> {
        let mut web = seconds(self.gunicorn.id())?;
        for worker in children(self.gunicorn.id())? {
            web += seconds(worker)?;
        }
        let serve = self.serve.as_ref().map_or(Ok(0.0), |serve| seconds(serve.id()))?;
        Ok(Processor { web, serve })
    }
}

fn serve(place: &Place, folder: &Path, socket: &Path) -> Result<Process> {
    // As `cached_db`, it waits for Redis, and keeps entries for longer than the benchmark runs.
    let config = format!(
        "[databases.default]\naddress = \"{}\"\n\n[cache]\naddress = \"{}\"\nresponse_timeout_ms = 4000\n\n\
         [limits]\ncache_deadline_ms = 5000\ncache_max_age_ms = 3600000\n",
        place.database, place.cache
    );
    fs::write(folder.join("switchover.toml"), config)?;
    let mut command = Command::new(program()?);
    command.args(["serve", "--unix"]).arg(socket).current_dir(folder).stdout(Stdio::null());
    Process::start(&mut command, &folder.join("serve.log"), || UnixStream::connect(socket).is_ok())
}

/// A process. It is asked to end when this is dropped.
struct Process(Child);

impl Process {
    /// Starts it, and waits until it is up.
    fn start(command: &mut Command, log: &Path, is_up: impl Fn() -> bool) -> Result<Self> {
        let mut process = Self(command.stderr(File::create(log)?).spawn()?);
        let give_up = Instant::now() + PATIENCE;
        while !is_up() {
            let ended = process.0.try_wait()?.is_some() || Instant::now() >= give_up;
            ensure!(!ended, "{command:?} is not up: {}", fs::read_to_string(log)?);
            sleep(Duration::from_millis(20));
        }
        Ok(process)
    }

    fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // So that gunicorn ends its workers.
        let asked = Command::new("kill").arg(self.0.id().to_string()).status();
        if !asked.is_ok_and(|status| status.success()) {
            let _ = self.0.kill();
        }
        let _ = self.0.wait();
    }
}

fn children(of: u32) -> Result<Vec<u32>> {
    let listed = fs::read_to_string(format!("/proc/{of}/task/{of}/children"))?;
    Ok(listed.split_whitespace().map(str::parse).collect::<Result<_, _>>()?)
}

/// Processor time of a process, with its threads that have ended.
fn seconds(process: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name, in brackets, may have spaces.
    let (_, fields) = stat.rsplit_once(')').context("a name in brackets")?;
    let ticks: Vec<f64> = fields.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / TICKS_PER_SECOND)
}
