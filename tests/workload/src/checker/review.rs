//! Reviews one key: every answer in the order in which the calls returned, and then the final rows.

use crate::checker::key::{KeyHistory, Since, Wrong};
use crate::checker::seen::{Older, Seen, Weight};
use crate::checker::{Fault, Findings, History, Kind, Left, Promises, Window};
use crate::history::{Action, KeyId, Micros, Operation, Outcome, Row};

/// What is wrong with an answer or a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Objection {
    /// A promise was broken.
    Broken(Kind),
    /// An unknown outcome was seen and then undone, and the store allows that.
    UndoneAsAllowed,
}

impl From<Older> for Objection {
    fn from(older: Older) -> Self {
        match older {
            Older::Row(Weight::Sure) => Self::Broken(Kind::WentBack),
            Older::Gone(Weight::Sure) => Self::Broken(Kind::CameBack),
            Older::Row(Weight::Unknown) | Older::Gone(Weight::Unknown) => Self::Broken(Kind::Undone),
            Older::Row(Weight::MayBeUndone) | Older::Gone(Weight::MayBeUndone) => Self::UndoneAsAllowed,
        }
    }
}

/// The review of one key.
pub(super) struct Review<'h> {
    history: &'h History,
    promises: &'h Promises,
    id: KeyId,
    key: &'h KeyHistory,
    seen: Seen,
}

impl<'h> Review<'h> {
    pub(super) fn new(history: &'h History, promises: &'h Promises, id: KeyId, key: &'h KeyHistory) -> Self {
        Self { history, promises, id, key, seen: Seen::default() }
    }

    /// Checks every call on the key.
    pub(super) fn check_calls(&mut self, calls: &[Operation], findings: &mut Findings) {
        let mut calls: Vec<_> = calls.iter().collect();
        calls.sort_by_key(|call| call.returned);
        for call in calls {
            match self.judge(call, Since::strictly(call.invoked)) {
                Ok(()) => self.remember(call),
                Err(Objection::UndoneAsAllowed) => findings.undone_as_allowed += 1,
                Err(Objection::Broken(kind)) if self.is_in_either_order(call, kind) => {
                    findings.either_order_as_allowed += 1;
                }
                Err(Objection::Broken(kind)) if self.is_old_within_the_bound(call, kind) => {
                    findings.stale_within_bound += 1;
                }
                Err(Objection::Broken(kind)) => {
                    let Operation { host, invoked: from, returned: to, .. } = *call;
                    findings.faults.push(Fault { kind, key: self.id, host: Some(host), from, to });
                }
            }
        }
    }

    /// Checks the final rows of the key.
    pub(super) fn check_left(&self, left: &[Left<'_>], findings: &mut Findings) {
        let mut right = true;
        for Left { rows, window } in left {
            match self.judge_left(rows.get(&self.id).copied(), *window) {
                Ok(()) => continue,
                Err(Objection::UndoneAsAllowed) => findings.undone_as_allowed += 1,
                Err(Objection::Broken(kind)) => {
                    let kind = kind.at_the_end();
                    let Window { from, to, .. } = *window;
                    findings.faults.push(Fault { kind, key: self.id, host: None, from, to });
                }
            }
            right = false;
        }
        // Each row may be right by itself, and the two may still differ.
        if let ([old, new], Some(at), true) = (left, self.promises.alike_since, right)
            && self.key.is_quiet_since(at)
        {
            let rows = [old, new].map(|left| left.rows.get(&self.id).copied());
            let lives = |row: Option<Row>| row.is_some_and(|row| row.expires_at > new.window.expired_by);
            if rows[0] != rows[1] && (rows.iter().all(Option::is_some) || rows.into_iter().any(lives)) {
                let Window { from, to, .. } = new.window;
                findings.faults.push(Fault { kind: Kind::RowsDiffer, key: self.id, host: None, from, to });
            }
        }
    }

    fn judge(&self, call: &Operation, since: Since<'_>) -> Result<(), Objection> {
        self.key.judge(call, since).map_err(|wrong| self.name(wrong))?;
        match (call.action, call.outcome) {
            (Action::Create(_) | Action::CycleFrom(_), _) => Ok(()),
            (_, Outcome::Found(row)) => self.judge_sight(row, call.invoked, since),
            (_, Outcome::Done) => Ok(self.seen.check_there(since.seen())?),
            (_, Outcome::Absent | Outcome::Failed | Outcome::Unknown) => Ok(()),
        }
    }

    fn judge_left(&self, row: Option<Row>, window: Window) -> Result<(), Objection> {
        let Some(row) = row else {
            return self.key.judge_absence(window, 0).map_err(|wrong| self.name(wrong));
        };
        let since = Since::strictly(window.from);
        self.key.judge_row(row, since, window.to).map_err(|wrong| self.name(wrong))?;
        self.judge_sight(row, window.from, since)
    }

    fn judge_sight(&self, row: Row, from: Micros, since: Since<'_>) -> Result<(), Objection> {
        let Some(sight) = self.key.sight(row) else { return Ok(()) };
        Ok(self.seen.check_row(sight, since.seen(), from - since.seen())?)
    }

    /// Whether only an earlier sight forbids the answer, while a write was in progress.
    fn is_in_either_order(&self, call: &Operation, kind: Kind) -> bool {
        matches!(kind, Kind::WentBack | Kind::CameBack) && self.is_written_at(call.invoked, None)
    }

    /// Whether a write, other than that of `seen`, was in progress that may be seen in either order.
    fn is_written_at(&self, at: Micros, seen: Option<Row>) -> bool {
        self.promises.either_order.iter().any(|allowed| self.key.is_written_at(at, *allowed, seen))
    }

    /// Only a load asks a cache. A write from a cache is never excused.
    fn is_old_within_the_bound(&self, call: &Operation, kind: Kind) -> bool {
        let Some(bound) = &self.promises.stale_bound else { return false };
        let since = Since::leniently(call.invoked, call.host, bound);
        let asked_a_cache = call.action == Action::Load && kind.is_of_age();
        asked_a_cache && matches!(self.judge(call, since), Ok(()) | Err(Objection::UndoneAsAllowed))
    }

    /// Remembers what was rightly seen: it limits what later calls may see.
    fn remember(&mut self, call: &Operation) {
        match (call.action, call.outcome) {
            // It may be what the write in progress replaces, which another call has seen before. Then it limits nothing.
            (Action::Load, Outcome::Found(row)) if self.is_written_at(call.invoked, Some(row)) => {}
            (Action::Load, Outcome::Found(row)) => {
                if let Some(weights) = self.key.weigh_row(row, self.promises.undone) {
                    self.seen.add_row(row, weights, call.invoked, call.returned);
                }
            }
            // A delete that found nothing is acknowledged, and that limits more.
            (Action::Delete | Action::Create(_) | Action::CycleFrom(_), _) => {}
            (_, Outcome::Absent) => {
                let window = Window { from: call.invoked, to: call.returned, expired_by: call.returned };
                if let Some(weight) = self.key.weigh_absence(window, self.promises.undone) {
                    self.seen.add_gone(weight, call.returned);
                }
            }
            _ => {}
        }
    }

    fn name(&self, wrong: Wrong) -> Objection {
        Objection::Broken(match wrong {
            Wrong::Kind(kind) => kind,
            Wrong::Payload(row) => self.history.written.unexplained(row, self.id, &self.ancestors()),
            Wrong::End(row) => {
                let had_it = |key: &KeyId| self.history.key(*key).is_some_and(|key| key.ever_had(row));
                if self.ancestors().iter().any(had_it) { Kind::StaleCycle } else { Kind::UnaskedEnd }
            }
        })
    }

    /// The keys that the session had before. A key takes over from a key with a lower number, so this ends.
    fn ancestors(&self) -> Vec<KeyId> {
        let origin = |id: &KeyId| self.history.key(*id)?.origin().filter(|origin| origin < id);
        std::iter::successors(origin(&self.id), origin).collect()
    }
}
