//! `switchover serve` as operators run it: who is let in, how it ends, and what a kill leaves.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
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
    try_ask(folder, method, path, body).unwrap()
}

/// `None`: there was no answer.
fn try_ask(folder: &Path, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
    ask_at(&folder.join("switchover.sock"), method, path, body)
}

fn ask_at(socket: &Path, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
    let mut stream = UnixStream::connect(socket).ok()?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nSession-Expires: 2099-01-01T00:00:00Z\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
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
        (&["serve"], &["--cert", "c", "--key", "k"], "--listen"),
        (&["serve"], &["--admin-listen", "127.0.0.1:0"], "--admin-tokens"),
        (&["serve"], &["--admin-listen", "0.0.0.0:0", "--admin-tokens", "tokens"], "--without-tls"),
        (&["serve"], &["--admin-unix", "a", "--audit-log", "missing/audit"], "missing/audit"),
        (&["serve"], &["--unix-mode", "9"], "octal"),
        (&["serve"], &["--unix-group", "no-such-group"], "/etc/group"),
        (&local, &["--let-anyone-call", "--unix-group", "0"], "--unix"),
        (&["serve"], &["--audit-log", "audit"], "--admin-unix"),
        (&["serve"], &["--connections", "0"], "--connections"),
    ];
    for (command, more, named) in cases {
        let refused = program(folder.path(), &[*command, *more].concat()).output().unwrap();
        let said = text(&refused);
        assert!(said.contains(named), "{more:?}: {said}");
        assert!(!said.contains("secret"), "{said}");
    }
}

#[test]
fn server_whose_port_is_taken_leaves_no_socket() {
    let folder = TempDir::new().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let arguments = ["serve", "--unix", "s", "--listen", &address, "--let-anyone-call"];
    let refused = program(folder.path(), &arguments).output().unwrap();
    let said = text(&refused);
    assert!(said.contains(&address) && said.contains("cannot be listened at"), "{said}");
    assert!(!folder.path().join("s").exists());
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
    write("[policy]\nbuiltin = \"cached-db\"");
    signal(&server, "-HUP");
    log_says(folder.path(), "policy: it is the one that runs");
    write("[policy]\nbuiltin = \"shards\"\nsettings = { databases = \"default\" }");
    signal(&server, "-HUP");
    log_says(folder.path(), "policy: read again");
    assert!(ask(folder.path(), "GET", "/readyz?verbose", "").1.contains("policy shards"));
    assert_eq!(ask(folder.path(), "PUT", "/v1/sessions/keyofsomebody?mode=create", "eleven byte").0, 204);
    write("[limits]\npayload_bytes_max = 10\nwarm_instances = 9");
    signal(&server, "-HUP");
    log_says(folder.path(), "`warm_instances` cannot change while the host runs");
    assert_eq!(
        ask(folder.path(), "PUT", "/v1/sessions/keyofsomebody?mode=update", "eleven byte").0,
        204,
        "all or none"
    );
    write("[limits]\npayload_bytes_max = 10");
    signal(&server, "-HUP");
    log_says(folder.path(), "limits: read again");
    assert_eq!(ask(folder.path(), "PUT", "/v1/sessions/keyofsomebody?mode=update", "eleven byte").0, 413);
    assert_eq!(ask(folder.path(), "GET", "/v1/sessions/keyofsomebody", "").1, "eleven byte");
    assert_eq!(ended(server, "-INT"), Some(0), "{}", log_of(folder.path()));
}

#[test]
fn operators_have_a_door_of_their_own_and_metrics_are_those_of_the_process() {
    let folder = TempDir::new().unwrap();
    let own = folder.path().metadata().unwrap().gid().to_string();
    let door = ["--admin-unix", "admin.sock", "--admin-unix-mode", "660", "--admin-unix-group", &own];
    let more = ["--audit-log", "audit.jsonl", "--metrics-listen", "127.0.0.1:0"];
    let server = serve(folder.path(), &[&door[..], &more].concat());
    log_says(folder.path(), "health and metrics at http://");
    let log = log_of(folder.path());
    let watched = log.lines().find_map(|line| line.strip_prefix("health and metrics at http://")).unwrap();
    for (path, expected) in [("/readyz", "200"), ("/metrics", "200"), ("/v1/sessions/key-of-somebody", "404")] {
        let mut stream = std::net::TcpStream::connect(watched).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer.split(' ').nth(1), Some(expected), "{path}: {answer}");
        assert!(!answer.contains("no-session"), "watchers read no session");
    }
    let socket = folder.path().join("admin.sock").metadata().unwrap();
    assert_eq!((socket.mode() & 0o777, socket.gid().to_string()), (0o660, own));
    assert_eq!(ask(folder.path(), "PUT", "/v1/sessions/key-of-somebody?mode=create", "basket").0, 204);
    assert_eq!(ask(folder.path(), "GET", "/v1/sessions/key-of-somebody", "").0, 200);
    assert_eq!(
        ask(folder.path(), "GET", "/v1/admin/status", "").0,
        404,
        "sessions and operators have doors of their own"
    );
    let operate = |method: &str, path: &str| ask_at(&folder.path().join("admin.sock"), method, path, "").unwrap();
    let (status, told) = operate("GET", "/v1/admin/status");
    assert_eq!(status, 200, "{told}");
    assert!(told.contains("\"name\":\"cached-db\"") && told.contains("switchover.sqlite3"), "{told}");
    assert_eq!(operate("GET", "/v1/sessions/key-of-somebody").0, 404);
    let (status, told) = operate("POST", "/v1/admin/policy/swap?builtin=shards");
    assert_eq!(status, 422, "{told}");
    let audit = fs::read_to_string(folder.path().join("audit.jsonl")).unwrap();
    assert!(audit.lines().count() == 2 && audit.contains("\"status\":422"), "{audit}");

    // Hosts publish once a second.
    let until = Instant::now() + PATIENCE;
    let page = loop {
        let (status, page) = ask(folder.path(), "GET", "/metrics", "");
        assert_eq!(status, 200);
        if page.contains("switchover_calls_total{call=\"load\",outcome=\"answered\"} 1") {
            break page;
        }
        assert!(Instant::now() < until, "{page}");
        sleep(Duration::from_millis(100));
    };
    let counted = "switchover_http_requests_total{method=\"PUT\",route=\"/v1/sessions/{key}\",status=\"2xx\"} 1";
    assert!(page.contains(counted), "{page}");
    assert!(page.contains("switchover_call_duration_seconds_bucket{call=\"load\",le=\"0.001\"}"), "{page}");
    assert!(!page.contains("key-of-somebody"), "a key is in the metrics");
    assert_eq!(ended(server, "-TERM"), Some(0), "{}", log_of(folder.path()));
    assert!(!folder.path().join("admin.sock").exists());
}

/// Does what a visitor does, again and again: saves, reads back, and logs out now and then. Each request is repeated
/// until it is acknowledged, so each answer that comes is known beforehand. Returns how many were acknowledged.
fn visit(folder: &Path, visitor: usize, stop: &AtomicBool) -> u64 {
    let until = |expected: &[u16], method: &str, path: &str, body: &str| {
        let give_up = Instant::now() + PATIENCE;
        loop {
            match try_ask(folder, method, path, body) {
                Some((status, body)) if expected.contains(&status) => return (status, body),
                // No answer, nothing done, or an unknown outcome.
                None | Some((503 | 504, _)) => {}
                Some(other) => panic!("{method} {path}: {other:?} instead of {expected:?}"),
            }
            assert!(Instant::now() < give_up, "{method} {path}: no answer for {PATIENCE:?}");
            sleep(Duration::from_millis(5));
        }
    };
    let (mut acknowledged, mut session) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        session += 1;
        let path = format!("/v1/sessions/visitor{visitor}x{session:08}");
        // A create whose outcome was unknown may find its own row.
        until(&[204, 409], "PUT", &format!("{path}?mode=create"), "new");
        for save in 0..20 {
            let written = format!("save {save}");
            until(&[204], "PUT", &format!("{path}?mode=update"), &written);
            let (_, found) = until(&[200], "GET", &path, "");
            assert_eq!(found, written, "{path}");
            acknowledged += 1;
        }
        if session % 2 == 0 {
            until(&[204], "DELETE", &path, "");
            until(&[404], "GET", &path, "");
            until(&[404], "PUT", &format!("{path}?mode=update"), "back");
        }
        // What was saved, or deleted, long before.
        if session > 4 {
            let before = session - 4 - session % 2;
            let even = format!("/v1/sessions/visitor{visitor}x{before:08}");
            until(&[404], "GET", &even, "");
            let odd = format!("/v1/sessions/visitor{visitor}x{:08}", before + 1);
            assert_eq!(until(&[200], "GET", &odd, "").1, "save 19", "{odd}");
        }
    }
    acknowledged
}

#[test]
fn migration_into_a_table_that_is_missing_is_refused_until_init_made_it() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    // Without the name of a host, for the operator alone.
    let config = "[databases.default]\naddress = \"sqlite:old.sqlite3\"\ncreate = true\n\n\
                  [databases.new_session_store]\naddress = \"sqlite:new.sqlite3\"\ncreate = true\n\n\
                  [databases.other]\naddress = \"sqlite:other.sqlite3\"\ncreate = true\n\n\
                  [migration]\nname = \"to-new\"\ncontrol = \"sqlite:control.sqlite3\"\n";
    fs::write(folder.join("switchover.toml"), config).unwrap();
    let run = |arguments: &[&str]| program(folder, arguments).output().unwrap();
    assert!(run(&["init", "default"]).status.success(), "{}", text(&run(&["init", "default"])));
    for command in ["preflight", "init"] {
        let said = text(&run(&["migrate", command]));
        assert!(said.contains("new.sqlite3") && said.contains("django_session"), "{command}: {said}");
    }
    let said = text(&run(&["init", "other"]));
    assert!(said.contains("between `default` and `new_session_store`"), "{said}");
    assert!(run(&["init", "new_session_store"]).status.success());
    for command in ["preflight", "init"] {
        assert!(run(&["migrate", command]).status.success(), "{command}");
    }
}

#[test]
fn server_begins_the_migration_that_its_next_start_takes_part_in() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let databases = "[databases.default]\naddress = \"sqlite:old.sqlite3\"\n\n\
                     [databases.new_session_store]\naddress = \"sqlite:new.sqlite3\"\n";
    let write = |more: &str| fs::write(folder.join("switchover.toml"), [databases, more].concat()).unwrap();
    write("");
    for file in ["sqlite:old.sqlite3", "sqlite:new.sqlite3"] {
        assert!(program(folder, &["init", file]).status().unwrap().success());
    }
    let server = serve(folder, &["--admin-unix", "admin.sock"]);
    let operate = |method: &str, command: &str| {
        let (socket, path) = (folder.join("admin.sock"), format!("/v1/admin/migration/{command}"));
        // The door of operators opens after that of the sessions.
        let until = Instant::now() + PATIENCE;
        while UnixStream::connect(&socket).is_err() && Instant::now() < until {
            sleep(Duration::from_millis(10));
        }
        ask_at(&socket, method, &path, "").unwrap()
    };
    let (status, told) = operate("POST", "init");
    assert!(status == 404 && told.contains("no-migration"), "{status}: {told}");
    write("\n[migration]\nname = \"to-new\"\nhost = \"web-1\"\n");
    let (status, told) = operate("POST", "init");
    assert!(status == 409 && told.contains("not-configured") && told.contains("control"), "{status}: {told}");
    write("\n[migration]\nname = \"to-new\"\nhost = \"web-1\"\ncontrol = \"sqlite:control.sqlite3\"\n");
    let (status, told) = operate("GET", "preflight");
    assert!(status == 200 && told.contains("switchover_fence"), "{status}: {told}");
    let (status, told) = operate("POST", "init");
    assert!(status == 200 && told.contains("\"phase\":\"off\""), "{status}: {told}");
    assert_eq!(ended(server, "-TERM"), Some(0), "{}", log_of(folder));

    let server = serve(folder, &["--admin-unix", "admin.sock"]);
    let (status, told) = operate("POST", "advance");
    assert!(status == 200 && told.contains("\"sealed\":true"), "{status}: {told}");
    assert_eq!(ended(server, "-TERM"), Some(0), "{}", log_of(folder));
}

#[test]
fn sessions_move_to_another_database_while_the_server_is_killed_at_every_step() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let config = "[databases.default]\naddress = \"sqlite:old.sqlite3\"\n\n\
                  [databases.new_session_store]\naddress = \"sqlite:new.sqlite3\"\n\n[cache]\naddress = \"memory:\"\n\n\
                  [migration]\nname = \"to-new\"\nhost = \"web-1\"\ncontrol = \"sqlite:control.sqlite3\"\n";
    fs::write(folder.join("switchover.toml"), config).unwrap();
    let run = |arguments: &[&str]| {
        let output = program(folder, arguments).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    for file in ["sqlite:old.sqlite3", "sqlite:new.sqlite3"] {
        assert_eq!(run(&["init", file]).0, Some(0));
    }
    assert_eq!(run(&["migrate", "init"]).0, Some(0));
    let mut server = serve(folder, &[]);
    let stop = AtomicBool::new(false);
    let acknowledged: u64 = thread::scope(|threads| {
        let visitors: Vec<_> = (0..4)
            .map(|visitor| {
                threads.spawn({
                    let stop = &stop;
                    move || visit(folder, visitor, stop)
                })
            })
            .collect();
        // Ends the visitors also if a step fails.
        let moved = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for step in ["advance", "settle", "advance", "advance", "advance", "complete"] {
                let give_up = Instant::now() + 2 * PATIENCE;
                loop {
                    let (code, said) = run(&["migrate", step]);
                    if code == Some(0) {
                        break;
                    }
                    assert!(code == Some(2) && Instant::now() < give_up, "{step} ended with {code:?}: {said}");
                    sleep(Duration::from_millis(100));
                }
                server.process.kill().unwrap();
                server.process.wait().unwrap();
                server = serve(folder, &[]);
            }
            sleep(Duration::from_millis(500));
        }));
        stop.store(true, Ordering::Relaxed);
        let acknowledged = visitors.into_iter().map(|visitor| visitor.join().unwrap()).sum();
        moved.unwrap();
        acknowledged
    });
    assert!(acknowledged > 500, "{acknowledged} saves are no traffic");
    assert!(run(&["migrate", "status", "--json"]).1.contains("\"phase\":\"complete\""));
    let log = log_of(folder);
    assert!(!log.contains("visitor"), "a key is in the log: {log}");
}
