//! Flags from a TOML file that is read again when it changes.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::Duration;

use switchover_core::capabilities::{FlagError, FlagSnapshot, Flags};
use tokio::sync::watch;
use toml::de::{DeTable, DeValue};

/// An operator who changes a flag expects the effect within a second, and reading a small file five times a second
/// costs almost nothing. Reading the file instead of asking the file system for events also works with renames,
/// symbolic links and network mounts.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// Thousands of flags fit. A larger file is not a flag file; it was given by mistake.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// Flags from a TOML file of names and booleans, strings or integers:
///
/// ```toml
/// migration_flag = true
/// new_db_router_flag = false
/// ```
///
/// A change takes effect once two reads in a row, 200 ms apart, agree. So a half-written file has no effect. If the
/// file is then missing or invalid, the last snapshot stays in force and the log reports it once. A thread reads the
/// file; it ends when this is dropped.
#[derive(Debug)]
pub struct FlagFile {
    snapshot: Arc<watch::Sender<Arc<FlagSnapshot>>>,
    path: PathBuf,
    /// Closed when this is dropped; then the thread ends.
    _stop: SyncSender<()>,
}

impl FlagFile {
    /// Reads the file at `path` and keeps watching it. Blocks for that one read.
    ///
    /// # Errors
    ///
    /// [`FlagError`] if the file cannot be read, if it is empty, or if it contains anything that is not a flag. The
    /// error names file, line and flag. A file that cannot be read never means "off".
    pub fn watch(path: impl AsRef<Path>) -> Result<Self, FlagError> {
        let path = path.as_ref().to_path_buf();
        let watcher = Watcher::start(path.clone()).map_err(|message| FlagError { message })?;
        let snapshot = Arc::clone(&watcher.snapshot);
        let (stop, stopped) = mpsc::sync_channel(0);
        thread::Builder::new()
            .name("flag-file".to_owned())
            .spawn(move || watcher.run(&stopped))
            .map_err(|error| FlagError { message: format!("{}: no thread to watch it: {error}", path.display()) })?;
        Ok(Self { snapshot, path, _stop: stop })
    }
}

impl Flags for FlagFile {
    fn subscribe(&self) -> watch::Receiver<Arc<FlagSnapshot>> {
        self.snapshot.subscribe()
    }

    fn summary(&self) -> String {
        format!("flags from {}", self.path.display())
    }
}

struct Watcher {
    path: PathBuf,
    snapshot: Arc<watch::Sender<Arc<FlagSnapshot>>>,
    /// The result of the last read.
    seen: Result<String, String>,
    /// The result that was last put into force, or last reported.
    used: Result<String, String>,
}

impl Watcher {
    fn start(path: PathBuf) -> Result<Self, String> {
        let content = read(&path)?;
        let snapshot = Arc::new(watch::Sender::new(Arc::new(parse(&path, &content)?)));
        Ok(Self { path, snapshot, seen: Ok(content.clone()), used: Ok(content) })
    }

    fn run(mut self, stopped: &Receiver<()>) {
        while stopped.recv_timeout(POLL_INTERVAL) == Err(RecvTimeoutError::Timeout) {
            self.look();
        }
    }

    fn look(&mut self) {
        let now = read(&self.path);
        if now == self.seen && now != self.used {
            self.take(&now);
            self.used.clone_from(&now);
        }
        self.seen = now;
    }

    fn take(&self, content: &Result<String, String>) {
        match content.as_ref().map_err(Clone::clone).and_then(|content| parse(&self.path, content)) {
            Ok(flags) => {
                let flags = Arc::new(flags);
                self.snapshot.send_if_modified(|snapshot| {
                    let changed = *snapshot != flags;
                    *snapshot = flags;
                    changed
                });
            }
            Err(problem) => tracing::warn!(problem, "the last good flags stay in force"),
        }
    }
}

fn read(path: &Path) -> Result<String, String> {
    let read = || {
        let mut content = String::new();
        let length = File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut content)?;
        if length as u64 > FILE_BYTES_MAX {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("it has more than {FILE_BYTES_MAX} bytes"),
            ));
        }
        Ok(content)
    };
    read().map_err(|error: io::Error| format!("flags from {} cannot be read: {error}", path.display()))
}

fn parse(path: &Path, content: &str) -> Result<FlagSnapshot, String> {
    if content.trim().is_empty() {
        // An editor or a full disk may leave an empty file. Reading it as "all off" would switch a migration off.
        return Err(format!("{} has nothing in it: for no flags at all, put a comment in", path.display()));
    }
    let at = |offset: usize| {
        let line = content.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1;
        format!("{}, line {line}", path.display())
    };
    let table = DeTable::parse(content)
        .map_err(|error| format!("{}: {}", at(error.span().map_or(0, |span| span.start)), error.message()))?;
    let flag = |(name, value): (_, toml::Spanned<DeValue<'_>>)| {
        let name: toml::Spanned<std::borrow::Cow<'_, str>> = name;
        let place = at(name.span().start);
        let name = name.into_inner().into_owned();
        match text(value.get_ref()) {
            Some(text) => Ok((name, text)),
            None => Err(format!("{place}: the flag {} is neither a boolean nor a string nor an integer", shown(&name))),
        }
    };
    table.into_inner().into_iter().map(flag).collect()
}

/// Returns the name of a flag if it is a word. Anything else may be a secret in the wrong place.
fn shown(name: &str) -> &str {
    let is_word = name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if is_word { name } else { "of this line" }
}

fn text(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::Boolean(value) => Some(value.to_string()),
        DeValue::String(value) => Some(value.to_string()),
        DeValue::Integer(value) => {
            i64::from_str_radix(value.as_str(), value.radix()).ok().map(|value| value.to_string())
        }
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{env, fs, process};

    use super::*;

    #[test]
    fn change_counts_when_two_looks_agree() {
        let path = env::temp_dir().join(format!("switchover-flags-{}.toml", process::id()));
        let write = |content: &str| fs::write(&path, content).expect("the temporary folder takes a file");
        write("on = true\n");
        let mut watcher = Watcher::start(path.clone()).expect("the file is right");
        let is_on = |watcher: &Watcher| watcher.snapshot.borrow().enabled("on");

        // As an interrupted writer leaves it: valid TOML, but incomplete.
        write("# half\n");
        watcher.look();
        assert!(is_on(&watcher));
        write("on = true\nother = 1\n");
        watcher.look();
        assert!(is_on(&watcher));
        watcher.look();
        assert_eq!(watcher.snapshot.borrow().value("other"), Some("1"));
        write("on = false\n");
        watcher.look();
        assert!(is_on(&watcher));
        watcher.look();
        assert!(!is_on(&watcher));
        fs::remove_file(&path).expect("the file is there");
    }
}
