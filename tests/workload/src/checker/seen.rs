//! What calls have seen of one key so far. A later call may not see anything older.

use std::collections::HashMap;

use crate::history::{Micros, Row};

/// How certain it is that a seen value stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Weight {
    /// Its write was acknowledged.
    Sure,
    /// The outcome of its write is unknown to the caller.
    Unknown,
    /// The outcome is unknown, and the write may be undone after it was seen.
    MayBeUndone,
}

impl Weight {
    const ALL: [Self; 3] = [Self::Sure, Self::Unknown, Self::MayBeUndone];
}

/// A value that is older than what was seen before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Older {
    /// A payload, or its end.
    Row(Weight),
    /// A session that was gone.
    Gone(Weight),
}

/// A row that a call sees.
#[derive(Clone, Copy)]
pub(super) struct Sight {
    pub(super) row: Row,
    /// By when its write had certainly taken effect.
    pub(super) effect_by: Micros,
}

/// What was seen, in the order in which the calls returned.
#[derive(Default)]
pub(super) struct Seen {
    /// Indexed by weight.
    rows: [Latest; 3],
    /// By version and weight: when a call returned, and the latest end that any call had seen by then.
    ends: HashMap<(u32, Weight), Vec<(Micros, Micros)>>,
    /// Indexed by weight: when the first call returned that reported the session as gone.
    gone: [Option<Micros>; 3],
}

impl Seen {
    /// Adds a row that was seen by a call that began at `invoked` and returned at `returned`.
    pub(super) fn add_row(&mut self, row: Row, (write, end): (Weight, Weight), invoked: Micros, returned: Micros) {
        self.rows[write as usize].add(row.version, invoked, returned);
        let ends = self.ends.entry((row.version, end)).or_default();
        let latest = ends.last().map_or(row.expires_at, |(_, latest)| row.expires_at.max(*latest));
        ends.push((returned, latest));
    }

    /// Adds a call that returned at `returned` and reported the session as gone, although it had not ended by itself.
    pub(super) fn add_gone(&mut self, weight: Weight, returned: Micros) {
        self.gone[weight as usize].get_or_insert(returned);
    }

    /// Whether a call that began at `from` may find the session.
    pub(super) fn check_there(&self, from: Micros) -> Result<(), Older> {
        let gone = Weight::ALL.into_iter().find(|weight| self.gone[*weight as usize].is_some_and(|gone| gone < from));
        gone.map_or(Ok(()), |weight| Err(Older::Gone(weight)))
    }

    /// Whether a call that began at `from` may see this row, if every seen row may have been older by `age` than it
    /// seemed.
    pub(super) fn check_row(&self, sight: Sight, from: Micros, age: Micros) -> Result<(), Older> {
        self.check_there(from)?;
        let Sight { row, effect_by } = sight;
        for weight in Weight::ALL {
            let other = self.rows[weight as usize].latest_other(row.version, from);
            let ends = self.ends.get(&(row.version, weight)).map_or(&[][..], Vec::as_slice);
            let ends = &ends[..ends.partition_point(|(returned, _)| *returned < from)];
            let shortened = ends.last().is_some_and(|(_, latest)| row.expires_at < *latest);
            if shortened || other.is_some_and(|invoked| effect_by < invoked.saturating_sub(age)) {
                return Err(Older::Row(weight));
            }
        }
        Ok(())
    }
}

/// The latest versions that were seen.
#[derive(Default)]
struct Latest(Vec<Step>);

/// For all calls that returned by `returned`: the version seen by the call that began last, and the last call that saw
/// another version.
#[derive(Clone, Copy)]
struct Step {
    returned: Micros,
    first: (u32, Micros),
    second: Option<(u32, Micros)>,
}

impl Latest {
    fn add(&mut self, version: u32, invoked: Micros, returned: Micros) {
        let new = (version, invoked);
        let step = match self.0.last().copied() {
            None => Step { returned, first: new, second: None },
            Some(Step { first, second, .. }) if first.0 == version => {
                Step { returned, first: (version, first.1.max(invoked)), second }
            }
            Some(Step { first, .. }) if first.1 < invoked => Step { returned, first: new, second: Some(first) },
            Some(Step { first, second, .. }) => {
                let second = second.filter(|second| second.1 > invoked).unwrap_or(new);
                Step { returned, first, second: Some(second) }
            }
        };
        self.0.push(step);
    }

    /// Among the calls that had returned before `before` and saw a version other than this: when the last of them
    /// began.
    fn latest_other(&self, version: u32, before: Micros) -> Option<Micros> {
        let count = self.0.partition_point(|step| step.returned < before);
        let step = self.0[..count].last()?;
        if step.first.0 == version { step.second.map(|(_, invoked)| invoked) } else { Some(step.first.1) }
    }
}
