//! No server outlives the process that started it, however that process dies.
//!
//! The test starts itself again as the process that dies.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::print_stderr, reason = "the victim tells the test what it started")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use switchover_harness::{MariaDb, Postgres, Redis};

const VICTIM: &str = "SWITCHOVER_HARNESS_VICTIM";

/// How many processes have their working directory in a folder. A process that is left has it even if the folder is
/// removed.
fn processes_in(folder: &Path) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes.filter(|p| std::fs::read_link(p.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder))).count()
}

/// This is not a test. It is the process that dies; the tests below start it.
#[tokio::test]
async fn victim() {
    let Ok(death) = std::env::var(VICTIM) else { return };
    let (postgres, maria, redis) = tokio::try_join!(Postgres::shared(), MariaDb::shared(), Redis::shared()).unwrap();
    let dropped = Redis::start().await.unwrap();
    if death == "kill-paused" {
        postgres.pause().await.unwrap();
        maria.pause().await.unwrap();
    }
    for server in [postgres, maria, redis, &dropped] {
        eprintln!("\nfolder {}", server.folder().display());
    }
    eprintln!("\nready");
    match death.as_str() {
        "panic" => panic!("as told"),
        "abort" => std::process::abort(),
        "return" => {}
        _ => std::future::pending().await,
    }
}

/// Starts a victim. Returns it with the folders of its servers once the servers run.
fn victim_that(death: &str) -> (Child, Vec<PathBuf>) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "victim", "--nocapture"]).env(VICTIM, death).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut victim = command.spawn().unwrap();
    let lines = BufReader::new(victim.stderr.take().unwrap()).lines().map(Result::unwrap);
    let lines: Vec<_> = lines.take_while(|line| line != "ready").collect();
    let folders: Vec<_> = lines.iter().filter_map(|line| Some(PathBuf::from(line.strip_prefix("folder ")?))).collect();
    assert_eq!(folders.len(), 4, "{lines:?}");
    (victim, folders)
}

fn nothing_is_left(folders: &[PathBuf]) {
    let deadline = Instant::now() + Duration::from_secs(30);
    for folder in folders {
        while folder.exists() || processes_in(folder) > 0 {
            assert!(Instant::now() < deadline, "{} is left", folder.display());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn killed_process_leaves_no_server() {
    for death in ["kill", "kill-paused"] {
        let (mut victim, folders) = victim_that(death);
        assert!(folders.iter().all(|folder| processes_in(folder) > 0), "the servers ran");
        victim.kill().unwrap();
        victim.wait().unwrap();
        nothing_is_left(&folders);
    }
}

#[test]
fn process_that_ends_by_itself_leaves_no_server() {
    for death in ["panic", "abort", "return"] {
        let (mut victim, folders) = victim_that(death);
        victim.wait().unwrap();
        nothing_is_left(&folders);
    }
}
