//! The audit after the run: the recorded answers, and both files as they were left, against the history.

use std::collections::HashMap;

use anyhow::Result;
use switchover::SessionKey;

use crate::demo::checker::{Fault, History, Kind, Window};
use crate::demo::history::{KeyId, Row};
use crate::demo::story::Told;
use crate::demo::table::{self, RawRow};

/// What the audit found.
pub(crate) struct Audit {
    /// Every broken promise.
    pub(crate) faults: Vec<Fault>,
    /// Rows under keys that nobody knows, more than creates of unknown outcome explain.
    pub(crate) unexplained_rows: u64,
    /// Calls whose answers were checked.
    pub(crate) calls: usize,
    /// Sessions that there ever were.
    pub(crate) keys: usize,
    /// Rows in the two files.
    pub(crate) rows: usize,
    /// Every key, by number.
    names: Vec<SessionKey>,
}

impl Audit {
    /// Checks a run. Takes nothing from what the run says of itself but the history and the time of the cutover.
    pub(crate) fn of(told: &Told, history: &History) -> Result<Self> {
        let names = told.site.population.keys();
        let mut faults = history.faults();

        let (from, to) = told.cutover;
        let old = Rows::read(told, table::rows(&told.old_path)?, &names);
        let new = Rows::read(told, table::rows(&told.new_path)?, &names);
        // The old file was left at the cutover, and nobody cleans it afterwards.
        let left = Window { from, to, expired_by: told.ended };
        let now = Window { from: told.ended, to: told.ended, expired_by: told.ended };
        for key in history.keys() {
            faults.extend(history.row_fault(key, old.by_key.get(&key).copied(), left));
            faults.extend(history.row_fault(key, new.by_key.get(&key).copied(), now));
        }
        let nameless = told.site.nameless.load(std::sync::atomic::Ordering::Relaxed);
        Ok(Self {
            faults,
            // A create of unknown outcome may have left one row in each file.
            unexplained_rows: old.strangers.saturating_sub(nameless) + new.strangers.saturating_sub(nameless),
            calls: history.operations().len(),
            keys: names.len(),
            rows: old.by_key.len() + new.by_key.len(),
            names,
        })
    }

    /// How often a promise was broken.
    pub(crate) fn count(&self, kind: Kind) -> u64 {
        let found = self.faults.iter().filter(|fault| fault.kind == kind).count() as u64;
        if kind == Kind::Phantom { found + self.unexplained_rows } else { found }
    }

    /// Whether no promise was broken.
    pub(crate) fn is_clean(&self) -> bool {
        self.faults.is_empty() && self.unexplained_rows == 0
    }

    /// The short hash of a fault's key.
    pub(crate) fn name(&self, fault: &Fault) -> String {
        self.names.get(fault.key.0 as usize).map(SessionKey::short_hash).unwrap_or_default()
    }
}

/// The rows of one file, in the words of the history.
struct Rows {
    by_key: HashMap<KeyId, Row>,
    /// Rows under keys that the run does not know.
    strangers: u64,
}

impl Rows {
    fn read(told: &Told, rows: Vec<RawRow>, names: &[SessionKey]) -> Self {
        let ids: HashMap<&str, u32> = names.iter().map(SessionKey::expose).zip(0..).collect();
        let mut read = Self { by_key: HashMap::with_capacity(rows.len()), strangers: 0 };
        for row in rows {
            match ids.get(row.key.as_str()) {
                Some(id) => {
                    read.by_key.insert(KeyId(*id), told.site.scribe.read(&row.data, row.expires_at));
                }
                None => read.strangers += 1,
            }
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rusqlite::Connection;

    use super::*;
    use crate::demo::{Options, story};

    fn kinds(told: &Told, history: &History) -> Vec<Kind> {
        let audit = Audit::of(told, history).unwrap();
        Kind::ALL.into_iter().filter(|kind| audit.count(*kind) > 0).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whatever_is_done_to_the_files_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { sessions: 300, seconds: 5, concurrency: 8, seed: 3, dir: None, json: false };
        let mut told = story::tell(&options, dir.path()).await.unwrap();
        let history = told.take_history();
        assert_eq!(kinds(&told, &history), [], "the run itself");

        let [old, new] = [&told.old_path, &told.new_path].map(|path| table::rows(path).unwrap());
        let new_file = Connection::open(&told.new_path).unwrap();
        let write = |sql: &str, key: &str, data: &str, check: &[Kind]| {
            let rows = |sql| new_file.execute(sql, []).unwrap();
            rows("CREATE TABLE kept AS SELECT * FROM django_session");
            assert_eq!(new_file.execute(sql, [key, data]).unwrap(), 1, "{sql}");
            assert_eq!(kinds(&told, &history), check, "{sql}");
            rows("DELETE FROM django_session");
            rows("INSERT INTO django_session SELECT * FROM kept");
            rows("DROP TABLE kept");
        };
        let far = told.ended + 10_000_000;
        let living = new.iter().find(|row| row.expires_at.as_micros() > far).expect("somebody is logged in");
        let insert = "INSERT INTO django_session VALUES (?1, ?2, '2099-01-01 00:00:00')";
        write("DELETE FROM django_session WHERE session_key = ?1 AND ?2 = ''", &living.key, "", &[Kind::LostWrite]);
        write(insert, "astranger", "", &[Kind::Phantom]);
        write(
            "UPDATE django_session SET session_data = ?2 WHERE session_key = ?1",
            &living.key,
            "not what anybody wrote",
            &[Kind::Phantom],
        );

        // Since the cutover nobody writes the old file: what was saved or deleted later is there as it was before.
        let new_keys: HashSet<&str> = new.iter().map(|row| row.key.as_str()).collect();
        let deleted = old.iter().find(|row| !new_keys.contains(row.key.as_str()) && row.expires_at.as_micros() > far);
        let deleted = deleted.expect("somebody logged out after the cutover");
        write(insert, &deleted.key, &deleted.data, &[Kind::BackAfterLogout]);
        let outdated = old.iter().find(|row| new.iter().any(|other| other.key == row.key && other.data != row.data));
        let outdated = outdated.expect("somebody saved after the cutover");
        write(
            "UPDATE django_session SET session_data = ?2 WHERE session_key = ?1",
            &outdated.key,
            &outdated.data,
            &[Kind::LostWrite],
        );
    }
}
