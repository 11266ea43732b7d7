//! One step of a sweep, in as many statements as it takes to go on past the rows that the database does not delete.

use switchover_core::capabilities::{DatabaseError, Swept};

/// So many rows in a row that others hold end the step with an error: what they hold is the table.
const HELD_MAX: u32 = 16;

/// What one statement did, which is a transaction of its own.
#[derive(Debug)]
pub(crate) enum Tried {
    /// It found so many rows that nobody holds, and deleted so many of them.
    Done { found: u32, deleted: u32 },
    /// It deleted nothing: the database refuses to delete one of its rows.
    Refused(String),
    /// It deleted nothing: others hold what it needs.
    #[cfg_attr(
        all(not(test), not(any(feature = "postgres", feature = "mysql"))),
        expect(dead_code, reason = "whoever holds a file of SQLite holds all of it")
    )]
    Held(String),
}

/// Which rows the next statement tries, in the order of their ends.
///
/// A statement that fails is tried with half the rows. A row that fails alone is passed. A statement that succeeds is
/// followed by one of twice as many rows. So a refused row costs about twice as many statements as the limit has binary
/// digits, and many in a row cost one each.
///
/// The first row that fails alone is followed by a statement without a row, which tells whether the row is the cause.
#[derive(Debug)]
pub(crate) struct Sweep {
    limit: u32,
    passed: u64,
    rows: u32,
    held_in_a_row: u32,
    /// Why a row that was alone was refused, while nothing shows yet that it is the row.
    doubted: Option<String>,
    is_sure: bool,
    swept: Swept,
    error: Option<DatabaseError>,
}

impl Sweep {
    /// Of at most `limit` rows, behind the first `passed`.
    pub(crate) fn new(passed: u64, limit: u32) -> Self {
        let swept = Swept { more: true, ..Swept::default() };
        Self { limit, passed, rows: limit, held_in_a_row: 0, doubted: None, is_sure: false, swept, error: None }
    }

    /// How many rows the next statement tries, and how many it passes; `None`: the step has ended.
    pub(crate) fn next(&mut self) -> Option<(u32, u64)> {
        if self.doubted.is_some() && self.error.is_none() {
            return Some((0, self.passed + self.swept.passed()));
        }
        let seen = self.swept.passed() + u64::from(self.swept.deleted);
        let left = u64::from(self.limit).saturating_sub(seen);
        self.rows = self.rows.min(u32::try_from(left).unwrap_or(u32::MAX));
        let goes_on = self.rows > 0 && self.swept.more && self.error.is_none();
        goes_on.then(|| (self.rows, self.passed + self.swept.passed()))
    }

    /// The statement was tried.
    pub(crate) fn tried(&mut self, tried: Tried) {
        if let Some(reason) = self.doubted.take() {
            return self.tried_nothing(tried, reason);
        }
        match tried {
            Tried::Done { found, deleted } => {
                self.swept.deleted += deleted;
                if deleted < found {
                    self.swept.refused += found - deleted;
                    self.swept.reason = Some("a trigger keeps the row, without an error".to_owned());
                }
                self.swept.more = found >= self.rows;
                self.rows = self.rows.saturating_mul(2);
                self.held_in_a_row = 0;
            }
            Tried::Refused(_) | Tried::Held(_) if self.rows > 1 => self.rows /= 2,
            Tried::Refused(reason) if self.is_sure => self.passed_refused(reason),
            Tried::Refused(reason) => self.doubted = Some(reason),
            Tried::Held(message) => {
                self.swept.held += 1;
                self.held_in_a_row += 1;
                if self.held_in_a_row == HELD_MAX {
                    self.failed(DatabaseError::Conflict { message });
                }
            }
        }
    }

    /// A statement without a row was tried. If it is refused as well, no row is the cause.
    fn tried_nothing(&mut self, tried: Tried, reason: String) {
        match tried {
            Tried::Done { .. } => {
                self.is_sure = true;
                self.passed_refused(reason);
            }
            Tried::Refused(message) => self.failed(DatabaseError::Corrupt { message }),
            Tried::Held(message) => self.failed(DatabaseError::Conflict { message }),
        }
    }

    fn passed_refused(&mut self, reason: String) {
        self.swept.refused += 1;
        self.swept.reason = Some(reason);
        self.held_in_a_row = 0;
    }

    /// The step ends here.
    pub(crate) fn failed(&mut self, error: DatabaseError) {
        self.error = Some(error);
    }

    /// What the step did. An error counts only if nothing was done before it: if it lasts, the next step meets it.
    pub(crate) fn end(self) -> Result<Swept, DatabaseError> {
        match self.error {
            Some(error) if self.swept.deleted == 0 && self.swept.refused == 0 => Err(error),
            _ => Ok(self.swept),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Row {
        Deletable,
        Refused,
        Kept,
        Held,
    }

    /// One step over rows in memory; what it did, and how many statements it took.
    fn step(rows: &mut Vec<Row>, passed: u64, limit: u32) -> (Result<Swept, DatabaseError>, u32) {
        let (mut sweep, mut statements) = (Sweep::new(passed, limit), 0);
        while let Some((count, passed)) = sweep.next() {
            statements += 1;
            let from = (passed as usize).min(rows.len());
            let to = (from + count as usize).min(rows.len());
            let these = &rows[from..to];
            if these.contains(&Row::Refused) {
                sweep.tried(Tried::Refused("a reference".to_owned()));
            } else if these.contains(&Row::Held) {
                sweep.tried(Tried::Held("a lock".to_owned()));
            } else {
                let (found, kept) = (these.len() as u32, these.iter().filter(|row| **row == Row::Kept).count());
                let rest: Vec<_> = rows.drain(from..to).filter(|row| *row == Row::Kept).collect();
                rows.splice(from..from, rest);
                sweep.tried(Tried::Done { found, deleted: found - kept as u32 });
            }
        }
        (sweep.end(), statements)
    }

    /// All steps of a sweep; what they did together, and how many statements they took.
    fn sweep(rows: &mut Vec<Row>, limit: u32) -> (Swept, u32) {
        let (mut all, mut statements) = (Swept::default(), 0);
        loop {
            let (swept, took) = step(rows, all.passed(), limit);
            let swept = swept.unwrap();
            assert!(u64::from(swept.deleted) + swept.passed() <= u64::from(limit));
            all.deleted += swept.deleted;
            all.refused += swept.refused;
            all.held += swept.held;
            statements += took;
            if !swept.more {
                return (all, statements);
            }
        }
    }

    #[test]
    fn every_row_that_can_be_deleted_is() {
        for (number, seed) in (0..400).map(|number| (number, fastrand::Rng::with_seed(number))) {
            let mut random = seed;
            let (of, limit) = (random.usize(0..300), random.u32(1..64));
            let often = random.u32(2..60);
            let mut rows: Vec<_> = (0..of)
                .map(|_| match random.u32(0..often) {
                    0 => Row::Refused,
                    1 => Row::Kept,
                    2 => Row::Held,
                    _ => Row::Deletable,
                })
                .collect();
            let before = rows.clone();
            let count = |what: Row| before.iter().filter(|row| **row == what).count() as u32;
            let (swept, _) = sweep(&mut rows, limit);
            assert_eq!(swept.deleted, count(Row::Deletable), "{number}");
            assert_eq!(swept.refused, count(Row::Refused) + count(Row::Kept), "{number}");
            assert_eq!(swept.held, count(Row::Held), "{number}");
            assert_eq!(rows.len() as u64, swept.passed(), "{number}");
        }
    }

    #[test]
    fn rows_that_are_refused_cost_few_statements() {
        let mut rows = vec![Row::Deletable; 1_000];
        assert_eq!(sweep(&mut rows, 1_000).1, 2);
        let mut rows = vec![Row::Deletable; 1_000];
        rows[0] = Row::Refused;
        rows[500] = Row::Refused;
        let (_, statements) = sweep(&mut rows, 1_000);
        assert!(statements <= 50, "{statements}");
        let mut rows = vec![Row::Refused; 1_000];
        rows.extend([Row::Deletable; 1_000]);
        let (swept, statements) = sweep(&mut rows, 1_000);
        assert!(swept.deleted == 1_000 && swept.refused == 1_000 && statements <= 1_050, "{statements}");
    }

    #[test]
    fn table_that_others_hold_is_an_error() {
        let mut rows = vec![Row::Held; 1_000];
        let (swept, statements) = step(&mut rows, 0, 100);
        assert!(matches!(swept, Err(DatabaseError::Conflict { .. })), "{swept:?}");
        assert!(statements < 30, "{statements}");
        let mut rows = vec![Row::Held; HELD_MAX as usize - 1];
        rows.push(Row::Deletable);
        assert_eq!(sweep(&mut rows, 100).0.deleted, 1);
    }

    #[test]
    fn statement_that_fails_without_a_row_ends_the_step() {
        let (mut sweep, mut statements) = (Sweep::new(0, 1_000), 0);
        while sweep.next().is_some() {
            statements += 1;
            sweep.tried(Tried::Refused("no deletions here".to_owned()));
        }
        assert!(matches!(sweep.end(), Err(DatabaseError::Corrupt { .. })));
        assert!(statements < 15, "{statements}");
    }

    #[test]
    fn what_was_done_before_an_error_is_counted() {
        let mut sweep = Sweep::new(0, 10);
        sweep.next();
        sweep.failed(DatabaseError::Timeout);
        assert_eq!(sweep.end(), Err(DatabaseError::Timeout));
        let mut sweep = Sweep::new(0, 10);
        sweep.next();
        sweep.tried(Tried::Refused("a reference".to_owned()));
        sweep.next();
        sweep.tried(Tried::Done { found: 5, deleted: 5 });
        sweep.failed(DatabaseError::Timeout);
        assert!(matches!(sweep.end(), Ok(Swept { deleted: 5, more: true, .. })));
    }
}
