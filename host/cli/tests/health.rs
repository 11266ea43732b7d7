//! `switchover health` beside a server, beside one that is not ready, and where there is none.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

fn health(folder: &Path, arguments: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_switchover"));
    program.current_dir(folder).arg("health").args(arguments).output().unwrap()
}

#[test]
fn server_that_is_ready_is_healthy() {
    let folder = tempfile::tempdir().unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_switchover"));
    program.current_dir(folder.path()).args(["serve", "--ready-delay", "0"]);
    let mut server = program.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let until = Instant::now() + PATIENCE;
    while UnixStream::connect(folder.path().join("switchover.sock")).is_err() && Instant::now() < until {
        thread::sleep(Duration::from_millis(10));
    }
    let output = health(folder.path(), &[]);
    server.kill().unwrap();
    server.wait().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{told}");
    assert!(told.contains("[+]host ok"), "{told}");
}

#[test]
fn server_that_is_not_ready_is_not_healthy() {
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(folder.path().join("other")).unwrap();
    let server = thread::spawn(move || {
        let (mut caller, _) = listener.accept().unwrap();
        let mut request = [0; 1024];
        let length = caller.read(&mut request).unwrap();
        caller.write_all(b"HTTP/1.1 503 Service Unavailable\r\n\r\n[-]serving failed: the server ends\n").unwrap();
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    let output = health(folder.path(), &["--unix", "other"]);
    assert!(server.join().unwrap().starts_with("GET /readyz?verbose "));
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stdout).unwrap().contains("the server ends"));
}

#[test]
fn no_server_is_not_healthy() {
    let folder = tempfile::tempdir().unwrap();
    let output = health(folder.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("no server listens at switchover.sock"));
}
