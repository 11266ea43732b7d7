//! The demo's own look at the two files, in plain SQL: so that the audit does not rest on the code that it audits.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use chrono::{DateTime, NaiveDateTime};
use rusqlite::{Connection, OpenFlags, params};
use switchover::Timestamp;

use crate::demo::history::Micros;

/// A row as it stands in Django's table.
pub(crate) struct RawRow {
    /// `session_key`.
    pub(crate) key: String,
    /// `session_data`.
    pub(crate) data: String,
    /// `expire_date`.
    pub(crate) expires_at: Timestamp,
}

/// Inserts sessions as Django does, in one transaction.
pub(crate) fn insert(path: &Path, rows: &[RawRow]) -> Result<()> {
    let mut connection = open(path)?;
    let transaction = connection.transaction()?;
    {
        let mut statement = transaction.prepare("INSERT INTO django_session VALUES (?1, ?2, ?3)")?;
        for row in rows {
            statement.execute(params![row.key, row.data, to_django(row.expires_at.as_micros())])?;
        }
    }
    transaction.commit().with_context(|| format!("cannot write sessions into {}", path.display()))
}

/// Every row, expired or not.
pub(crate) fn rows(path: &Path) -> Result<Vec<RawRow>> {
    let connection = open(path)?;
    let mut statement = connection.prepare("SELECT session_key, session_data, expire_date FROM django_session")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?)))?;
    rows.map(|row| {
        let (key, data, expire_date) = row?;
        Ok(RawRow { key, data, expires_at: from_django(&expire_date)? })
    })
    .collect()
}

/// Which sessions are where, while they move.
pub(crate) struct Watch {
    connection: Connection,
}

/// How far the move is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Move {
    /// Unexpired sessions that the old database has.
    pub(crate) old: u64,
    /// Those of them that the new database does not have.
    pub(crate) only_old: u64,
}

impl Watch {
    /// Looks at two files.
    pub(crate) fn open(old: &Path, new: &Path) -> Result<Self> {
        let connection = open(old)?;
        connection.execute("ATTACH ?1 AS new_files", params![new.to_string_lossy()])?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(Self { connection })
    }

    /// Counts what is there at `now`.
    pub(crate) fn count(&self, now: Micros) -> Result<Move> {
        let sql = "SELECT count(*), count(*) - count(n.session_key)
                   FROM main.django_session o LEFT JOIN new_files.django_session n USING (session_key)
                   WHERE o.expire_date > ?1";
        let counts = self.connection.prepare_cached(sql)?.query_row(params![to_django(now)], |row| {
            Ok(Move { old: row.get::<_, i64>(0)?.unsigned_abs(), only_old: row.get::<_, i64>(1)?.unsigned_abs() })
        });
        Ok(counts?)
    }
}

fn open(path: &Path) -> Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
        .with_context(|| format!("cannot open {}", path.display()))?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    Ok(connection)
}

/// `str()` of a naive UTC `datetime` of Python, which drops the fraction of a whole second.
fn to_django(at: Micros) -> String {
    let at = i64::try_from(at).ok().and_then(DateTime::from_timestamp_micros).unwrap_or_default().naive_utc();
    let format =
        if at.and_utc().timestamp_subsec_micros() == 0 { "%Y-%m-%d %H:%M:%S" } else { "%Y-%m-%d %H:%M:%S%.6f" };
    at.format(format).to_string()
}

fn from_django(text: &str) -> Result<Timestamp> {
    let at = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f");
    let at = at.map_err(|_| anyhow!("`{text:.32}` is not an expire_date of Django's"))?;
    Ok(Timestamp::from_micros(u64::try_from(at.and_utc().timestamp_micros())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_django_writes_them() {
        for (text, micros) in [
            ("2026-12-06 15:05:26.508388", 1_796_569_526_508_388),
            ("2026-12-06 15:05:26", 1_796_569_526_000_000),
            ("2026-12-06 15:05:26.000001", 1_796_569_526_000_001),
        ] {
            assert_eq!(to_django(micros), text);
            assert_eq!(from_django(text).unwrap().as_micros(), micros);
        }
    }

    #[test]
    fn sessions_only_the_old_file_has_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let paths = ["old", "new"].map(|name| dir.path().join(name));
        for path in &paths {
            let table = "CREATE TABLE django_session (session_key PRIMARY KEY, session_data, expire_date)";
            Connection::open(path).unwrap().execute(table, []).unwrap();
        }
        let row = |key: &str, expires_at| RawRow {
            key: key.into(),
            data: String::new(),
            expires_at: Timestamp::from_micros(expires_at),
        };
        insert(&paths[0], &[row("both", 9_000_000), row("old", 9_000_000), row("expired", 1_000_000)]).unwrap();
        insert(&paths[1], &[row("both", 9_000_000), row("new", 9_000_000)]).unwrap();
        let counts = Watch::open(&paths[0], &paths[1]).unwrap().count(5_000_000).unwrap();
        assert_eq!((counts.old, counts.only_old), (2, 1));
        assert_eq!(rows(&paths[0]).unwrap().len(), 3);
    }
}
