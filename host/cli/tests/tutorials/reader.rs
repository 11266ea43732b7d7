//! A newcomer who does what a page says: a folder, a terminal for commands, and one for each program that goes on.

use std::fs::{self, File};
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::page::{self, Step};

/// Longer than a build takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(1_200);
/// Lines that start a program which goes on. Typing one again means Ctrl-C before it.
const GO_ON: [&str; 3] = ["python manage.py runserver", "switchover serve", "cargo run"];

pub(crate) struct Reader {
    folder: PathBuf,
    /// What is typed in place of what the page has.
    instead: Vec<(&'static str, String)>,
    environment: Vec<(&'static str, PathBuf)>,
    port: u16,
    terminals: Vec<Terminal>,
    started: u32,
    /// The line that asks for the page of visits, and the number that came last.
    ask: Option<String>,
    visits: u64,
}

impl Reader {
    /// In the empty folder `FOLDER/site`; the checkout is `FOLDER/switchover`, as the pages have it.
    pub(crate) fn new(folder: &Path, port: u16, instead: Vec<(&'static str, String)>) -> Reader {
        let site = folder.join("site");
        let _ = fs::remove_dir_all(&site);
        fs::create_dir_all(&site).unwrap();
        Reader {
            folder: site,
            instead,
            environment: Vec::new(),
            port,
            terminals: Vec::new(),
            started: 0,
            ask: None,
            visits: 0,
        }
    }

    /// Sets a variable in the reader's terminals.
    pub(crate) fn set(&mut self, name: &'static str, value: &Path) {
        self.environment.push((name, value.to_owned()));
    }

    /// Follows the page from its first block to its last.
    pub(crate) fn follow(&mut self, page: &str) {
        for step in page::steps(page) {
            match step {
                Step::File { path, text, is_added } => self.write(&path, &self.typed(&text), is_added),
                Step::Commands { lines, says } => self.work(&lines, &says),
            }
        }
    }

    /// Types the commands of a how-to page, and leaves its explanations out. Returns what each of them said.
    pub(crate) fn try_out(&mut self, page: &str) -> Vec<String> {
        page::commands(page).iter().map(|line| self.run(line)).collect()
    }

    /// The number of visits that the page has shown last.
    pub(crate) fn visits(&self) -> u64 {
        self.visits
    }

    /// Writes a file of the reader's folder, or adds to its end.
    pub(crate) fn write(&self, path: &str, text: &str, is_added: bool) {
        let path = self.folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file =
            File::options().create(true).write(true).append(is_added).truncate(!is_added).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn work(&mut self, lines: &[String], says: &[String]) {
        let mut output = Vec::new();
        for line in lines {
            if GO_ON.iter().any(|program| line.starts_with(program)) {
                self.start(line);
                continue;
            }
            let said = self.run(line);
            self.counts_on(&said);
            output.extend(said.lines().map(str::to_owned));
            if line.starts_with("curl ") {
                self.ask.get_or_insert_with(|| line.clone());
            }
            // "Ask for the page between any two of them: it counts on."
            if line.starts_with("switchover migrate ") && !line.ends_with(" init") {
                let said = self.run(&self.ask.clone().unwrap());
                assert!(self.counts_on(&said), "after `{line}` the page says: {said}");
            }
        }
        assert!(says.is_empty() || output == says, "{lines:?} gave {output:?}, and the page promises {says:?}");
    }

    /// Whether `said` is a page of visits. If it is, it must count on, or begin anew where somebody has left.
    fn counts_on(&mut self, said: &str) -> bool {
        for line in said.lines() {
            match line.strip_prefix("visit ") {
                Some(number) => {
                    let number = number.parse().unwrap();
                    assert_eq!(number, self.visits + 1, "the page lost count");
                    self.visits = number;
                }
                None if line == "bye" => self.visits = 0,
                None => {}
            }
        }
        said.starts_with("visit ")
    }

    pub(crate) fn run(&self, line: &str) -> String {
        let output = self.terminal(line).stdin(Stdio::null()).output().unwrap();
        let (said, error) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "`{line}` ended with {}:\n{said}{error}\n{}", output.status, self.logs());
        said
    }

    pub(crate) fn start(&mut self, line: &str) {
        self.terminals.retain(|terminal| terminal.line != line);
        self.started += 1;
        let log = self.folder.with_file_name(format!("terminal-{}.log", self.started));
        let file = File::create(&log).unwrap();
        let mut command = self.terminal(&format!("exec {line}"));
        // A terminal gives Ctrl-C to all that run in it.
        command.process_group(0).stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let process = command.spawn().unwrap();
        self.terminals.push(Terminal { line: line.to_owned(), process, log });
        let give_up = Instant::now() + PATIENCE;
        while !self.is_up(line) {
            let terminal = self.terminals.last_mut().unwrap();
            let ended = terminal.process.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < give_up, "`{line}` is not up:\n{}", self.logs());
            sleep(Duration::from_millis(50));
        }
    }

    fn is_up(&self, line: &str) -> bool {
        if line == "switchover serve" {
            return self.terminal("switchover health").output().unwrap().status.success();
        }
        TcpStream::connect(("127.0.0.1", self.port)).is_ok()
    }

    /// A shell with the program of this build, and with the page's own virtual environment once it is there.
    fn terminal(&self, line: &str) -> Command {
        let program = Path::new(env!("CARGO_BIN_EXE_switchover")).parent().unwrap();
        let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
        let activate = "[ ! -e venv/bin/activate ] || . venv/bin/activate";
        let mut command = Command::new("bash");
        command.args(["-c", &format!("{activate}\n{}", self.typed(line))]).current_dir(&self.folder).env("PATH", path);
        command.env("PIP_DISABLE_PIP_VERSION_CHECK", "1").env_remove("DJANGO_SETTINGS_MODULE").env_remove("PYTHONPATH");
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SWITCHOVER_") || is_of_this_test(name)) {
            command.env_remove(name);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    fn typed(&self, text: &str) -> String {
        self.instead.iter().fold(text.to_owned(), |text, (shown, typed)| text.replace(shown, typed))
    }

    fn logs(&self) -> String {
        let logs = self.terminals.iter().map(|terminal| fs::read_to_string(&terminal.log).unwrap_or_default());
        logs.collect::<Vec<_>>().join("\n")
    }
}

/// Set by cargo for the test that runs: a cargo that the page starts would take it for its own.
fn is_of_this_test(name: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_TARGET_TMPDIR"].iter().any(|start| name.starts_with(start))
}

/// A program that goes on. Dropping it is Ctrl-C.
struct Terminal {
    line: String,
    process: Child,
    log: PathBuf,
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Who runs the tests may have it that Ctrl-C is ignored.
        for signal in ["-INT", "-TERM", "-KILL"] {
            let _ = Command::new("kill").args([signal, "--", &format!("-{}", self.process.id())]).status();
            let give_up = Instant::now() + Duration::from_secs(15);
            while Instant::now() < give_up {
                if !matches!(self.process.try_wait(), Ok(None)) {
                    return;
                }
                sleep(Duration::from_millis(20));
            }
        }
    }
}
