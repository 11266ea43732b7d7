//! Addresses contain passwords. A faulty address never reveals a part of its password, and never leads to a connection
//! to another host.
#![cfg(all(feature = "postgres", feature = "mysql", feature = "redis", feature = "config"))]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use switchover::backends::{MemoryDatabase, MySql, Postgres, Redis, RedisFlags, Sqlite};
use switchover::{Builtin, Config, Policy, Switchover};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Characters at which an address may be cut, or by which it may be mistaken for something else.
const SIGNS: &str = "?#/@%&=:;+ \\\"'`\n\t[]{}<>|^~!$,é";
/// An address at which nobody listens.
const PLACE: &str = "127.0.0.1:1";

fn passwords() -> Vec<String> {
    let each = SIGNS.chars().flat_map(|sign| [format!("Zq7{sign}Xw9k"), format!("482{sign}691")]);
    let edges = "?#/@%".chars().flat_map(|sign| [format!("Zq7Xw9k{sign}"), format!("{sign}Zq7Xw9k")]);
    let more =
        ["Zq7?sslmode=Xw9k", "Zq7?db=Xw9k#JJ/v@GGq", "482/691?Qzx=1", "Zq7@Xw9k:691", "482#691@Qzx", "Zq7%3FXw9k"];
    each.chain(edges).chain(more.map(str::to_owned)).collect()
}

fn escaped(password: &str) -> String {
    password.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Fails if the text contains three successive characters of the password.
fn assert_hidden(password: &str, text: &str) {
    let characters: Vec<_> = password.chars().collect();
    for part in characters.windows(3) {
        let part: String = part.iter().collect();
        // These are words of the messages.
        if !["%3F", "%23", "%2F", "%40"].contains(&part.as_str())
            && !"sslmode=".contains(&part)
            && !"?db=".contains(&part)
        {
            assert!(!text.contains(&part), "{part:?} of {password:?} is shown: {text}");
        }
    }
}

/// Everything that the library shows of an address: an error of the address, or one that names its host.
async fn shown(address: &str) -> Vec<String> {
    let table = "django_session";
    let mut shown = vec![
        format!("{:?} {}", Postgres::builder(address), error(Postgres::builder(address).connect().await)),
        format!("{:?} {}", MySql::builder(address), error(MySql::builder(address).connect().await)),
        format!("{:?} {}", Redis::builder(address), error(Redis::builder(address).connect().await)),
        format!("{:?} {}", RedisFlags::builder(address), error(RedisFlags::builder(address).connect().await)),
    ];
    let quoted = toml_text(address);
    for text in [
        format!("[databases.default]\naddress = {quoted}\ntable = \"{table}\"\n"),
        format!("[databases.default]\naddress = \"memory:\"\n[cache]\naddress = {quoted}\n"),
        format!("[databases.default]\naddress = \"memory:\"\n[flags]\naddress = {quoted}\n"),
    ] {
        shown.push(configured(&text).await);
    }
    shown
}

/// Everything that it shows of an address in a place where none belongs.
async fn shown_elsewhere(address: &str) -> Vec<String> {
    let mut shown = Vec::new();
    for builder in
        [Postgres::builder(format!("postgres://{PLACE}/app")), MySql::builder(format!("mysql://{PLACE}/app"))]
    {
        let builder = builder.table(address);
        let debug = format!("{builder:?}");
        shown.push(format!("{debug} {}", error(builder.connect().await)));
    }
    for builder in [Sqlite::builder("sessions.sqlite3").table(address), Sqlite::builder(address)] {
        let debug = format!("{builder:?}");
        shown.push(format!("{debug} {}", error(builder.open().await)));
    }
    shown.push(error(RedisFlags::builder(&format!("redis://{PLACE}")).hash(address).connect().await));
    let alias = Switchover::builder().database(address, MemoryDatabase::new());
    shown.push(error(alias.build().await));
    let policy = Policy::builtin(Builtin::CachedDb).setting("database", address);
    shown.push(format!("{policy:?}"));
    shown.push(error(Switchover::builder().database("default", MemoryDatabase::new()).policy(policy).build().await));

    let (quoted, memory) = (toml_text(address), "[databases.default]\naddress = \"memory:\"\n");
    for text in [
        format!("[databases.{quoted}]\naddress = \"memory:\"\n"),
        format!("[databases.default]\naddress = [{quoted}]\n"),
        format!("[databases]\ndefault = {quoted}\n"),
        format!("[databases.default]\naddress = {address}\n"),
        format!("[databases.default]\naddress = \"{address}\n"),
        format!("[databases.default]\naddress = \"\\q{address}\"\n"),
        format!("[databases.default]\naddress {address}\n"),
        format!("{address}\n"),
        format!("{quoted} = 1\n{memory}"),
        format!("[{address}]\n{memory}"),
        format!("{memory}{quoted} = true\n"),
        format!("{memory}table = {quoted}\n"),
        format!("{memory}create = {quoted}\n"),
        format!("{memory}[policy]\nbuiltin = {quoted}\n"),
        format!("{memory}[policy]\nfile = {quoted}\n"),
        format!("{memory}[policy]\nsettings = {{ database = {quoted} }}\n"),
        format!("{memory}[policy]\nsettings = {quoted}\n"),
        format!("{memory}[cache]\naddress = \"memory:\"\nsize_mib = {quoted}\n"),
        format!("{memory}[cache]\naddress = \"redis://{PLACE}\"\nca_file = {quoted}\n"),
        format!("{memory}[flags]\nfile = {quoted}\n"),
        format!("{memory}[flags]\nvalues = {quoted}\n"),
        format!("{memory}[flags]\nvalues = {{ migration_flag = {quoted} }}\nfile = \"x\"\n"),
        format!("{memory}[flags]\naddress = \"redis://{PLACE}\"\nhash = {quoted}\n"),
        format!("{memory}[limits]\nread_deadline_ms = {quoted}\n"),
    ] {
        shown.push(configured(&text).await);
    }
    shown
}

async fn configured(text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("switchover.toml");
    std::fs::write(&path, text).unwrap();
    let shown = match Config::read(&path) {
        Err(error) => format!("{error} {error:?}"),
        Ok(config) => match config.builder().await {
            Err(error) => format!("{config:?} {error} {error:?}"),
            Ok(builder) => format!("{config:?} {builder:?}"),
        },
    };
    shown.replace(&folder.path().display().to_string(), "FOLDER")
}

fn error<T: std::fmt::Debug, E: std::fmt::Display + std::fmt::Debug>(answer: Result<T, E>) -> String {
    match answer {
        Err(error) => format!("{error} {error:?}"),
        Ok(answer) => format!("{answer:?}"),
    }
}

fn toml_text(text: &str) -> String {
    let escape = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c.is_control() => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    };
    format!("\"{}\"", text.chars().map(escape).collect::<String>())
}

/// Keeps every word of every event, of this library and of the drivers.
#[derive(Clone, Default)]
struct Everything(Arc<Mutex<String>>);

struct Words<'a>(&'a mut String);

impl Visit for Words<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        writeln!(self.0, "{field}={value:?}").unwrap();
    }
}

impl Subscriber for Everything {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        span.record(&mut Words(&mut self.0.lock().unwrap()));
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut Words(&mut self.0.lock().unwrap()));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Words(&mut self.0.lock().unwrap()));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_password_is_shown_whatever_is_wrong_with_its_address() {
    let log = Everything::default();
    // There is one test in this file, so that the one subscriber of the process sees everything.
    tracing::subscriber::set_global_default(log.clone()).unwrap();
    for password in passwords() {
        for scheme in ["postgres", "mysql", "redis", "rediss"] {
            let database = if scheme.starts_with("redis") { "0" } else { "app" };
            let address = format!("{scheme}://app:{password}@{PLACE}/{database}");
            for text in shown(&address).await {
                assert_hidden(&password, &text);
                // Its own host was asked, or the text says how to escape, or the address is of another kind.
                let explained = text.contains("%23") || text.contains("%20") || text.contains("://");
                // A host can be built without its cache, which may come later.
                let asked = text.contains(PLACE) || text.contains("Builder {");
                assert!(asked || explained, "{address}: {text}");
            }
            let good = format!("{scheme}://app:{}@{PLACE}/{database}", escaped(&password));
            let text = shown(&good).await.join("\n");
            assert!(text.contains(PLACE), "{good}: {text}");
            assert_hidden(&password, &text);
            assert!(!text.contains(&escaped(&password)), "{text}");
        }
        for address in [
            format!("app:{password}@{PLACE}/app"),
            format!("//app:{password}@{PLACE}/app"),
            format!("postgres:/app:{password}@{PLACE}/app"),
            format!("redis+unix://app:{password}@/run/redis.sock"),
            format!("redis+unix:///run/none.sock?pass={password}"),
            format!("postgres://app@{PLACE}/app?password={password}"),
            format!("mysql://app@{PLACE}/app?{password}"),
            format!("postgres://app@{PLACE}/app?sslmode={password}"),
        ] {
            for text in shown(&address).await {
                assert_hidden(&password, &text);
            }
        }
        for text in shown_elsewhere(&format!("postgres://app:{password}@{PLACE}/app")).await {
            assert_hidden(&password, &text);
        }
        assert_hidden(&password, &log.0.lock().unwrap());
    }
}
