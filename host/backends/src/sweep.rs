//! A deletion of expired rows that goes on past rows that the database refuses to delete: a trigger protects them, or a reference.

/// So many rows one deletion passes. Each costs it about as many statements as its limit has binary digits.
const PASSED_MAX: u32 = 64;

/// Which rows a deletion tries next, in the order of their ends.
#[derive(Debug)]
pub(crate) struct Sweep {
    limit: u32,
    /// How many rows it tries.
    pub(crate) rows: u32,
    /// How many of the first it passes.
    pub(crate) passed: u32,
}

impl Sweep {
    /// At most `limit` rows.
    pub(crate) fn new(limit: u32) -> Self {
        Self { limit, rows: limit, passed: 0 }
    }

    /// After a refusal: fewer rows, until the one that is refused is alone, and then those behind it. `false`: it has passed too many.
    pub(crate) fn was_refused(&mut self) -> bool {
        if self.rows > 1 {
            self.rows /= 2;
            return true;
        }
        (self.rows, self.passed) = (self.limit, self.passed + 1);
        self.passed <= PASSED_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Deletes from rows of which some are refused; how many statements it took.
    fn sweep(rows: &mut Vec<bool>, limit: u32) -> Option<(usize, u32)> {
        let mut sweep = Sweep::new(limit);
        for statements in 1.. {
            let from = (sweep.passed as usize).min(rows.len());
            let to = (from + sweep.rows as usize).min(rows.len());
            if rows[from..to].iter().all(|deletable| *deletable) {
                return Some((rows.drain(from..to).count(), statements));
            }
            if !sweep.was_refused() {
                return None;
            }
        }
        None
    }

    #[test]
    fn every_row_that_can_be_deleted_is() {
        for bad in [&[0][..], &[0, 1, 2], &[5], &[99], &[0, 50, 99]] {
            let mut rows: Vec<_> = (0..100).map(|row| !bad.contains(&row)).collect();
            while let Some((deleted @ 1.., statements)) = sweep(&mut rows, 16) {
                assert!(deleted <= 16 && statements <= 30, "{statements}");
            }
            assert_eq!(rows.len(), bad.len());
        }
    }

    #[test]
    fn it_ends_where_nothing_can_be_deleted() {
        assert_eq!(sweep(&mut vec![false; 10], 16).map(|(deleted, _)| deleted), Some(0));
        assert_eq!(sweep(&mut vec![false; 1_000], 16), None);
    }
}
