//! `switchover serve` as operators run it: who is let in, how it ends, and what a kill leaves.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);

/// A server in a folder of its own. It is killed when this is dropped.
struct Server {
    process: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn program(folder: &Path, arguments: &[&str]) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_switchover"));
    program.current_dir(folder).args(arguments);
    program
}

/// Starts a server, and waits until it answers at its socket.
fn serve(folder: &Path, arguments: &[&str]) -> Server {
    let log = fs::File::options().create(true).append(true).open(folder.join("log")).unwrap();
    let mut program = program(folder, &[&["serve", "--ready-delay", "0"], arguments].concat());
    let mut server = Server { process: program.stderr(log).stdout(Stdio::null()).spawn().unwrap() };
    let until = Instant::now() + PATIENCE;
    while UnixStream::connect(folder.join("switchover.sock")).is_err() {
        assert!(server.process.try_wait().unwrap().is_none(), "{}", log_of(folder));
        assert!(Instant::now() < until, "no server: {}", log_of(folder));
        sleep(Duration::from_millis(10));
    }
    server
}

fn log_of(folder: &Path) -> String {
    fs::read_to_string(folder.join("log")).unwrap()
}

fn signal(server: &Server, name: &str) {
    let sent = Command::new("kill").args([name, &server.process.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// The status and the body of an answer.
fn ask(folder: &Path, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = UnixStream::connect(folder.join("switchover.sock")).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nSession-Expires: 2099-01-01T00:00:00Z\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

fn log_says(folder: &Path, words: &str) {
    let until = Instant::now() + PATIENCE;
    while !log_of(folder).contains(words) {
        assert!(Instant::now() < until, "{words} is not in: {}", log_of(folder));
        sleep(Duration::from_millis(10));
    }
}

#[test]
fn without_a_configuration_it_serves_its_own_user_and_keeps_sessions_over_a_kill() {
    let folder = TempDir::new().unwrap();
    let mut server = serve(folder.path(), &[]);
    let mode = folder.path().join("switchover.sock").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(ask(folder.path(), "PUT", "/v1/sessions/key-of-somebody?mode=create", "basket").0, 204);
    let second = program(folder.path(), &["serve"]).output().unwrap();
    assert!(text(&second).contains("another server listens"), "{}", text(&second));

    server.process.kill().unwrap();
    server.process.wait().unwrap();
    let server = serve(folder.path(), &[]);
    assert_eq!(ask(folder.path(), "GET", "/v1/sessions/key-of-somebody", ""), (200, "basket".to_owned()));
    assert_eq!(ended(server, "-TERM"), Some(0), "{}", log_of(folder.path()));
    assert!(!folder.path().join("switchover.sock").exists());
    assert!(!log_of(folder.path()).contains("key-of-somebody"), "a key is in the log");
}

fn ended(mut server: Server, name: &str) -> Option<i32> {
    signal(&server, name);
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = server.process.try_wait().unwrap() {
            return status.code();
        }
        assert!(Instant::now() < until, "it does not end");
        sleep(Duration::from_millis(10));
    }
}

fn text(output: &Output) -> String {
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn port_that_would_let_in_who_was_not_asked_for_is_refused() {
    let folder = TempDir::new().unwrap();
    let made = program(folder.path(), &["token"]).output().unwrap();
    assert!(made.status.success());
    fs::write(folder.path().join("tokens"), &made.stdout).unwrap();
    fs::write(folder.path().join("bad"), "secret").unwrap();
    let local = ["serve", "--listen", "127.0.0.1:0"];
    let everywhere = ["serve", "--listen", "0.0.0.0:0"];
    let cases: &[(&[&str], &[&str], &str)] = &[
        (&local, &[], "--let-anyone-call"),
        (&local, &["--tokens", "tokens", "--let-anyone-call"], "beside"),
        (&local, &["--tokens", "missing"], "missing"),
        (&local, &["--tokens", "bad"], "line 1"),
        (&everywhere, &["--tokens", "tokens"], "--without-tls"),
        (&local, &["--tokens", "tokens", "--cert", "c", "--key", "k"], "certificate c"),
        (&["serve"], &["--config", "missing.toml"], "missing.toml"),
        (&["serve"], &["--unix-mode", "9"], "octal"),
    ];
    for (command, more, named) in cases {
        let refused = program(folder.path(), &[*command, *more].concat()).output().unwrap();
        let said = text(&refused);
        assert!(said.contains(named), "{more:?}: {said}");
        assert!(!said.contains("secret"), "{said}");
    }
}

#[test]
fn what_is_bad_is_not_taken_into_use_while_it_serves() {
    let folder = TempDir::new().unwrap();
    let write = |policy: &str| {
        let text = format!("{policy}\n[databases.default]\naddress = \"sqlite:s.sqlite3\"\ncreate = true\n");
        fs::write(folder.path().join("switchover.toml"), text).unwrap();
    };
    write("");
    let made = program(folder.path(), &["init", "sqlite:s.sqlite3"]).status().unwrap();
    assert!(made.success());
    let server = serve(folder.path(), &[]);
    write("[policy]\nbuiltin = \"nonsense\"");
    signal(&server, "-HUP");
    log_says(folder.path(), "the old one stays in force");
    assert!(ask(folder.path(), "GET", "/readyz?verbose", "").1.contains("policy cached-db"));
    write("[policy]\nbuiltin = \"shards\"\nsettings = { databases = \"default\" }");
    signal(&server, "-HUP");
    log_says(folder.path(), "policy: read again");
    assert!(ask(folder.path(), "GET", "/readyz?verbose", "").1.contains("policy shards"));
    assert_eq!(ended(server, "-INT"), Some(0), "{}", log_of(folder.path()));
}
