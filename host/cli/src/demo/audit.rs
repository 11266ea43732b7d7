//! The audit after the run: compares the recorded answers, and both tables as the run left them, with the history.

use anyhow::Result;
use switchover::SessionKey;
use switchover_workload::checker::{Allowance, Fault, Findings, History, Kind, Left, Promises, Window};
use switchover_workload::history::{Micros, Operation};
use switchover_workload::left::Rows;
use switchover_workload::patience::patiently;
use switchover_workload::table::RawRow;

use crate::demo::latency::Change;
use crate::demo::told::{ByFlags, Scheme, Told};

/// Why an unknown outcome may be undone: the policy of the story of 2016 does not promise more.
const UNDONE_BY_FLAGS: &str = "`fallback` reads the mirror first, and home decides: docs/warnings.md, \"Known hole\"";
/// As `UNDONE_BY_FLAGS`, for a migration.
const UNDONE_BY_PHASES: &str = "docs/protocol.md: it may be shown in one phase and not in the next";

/// Why hosts may see a write in progress in either order.
pub(crate) const EITHER_ORDER: &str = "docs/protocol.md: there is no one order while a write is in progress";

/// Why an unknown outcome may be undone.
pub(crate) fn undone(told: &Told) -> &'static str {
    match told.scheme {
        Scheme::Flags(_) => UNDONE_BY_FLAGS,
        Scheme::Phases(_) => UNDONE_BY_PHASES,
    }
}

/// The result of the audit.
pub(crate) struct Audit {
    /// Every broken promise, and the counts of known limits.
    pub(crate) findings: Findings,
    /// Rows under unknown keys, beyond the number that failed calls explain.
    pub(crate) unexplained_rows: u64,
    /// Every call on the key of the first broken promise.
    pub(crate) evidence: Vec<Operation>,
    /// The number of checked calls.
    pub(crate) calls: usize,
    /// The number of sessions of the run.
    pub(crate) keys: usize,
    /// The number of rows in the two tables.
    pub(crate) rows: usize,
    /// Every key, by number.
    names: Vec<SessionKey>,
}

/// Every row of the old table and of the new table.
pub(crate) type BothTables = [Vec<RawRow>; 2];

/// Reads what the run left behind.
pub(crate) async fn read_tables(told: &Told) -> Result<BothTables> {
    let what = "the tables cannot be read after the run";
    let old = patiently(what, async || told.old.rows().await).await?;
    Ok([old, patiently(what, async || told.new.rows().await).await?])
}

impl Audit {
    /// Checks a run. From the run's own report it uses only the history and the time of the cutover.
    pub(crate) fn of(told: &Told, history: &History, [old, new]: BothTables) -> Self {
        let names = told.site.population.keys();
        let old = Rows::read(old, &names, &told.site.scribe);
        let new = Rows::read(new, &names, &told.site.scribe);
        let window = Window { from: told.ended, to: told.ended, expired_by: told.ended };
        let at_new = Left { rows: &new.by_key, window };
        let findings = match &told.scheme {
            Scheme::Flags(flags) => {
                let (from, to) = flags.cutover;
                let undone = Some(both_written(told, flags));
                let promises = Promises { undone, alike_since: Some(from), ..Promises::default() };
                // Nothing writes the old table after the cutover, and nobody cleans it.
                let at_old = Left { rows: &old.by_key, window: Window { from, to, expired_by: told.ended } };
                history.check(&promises, &[at_old, at_new])
            }
            Scheme::Phases(phases) => {
                let undone = Some(Allowance { from: 0, to: Micros::MAX, reason: UNDONE_BY_PHASES });
                let moved = phases.reads_moved.iter();
                let either_order = moved.map(|(from, to)| Allowance { from: *from, to: *to, reason: EITHER_ORDER });
                let either_order = either_order.collect();
                history.check(&Promises { undone, either_order, ..Promises::default() }, &[at_new])
            }
        };
        // Each such key may have left one row in each table. After `complete` nothing is deleted from the old one.
        let nameless = told.nameless_max();
        let at_old = match told.scheme {
            Scheme::Flags(_) => old.strangers.saturating_sub(nameless),
            Scheme::Phases(_) => 0,
        };
        let first = findings.faults.first().map(|fault| fault.key);
        let evidence = history.by_key().find(|calls| Some(calls[0].key) == first).map(<[_]>::to_vec);
        Self {
            findings,
            evidence: evidence.unwrap_or_default(),
            unexplained_rows: at_old + new.strangers.saturating_sub(nameless),
            calls: history.operations().len(),
            keys: names.len(),
            rows: old.by_key.len() + new.by_key.len(),
            names,
        }
    }

    /// How often a promise was broken.
    pub(crate) fn count(&self, kind: Kind) -> u64 {
        let found = self.findings.count(kind);
        if kind == Kind::Phantom { found + self.unexplained_rows } else { found }
    }

    /// Whether no promise was broken.
    pub(crate) fn is_clean(&self) -> bool {
        self.findings.faults.is_empty() && self.unexplained_rows == 0
    }

    /// The short hash of a fault's key.
    pub(crate) fn name(&self, fault: &Fault) -> String {
        self.names.get(fault.key.0 as usize).map(SessionKey::short_hash).unwrap_or_default()
    }
}

/// The allowance begins when the flag was being set: calls may begin under the flag before the story knows that it is
/// set.
fn both_written(told: &Told, flags: &ByFlags) -> Allowance {
    let (began, to) = flags.both_written;
    let setting = told.changes.iter().rfind(|changed| changed.what == Change::Flags && changed.to <= began);
    Allowance { from: setting.map_or(began, |setting| setting.from), to, reason: UNDONE_BY_FLAGS }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rusqlite::Connection;
    use switchover_workload::history::{Action, Outcome};
    use switchover_workload::table::Place;

    use super::*;
    use crate::demo::stage::Stage;
    use crate::demo::{Options, story};

    async fn kinds(told: &Told, history: &History) -> Vec<Kind> {
        let audit = Audit::of(told, history, read_tables(told).await.unwrap());
        Kind::ALL.into_iter().filter(|kind| audit.count(*kind) > 0).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whatever_is_done_to_the_files_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { sessions: 300, seconds: 5, concurrency: 8, seed: 3, hosts: 1, ..Options::usual() };
        let stage = Stage::open(&options, dir.path()).await.unwrap();
        stage.set().await.unwrap();
        let mut told = story::tell(&options, &stage).await.unwrap();
        let history = told.take_history();
        assert_eq!(kinds(&told, &history).await, [], "the run itself");

        let [old, new] = read_tables(&told).await.unwrap();
        let Place::Sqlite(new_path) = &told.new.place else { panic!("a file was expected") };
        let new_file = Connection::open(new_path).unwrap();
        let write = async |sql: &str, key: &str, data: &str, check: &[Kind]| {
            let rows = |sql| new_file.execute(sql, []).unwrap();
            rows("CREATE TABLE kept AS SELECT * FROM django_session");
            assert_eq!(new_file.execute(sql, [key, data]).unwrap(), 1, "{sql}");
            assert_eq!(kinds(&told, &history).await, check, "{sql}");
            rows("DELETE FROM django_session");
            rows("INSERT INTO django_session SELECT * FROM kept");
            rows("DROP TABLE kept");
        };
        let far = told.ended + 10_000_000;
        let living = new.iter().find(|row| row.expires_at.as_micros() > far).expect("somebody is logged in");
        let insert = "INSERT INTO django_session VALUES (?1, ?2, '2099-01-01 00:00:00')";
        write("DELETE FROM django_session WHERE session_key = ?1 AND ?2 = ''", &living.key, "", &[Kind::LostWrite])
            .await;
        write(insert, "astranger", "", &[Kind::Phantom]).await;
        write(
            "UPDATE django_session SET session_data = ?2 WHERE session_key = ?1",
            &living.key,
            "not what anybody wrote",
            &[Kind::Phantom],
        )
        .await;
        let other = new.iter().find(|row| row.key != living.key).expect("several are logged in");
        write(
            "UPDATE django_session SET session_data = ?2 WHERE session_key = ?1",
            &living.key,
            &other.data,
            &[Kind::ForeignPayload],
        )
        .await;
        write(
            "UPDATE django_session SET expire_date = '2099-01-01 00:00:00' WHERE session_key = ?1 AND ?2 = ''",
            &living.key,
            "",
            &[Kind::UnaskedEnd],
        )
        .await;

        // Nobody writes the old file after the cutover: it has the earlier state of sessions that were saved or deleted
        // later.
        let new_keys: HashSet<&str> = new.iter().map(|row| row.key.as_str()).collect();
        let names = told.site.population.keys();
        let ended_by = |action: Action| -> HashSet<&str> {
            let over = |call: &Operation| call.action == action && call.outcome == Outcome::Done;
            let ended = history.by_key().filter(|calls| calls.iter().any(over));
            ended.map(|calls| names[calls[0].key.0 as usize].expose()).collect()
        };
        let (logged_out, renamed) = (ended_by(Action::Delete), ended_by(Action::CycleAway));
        let gone = |keys: &HashSet<&str>, but: &HashSet<&str>| {
            let here = |key: &str| keys.contains(key) && !but.contains(key) && !new_keys.contains(key);
            old.iter().find(|row| here(&row.key) && row.expires_at.as_micros() > far)
        };
        let deleted = gone(&logged_out, &renamed).expect("somebody logged out after the cutover");
        write(insert, &deleted.key, &deleted.data, &[Kind::BackAfterLogout]).await;
        let former = gone(&renamed, &logged_out).expect("somebody was given a new key after the cutover");
        write(insert, &former.key, &former.data, &[Kind::OldKeyFound]).await;
        let outdated = old.iter().find(|row| new.iter().any(|other| other.key == row.key && other.data != row.data));
        let outdated = outdated.expect("somebody saved after the cutover");
        write(
            "UPDATE django_session SET session_data = ?2 WHERE session_key = ?1",
            &outdated.key,
            &outdated.data,
            &[Kind::LostWrite],
        )
        .await;
    }
}
