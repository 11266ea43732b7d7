//! One run of the program on these servers, and what it said.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::watch;

use crate::nemesis::{Plan, inject};
use crate::servers::Servers;

/// How long a run may take, with servers that are away for seconds at a time.
const PATIENCE: Duration = Duration::from_secs(300);
/// Promises, by their names in the report.
const PROMISES: [&str; 16] = [
    "lost_writes",
    "back_after_logout",
    "old_keys_found",
    "came_back",
    "stale_reads",
    "went_back",
    "undone",
    "stale_cycles",
    "told_gone",
    "served_expired",
    "phantoms",
    "foreign_payloads",
    "failed_writes_seen",
    "unasked_ends",
    "rows_differ",
    "row_differences",
];
/// What a call may fail by when a server is away. Anything else is a fault of the host or of the policy.
const EXPECTED: [&str; 6] = ["unavailable", "timeout", "conflict", "overloaded", "unknown-outcome", "cycle-incomplete"];

/// What a run said, and what was done to it.
pub(crate) struct Report {
    status: ExitStatus,
    json: Value,
    stdout: String,
    stderr: String,
    faults: Vec<String>,
    plan: Plan,
    seed: u64,
}

/// The story of 2016 on one host, where it keeps its promises.
pub(crate) const OF_2016: &[&str] = &["--story", "2016", "--hosts", "1"];
pub(crate) const FLEET: &[&str] = &["--story", "fleet"];

/// Runs a story to its end while the nemesis does its part.
pub(crate) async fn tell(servers: &Servers, story: &[&str], plan: Plan, seed: u64) -> Report {
    let ([old, new], [old_layout, new_layout]) = (servers.urls(), servers.layouts);
    let mut child = Command::new(env!("CARGO_BIN_EXE_switchover"))
        .arg("demo")
        .args(story)
        .args(["--old", &old, "--new", &new, "--cache", &servers.cache.url, "--json", "--tolerate-failures"])
        .args(["--old-layout", old_layout, "--new-layout", new_layout])
        .args(["--seconds", "8", "--sessions", "500", "--concurrency", "24", "--seed", &seed.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (step, steps) = watch::channel(0);
    let stderr = child.stderr.take().unwrap();
    let stderr = thread::spawn(move || follow(stderr, &step));
    let mut stdout = child.stdout.take().unwrap();
    let stdout = thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).unwrap();
        text
    });
    let waited = tokio::task::spawn_blocking(move || wait(child));
    let faults = inject(servers, plan, seed, steps).await.unwrap();
    let status = waited.await.unwrap();
    let (stdout, stderr) = (stdout.join().unwrap(), stderr.join().unwrap());
    let json = stdout.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
    let report = Report { status, json, stdout, stderr, faults, plan, seed };
    println!("{}", report.line());
    report
}

/// Collects what is said, and tells each step when it begins.
fn follow(stderr: impl Read, step: &watch::Sender<u64>) -> String {
    let mut text = String::new();
    for line in BufReader::new(stderr).lines() {
        let line = line.unwrap();
        let number = line.split_once(" step ").and_then(|(_, rest)| rest.split_once('/')?.0.parse().ok());
        // The servers are needed until the first visitors come.
        let number = number.filter(|number| *number > 1).or(line.contains("visitors come").then_some(1));
        if let Some(number) = number {
            step.send_replace(number);
        }
        text += &line;
        text += "\n";
    }
    text
}

fn wait(mut child: Child) -> ExitStatus {
    let give_up = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() >= give_up {
            child.kill().unwrap();
        }
        thread::sleep(Duration::from_millis(50));
    }
}

impl Report {
    /// Nothing lost, nothing back, nothing stale, nobody told gone, both databases alike before the cutover, every row
    /// explained.
    pub(crate) fn check_promises(&self) {
        assert!(self.json.is_object(), "the program did not come to its end\n{self}");
        for promise in PROMISES {
            assert_eq!(self.count(promise), 0, "{promise}\n{self}");
        }
        assert!(self.status.success() && self.json["ok"] == true, "{self}");
        let carried = if self.json["story"] == "2016" { "carried_by_use" } else { "rows_copied" };
        assert!(self.count("acknowledged") > 0 && self.count(carried) > 0, "nothing happened\n{self}");
        for (call, codes) in self.json["errors_by_call"].as_object().unwrap() {
            let unexpected = codes.as_object().unwrap().keys().find(|code| !EXPECTED.contains(&code.as_str()));
            assert_eq!(unexpected, None, "{call} failed by what no dead server explains\n{self}");
        }
        assert!(!self.stderr.contains("kept:"), "a table was left behind\n{self}");
    }

    /// A number of the report.
    pub(crate) fn count(&self, name: &str) -> u64 {
        self.json[name].as_u64().unwrap_or_else(|| panic!("the report has no number {name}\n{self}"))
    }

    /// Calls of one step that failed or whose outcome is not known.
    pub(crate) fn failures_in(&self, step: usize) -> u64 {
        let step = &self.json["steps"][step];
        ["failed_calls", "unknown_outcomes"].map(|name| step[name].as_u64().unwrap()).iter().sum()
    }

    /// How often a call ended in an error, of whatever kind.
    pub(crate) fn errors_of(&self, call: &str) -> u64 {
        let codes = self.json["errors_by_call"][call].as_object();
        codes.map_or(0, |codes| codes.values().filter_map(Value::as_u64).sum())
    }

    fn line(&self) -> String {
        let get = |name: &str| &self.json[name];
        let broken = PROMISES.iter().filter(|name| get(name) != 0).map(|name| format!("{name} {}", get(name)));
        let broken = Some(broken.collect::<Vec<_>>().join(", ")).filter(|broken| !broken.is_empty());
        format!(
            "{:?} seed {}: {} calls, {} failed, {} unknown, {} undone, {} repaired, {} given up, {} faults, {} s; {}; \
             errors {}",
            self.plan,
            self.seed,
            get("calls"),
            get("failed_calls"),
            get("unknown_outcomes"),
            get("undone_as_allowed"),
            get("repaired"),
            get("repairs_abandoned"),
            self.faults.len() / 2,
            get("seconds"),
            broken.as_deref().unwrap_or("every promise held"),
            get("errors_by_call"),
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, {}", self.line(), self.status)?;
        writeln!(f, "faults:\n{}", self.faults.join("\n"))?;
        writeln!(f, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr)
    }
}
