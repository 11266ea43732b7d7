//! Servers start, answer, end, and keep what they promised to keep. The tests ask each by its own command line client.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::process::Command;

use switchover_harness::{Certificates, MariaDb, Postgres, Redis, Server};

/// The output of a command without the last end of line, or its error output.
fn said(command: &mut Command) -> Result<String, String> {
    let output = command.current_dir("/").output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn psql(url: &str, statement: &str) -> Result<String, String> {
    said(Command::new("psql").env("PGCONNECT_TIMEOUT", "2").args(["-XAtq", "-d", url, "-c", statement]))
}

fn mariadb(server: &Server, database: &str, statement: &str) -> Result<String, String> {
    let address = ["--host=127.0.0.1".to_owned(), format!("--port={}", server.port())];
    let mut command = Command::new("mariadb");
    command.args(["--no-defaults", "--user=root", "--connect-timeout=2", "-NB"]).args(address);
    said(command.args([database, "-e", statement]))
}

fn redis(url: &str, words: &[&str]) -> Result<String, String> {
    said(Command::new("redis-cli").args(["-u", url]).args(words))
}

/// The states in `/proc` of the processes that work in a server's data folder.
fn states(server: &Server) -> Vec<char> {
    let data = server.folder().join("data");
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let ours = processes.filter(|process| std::fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd == data));
    let stat = ours.filter_map(|process| std::fs::read_to_string(process.path().join("stat")).ok());
    stat.filter_map(|line| line.rsplit_once(") ")?.1.chars().next()).collect()
}

fn setting(url: &str, name: &str) -> String {
    psql(url, &format!("SHOW {name}")).unwrap()
}

#[tokio::test]
async fn postgres_answers_over_tcp_and_socket() {
    let server = Postgres::start().await.unwrap();
    assert_eq!(psql(&server.url(), "SELECT 40 + 2").unwrap(), "42");
    assert_eq!(psql(&server.socket_url(), "SELECT inet_server_addr() IS NULL").unwrap(), "t");
    let shop = server.create_database("shop").await.unwrap();
    assert_eq!(psql(&shop, "SELECT current_database()").unwrap(), "shop");
    assert_eq!(psql(&server.socket_url_of("shop"), "SELECT current_database()").unwrap(), "shop");
    let again = server.create_database("shop").await.unwrap_err().to_string();
    assert!(again.contains("already exists"), "{again}");
    assert!(server.create_database("a\"b").await.is_err());
    assert!(server.tls_url().is_err());
}

#[tokio::test]
async fn mariadb_answers_over_tcp_and_socket() {
    let server = MariaDb::start().await.unwrap();
    assert_eq!(mariadb(&server, "test", "SELECT 40 + 2").unwrap(), "42");
    let socket = server.socket_url().split_once("?socket=").unwrap().1.to_owned();
    let ask = ["--no-defaults", "--user=root", "-NB", "-e", "SELECT 6 * 7", "--socket"];
    assert_eq!(said(Command::new("mariadb").args(ask).arg(socket)).unwrap(), "42");
    let shop = server.create_database("shop").await.unwrap();
    assert_eq!(shop, format!("mysql://root@127.0.0.1:{}/shop", server.port()));
    assert_eq!(mariadb(&server, "shop", "SELECT database()").unwrap(), "shop");
}

#[tokio::test]
async fn redis_answers_over_tcp_and_socket() {
    let server = Redis::start().await.unwrap();
    assert_eq!(redis(&server.url(), &["SET", "a", "1"]).unwrap(), "OK");
    let path = server.socket_url().strip_prefix("redis+unix://").unwrap().replace("?db=0", "");
    assert_eq!(said(Command::new("redis-cli").args(["-s", &path, "GET", "a"])).unwrap(), "1");
    let mine = server.create_database("mine").await.unwrap();
    let yours = server.create_database("yours").await.unwrap();
    assert_ne!(mine, yours);
    assert_eq!(redis(&mine, &["EXISTS", "a"]).unwrap(), "0");
}

#[tokio::test]
async fn tls_is_offered_beside_plain_connections() {
    let certificates = Certificates::generate().unwrap();
    let (postgres, maria, cache) = tokio::try_join!(
        Postgres::builder().tls(&certificates).start(),
        MariaDb::builder().tls(&certificates).start(),
        Redis::builder().tls(&certificates).start(),
    )
    .unwrap();
    let encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert_eq!(psql(&postgres.tls_url().unwrap(), encrypted).unwrap(), "t");
    assert_eq!(psql(&format!("{}?sslmode=disable", postgres.url()), encrypted).unwrap(), "f");

    let authority = maria.authority().unwrap();
    let mut command = Command::new("mariadb");
    command.args(["--no-defaults", "--user=root", "--host=127.0.0.1", "-NB", "--ssl-verify-server-cert"]);
    command.arg(format!("--port={}", maria.port())).arg(format!("--ssl-ca={}", authority.display()));
    let cipher = said(command.args(["-e", "SHOW STATUS LIKE 'Ssl_cipher'"])).unwrap();
    assert!(cipher.contains("TLS") || cipher.contains("GCM"), "{cipher}");

    let trusted = cache.authority().unwrap();
    let mut command = Command::new("redis-cli");
    command.args(["-u", &cache.tls_url().unwrap(), "--tls", "--cacert"]).arg(&trusted).arg("PING");
    assert_eq!(said(&mut command).unwrap(), "PONG");
    assert_eq!(redis(&cache.url(), &["PING"]).unwrap(), "PONG");
}

#[tokio::test]
async fn options_reach_the_server() {
    let server = Postgres::builder().connections(17).setting("work_mem", "3MB").start().await.unwrap();
    assert_eq!(setting(&server.url(), "max_connections"), "17");
    assert_eq!(setting(&server.url(), "work_mem"), "3MB");
    assert_eq!(setting(&server.url(), "fsync"), "on");
    assert_eq!(setting(&server.url(), "synchronous_commit"), "on");
    let wrong = Postgres::builder().setting("no_such_setting", "1").start().await.unwrap_err().to_string();
    assert!(wrong.contains("no_such_setting"), "{wrong}");
}

#[tokio::test]
async fn committed_rows_outlive_kill_and_stop() {
    let (postgres, maria) = tokio::try_join!(Postgres::start(), MariaDb::start()).unwrap();
    psql(&postgres.url(), "CREATE TABLE t (n int); INSERT INTO t VALUES (7)").unwrap();
    mariadb(&maria, "test", "CREATE TABLE t (n int); INSERT INTO t VALUES (7)").unwrap();
    let ports = (postgres.port(), maria.port());
    for killed in [true, false] {
        for server in [&postgres, &maria] {
            if killed {
                server.kill().await.unwrap()
            } else {
                server.stop().await.unwrap()
            }
            assert!(states(server).is_empty(), "{server:?} has processes left");
        }
        assert!(psql(&postgres.url(), "SELECT 1").is_err());
        assert!(mariadb(&maria, "test", "SELECT 1").is_err());
        tokio::try_join!(postgres.restart(), maria.restart()).unwrap();
        assert_eq!(psql(&postgres.url(), "SELECT n FROM t").unwrap(), "7");
        assert_eq!(mariadb(&maria, "test", "SELECT n FROM t").unwrap(), "7");
    }
    assert_eq!((postgres.port(), maria.port()), ports);
}

#[tokio::test]
async fn redis_forgets_unless_it_is_told_to_keep() {
    let keeping = Redis::builder().setting("appendonly", "yes").setting("appendfsync", "always");
    let (forgets, keeps) = tokio::try_join!(Redis::start(), keeping.start()).unwrap();
    for (server, left) in [(&forgets, "0"), (&keeps, "1")] {
        redis(&server.url(), &["SET", "a", "1"]).unwrap();
        server.kill().await.unwrap();
        assert!(redis(&server.url(), &["PING"]).is_err());
        server.restart().await.unwrap();
        assert_eq!(redis(&server.url(), &["EXISTS", "a"]).unwrap(), left);
        server.stop().await.unwrap();
        assert!(states(server).is_empty());
    }
}

#[tokio::test]
async fn paused_server_stands_still_and_goes_on() {
    let (postgres, maria, cache) = tokio::try_join!(Postgres::start(), MariaDb::start(), Redis::start()).unwrap();
    for server in [&postgres, &maria, &cache] {
        server.pause().await.unwrap();
        let states = states(server);
        assert!(!states.is_empty() && states.iter().all(|state| *state == 'T'), "{server:?}: {states:?}");
    }
    assert!(psql(&postgres.url(), "SELECT 1").is_err(), "a paused server answered");
    for server in [&postgres, &maria, &cache] {
        server.resume().await.unwrap();
        assert!(!states(server).contains(&'T'));
    }
    assert_eq!(psql(&postgres.url(), "SELECT 1").unwrap(), "1");
    assert_eq!(mariadb(&maria, "test", "SELECT 1").unwrap(), "1");
    assert_eq!(redis(&cache.url(), &["PING"]).unwrap(), "PONG");
    // A paused server is stopped, killed and dropped.
    postgres.pause().await.unwrap();
    postgres.stop().await.unwrap();
    assert!(postgres.pause().await.is_err(), "a server that does not run cannot be paused");
    maria.pause().await.unwrap();
    maria.kill().await.unwrap();
    assert!(states(&postgres).is_empty() && states(&maria).is_empty());
}

#[tokio::test]
async fn shared_server_is_one() {
    let (one, other) = tokio::try_join!(Redis::shared(), Redis::shared()).unwrap();
    assert_eq!(one.port(), other.port());
}

#[tokio::test]
async fn dropped_server_leaves_no_folder() {
    let server = Postgres::start().await.unwrap();
    let folder = server.folder();
    server.pause().await.unwrap();
    assert!(Path::new(&folder).exists());
    drop(server);
    assert!(!folder.exists());
}
